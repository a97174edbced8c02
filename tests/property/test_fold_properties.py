from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import reduce
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.core.details import Detail
from streamproc.core.fold import Aggregate, fold
from streamproc.core.windows import WindowKey

KEY = WindowKey(1_769_162_400_000, "kan-11", "session-7", "dana")
START_US = KEY.start_ms * 1000

durations = st.one_of(st.integers(0, 3_600_000_000), st.integers(0, 2_000))
languages = st.sampled_from(["he", "en", "ar", "pt-BR"])
details = st.builds(
    Detail,
    received_at_us=st.integers(0, 3_599_999_999).map(START_US.__add__) | st.just(START_US),
    extraction_us=durations,
    dubbing_us=durations,
    reinsertion_us=durations,
    total_us=st.one_of(durations, st.integers(0, 10_800_000_000)),
    original_bytes=st.integers(0, 2**40),
    dubbed_bytes=st.integers(0, 2**40),
    source_language=languages,
    target_language=languages,
    platform=st.sampled_from(["web", "ios", "tv"]),
    error=st.sampled_from(["", "", "timeout"]),
    retry_count=st.integers(0, 1000),
)
ids = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8)
windows = st.dictionaries(ids, details, min_size=1, max_size=10)
lists = st.lists(details, max_size=8)
few = settings(max_examples=40)


def in_order(document: Any) -> Any:
    """The document as nested lists of pairs: comparing these compares the order of keys, and so the BSON, as well."""
    return [(name, in_order(value)) for name, value in document.items()] if isinstance(document, dict) else document


@few
@given(windows, st.randoms(use_true_random=False))
def test_the_order_of_segments_never_shows_in_the_document(segments: dict[str, Detail], random: Random) -> None:
    shuffled = list(segments.items())
    random.shuffle(shuffled)
    one, other = fold(KEY, segments).document(write=1), fold(KEY, dict(shuffled)).document(write=1)
    assert in_order(one) == in_order(other)


@few
@given(lists, st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_any_grouping_merges_to_the_aggregate_of_all(segments: list[Detail], groups: list[int]) -> None:
    parts = [Aggregate.of(one for one, at in zip(segments, groups, strict=False) if at == group) for group in range(4)]
    assert reduce(Aggregate.merge, parts) == Aggregate.of(segments)


@settings(max_examples=20)
@given(lists, lists, lists)
def test_merging_is_associative_and_commutative(a: list[Detail], b: list[Detail], c: list[Detail]) -> None:
    x, y, z = map(Aggregate.of, (a, b, c))
    assert x.merge(y).merge(z) == x.merge(y.merge(z))
    assert x.merge(y) == y.merge(x)


@few
@given(windows)
def test_a_stored_measurement_reads_back_exactly(segments: dict[str, Detail]) -> None:
    measurement = fold(KEY, segments)
    assert Aggregate.from_document(measurement.document(write=1)) == measurement.aggregate


@few
@given(st.integers(2**50, 2**51 - 1))
def test_sums_read_back_exactly_up_to_2_to_the_51_microseconds(total_us: int) -> None:
    aggregate = Aggregate.of([Detail(START_US, 0, 0, 0, total_us, 0, 0, "he", "en")])
    assert Aggregate.from_document(aggregate.to_document()) == aggregate


@few
@given(windows)
def test_every_figure_is_the_nearest_float_to_rational_arithmetic(segments: dict[str, Detail]) -> None:
    document = fold(KEY, segments).document(write=1)
    n = len(segments)
    for part, total in {
        "extraction": "sum_extraction_ms",
        "dubbing": "sum_dubbing_ms",
        "reinsertion": "sum_reinsertion_ms",
        "total": "total_processing_time_ms",
    }.items():
        exact = sum((Fraction(getattr(one, f"{part}_us"), 1000) for one in segments.values()), Fraction())
        assert document[total] == float(exact)
        assert document[f"avg_{part}_ms"] == float(exact / n)


@few
@given(windows)
def test_counts_and_tallies_agree_with_counting_one_by_one(segments: dict[str, Detail]) -> None:
    document, all_of_them = fold(KEY, segments).document(write=1), list(segments.values())
    assert document["segments_processed"] == document["metadata"]["revision"] == len(all_of_them)
    assert document["error_count"] == len([one for one in all_of_them if one.error])
    assert document["retry_count"] == sum(one.retry_count for one in all_of_them)
    assert document["total_original_bytes"] == sum(one.original_bytes for one in all_of_them)
    assert document["total_dubbed_bytes"] == sum(one.dubbed_bytes for one in all_of_them)
    for language, count in document["target_languages"].items():
        assert count == [one.target_language for one in all_of_them].count(language)
    for tally in ("source_languages", "target_languages", "latency_histogram"):
        assert sum(document[tally].values()) == len(all_of_them)


@few
@given(windows)
def test_platform_and_times_are_those_of_the_ends_of_the_sorted_segments(segments: dict[str, Detail]) -> None:
    document = fold(KEY, segments).document(write=1)
    ordered = sorted((one.received_at_us, name) for name, one in segments.items())
    assert document["metadata"]["platform"] == segments[ordered[0][1]].platform
    for field, (at_us, _) in {"first_segment_at": ordered[0], "last_segment_at": ordered[-1]}.items():
        exact = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
        assert document[field] == exact.replace(microsecond=exact.microsecond // 1000 * 1000)


@few
@given(windows, st.sampled_from([50, 95, 99]))
def test_a_percentile_is_the_least_value_that_covers_its_share(segments: dict[str, Detail], percent: int) -> None:
    stored = fold(KEY, segments).document(write=1)[f"p{percent}_total_ms"]
    values = [one.total_us / 1000 for one in segments.values()]
    assert stored in values
    assert 100 * len([value for value in values if value <= stored]) >= percent * len(values)
    assert 100 * len([value for value in values if value < stored]) < percent * len(values)
