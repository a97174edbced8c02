"""Sums of windows against an oracle that has all segments at hand, whatever the grouping."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.histogram import nearest_rank
from streamproc.core.rows import Sum, Window, document_of, highest_of_each, key_of
from streamproc.core.windows import WindowKey

HOUR_MS = 3_600_000

details = st.builds(
    Detail,
    received_at_us=st.integers(0, 4_000_000_000_000_000),
    extraction_us=st.integers(0, 3_600_000_000),
    dubbing_us=st.integers(0, 3_600_000_000),
    reinsertion_us=st.integers(0, 3_600_000_000),
    total_us=st.integers(0, 10_800_000_000),
    original_bytes=st.integers(0, 2**40),
    dubbed_bytes=st.integers(0, 2**40),
    source_language=st.sampled_from(["he", "en"]),
    target_language=st.sampled_from(["en", "ru", "pt-BR"]),
    error=st.sampled_from(["", "", "timeout"]),
    retry_count=st.integers(0, 1000),
)
segments = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), details, min_size=1, max_size=6)
keys = st.builds(
    WindowKey,
    st.integers(0, 400_000).map(lambda hour: hour * HOUR_MS),
    st.just("kan-11"),
    st.sampled_from(["s-1", "s-2", "s-3"]),
    st.sampled_from(["dana", "avi"]),
)
all_windows = st.dictionaries(keys, segments, max_size=6)
few = settings(max_examples=40)


def windows_of(all_segments: dict[WindowKey, dict[str, Detail]]) -> list[Window]:
    return [Window(document_of(fold(key, one)), "final") for key, one in all_segments.items()]


@few
@given(all_windows, st.integers(1, 4))
def test_a_sum_is_what_all_segments_come_to_however_the_windows_are_grouped(
    all_segments: dict[WindowKey, dict[str, Detail]], groups: int
) -> None:
    windows = windows_of(all_segments)
    merged = Sum.merged(Sum.of(windows[first::groups]) for first in range(groups))
    assert merged == Sum.of(windows)
    everything = [detail for one in all_segments.values() for detail in one.values()]
    total = merged.aggregate
    assert (total.segments, merged.windows) == (len(everything), len(all_segments))
    assert merged.sessions == {key.session_id for key in all_segments}
    for name in ("extraction_us", "dubbing_us", "reinsertion_us", "total_us", "original_bytes", "dubbed_bytes"):
        assert getattr(total, name) == sum(getattr(detail, name) for detail in everything)
    assert total.errors == sum(detail.error != "" for detail in everything)
    assert total.retries == sum(detail.retry_count for detail in everything)
    assert sum(total.target_languages.values()) == len(everything)
    if everything:
        assert total.mean_ms(total.total_us) == float(
            Fraction(sum(detail.total_us for detail in everything), 1000 * len(everything))
        )
        assert total.min_total_us == min(detail.total_us for detail in everything)
        assert total.max_total_us == max(detail.total_us for detail in everything)
        assert total.first_ms == min(detail.received_at_us for detail in everything) // 1000


@few
@given(all_windows)
def test_percentiles_are_exact_of_one_window_and_within_two_percent_of_several(
    all_segments: dict[WindowKey, dict[str, Detail]],
) -> None:
    total = Sum.of(windows_of(all_segments))
    times = sorted(detail.total_us for one in all_segments.values() for detail in one.values())
    for q, found in zip((0.5, 0.95, 0.99), total.percentiles_ms, strict=True):
        if not times:
            assert found is None
            continue
        assert found is not None
        exact = times[nearest_rank(q, len(times)) - 1] / 1000
        tolerance = 0.0 if len(all_segments) == 1 else 0.02 * exact + 1e-9
        assert abs(found - exact) <= tolerance


@few
@given(keys, segments, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=5, unique=True))
def test_of_several_measurements_of_a_window_the_highest_revision_then_write_counts(
    key: WindowKey, one: dict[str, Detail], ranks: list[tuple[int, int]]
) -> None:
    document = document_of(fold(key, one))
    several: list[dict[str, Any]] = [
        {**document, "metadata": {**document["metadata"], "revision": revision, "write": write}}
        for revision, write in ranks
    ]
    (found,) = highest_of_each(several).items()
    assert found[0] == key == key_of(document)
    assert (found[1]["metadata"]["revision"], found[1]["metadata"]["write"]) == max(ranks)
