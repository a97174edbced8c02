from __future__ import annotations

import random
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.day_rows import DayFold, Totals, day_at, day_end_ms, day_start_ms, days_between, final_at_ms
from streamproc.core.details import Detail
from streamproc.core.fold import Aggregate, fold
from streamproc.core.rows import Document
from streamproc.core.windows import Windowing, WindowKey
from streamproc.stores.archive.manifest import file_of
from streamproc.stores.archive.parquet import NotOurs, from_parquet, to_parquet

DAY = date(2026, 11, 22)
HOUR_MS = 3_600_000


def document(
    user: str = "dana", hour: int = 0, channel: str = "kan-11", platform: str = "web", segments: int = 3
) -> Document:
    rng = random.Random(f"{user}{hour}{channel}")
    key = WindowKey(day_start_ms(DAY) + hour * HOUR_MS, channel, f"s-{user}-{hour % 3}", user)
    held = {
        f"seg-{number}": Detail(
            received_at_us=(key.start_ms + number) * 1000,
            extraction_us=rng.randrange(10**6),
            dubbing_us=rng.randrange(10**7),
            reinsertion_us=rng.randrange(10**6),
            total_us=rng.randrange(10**8),
            original_bytes=rng.randrange(2**40),
            dubbed_bytes=rng.randrange(2**40),
            source_language=rng.choice(("he", "ar")),
            target_language="en",
            platform=platform,
        )
        for number in range(segments)
    }
    return fold(key, held).document(write=1)


def folded(*documents: Document) -> DayFold:
    fold_ = DayFold()
    for one in documents:
        fold_.add(one)
    return fold_


def test_rows_are_of_channel_user_and_platform() -> None:
    rows = folded(
        document("noa", 1), document("avi", 1), document("avi", 2, channel="kan-12"), document("avi", 3, platform="ios")
    ).rows()
    assert [tuple(row.key) for row in rows] == [
        ("kan-11", "avi", "ios"),
        ("kan-11", "avi", "web"),
        ("kan-11", "noa", "web"),
        ("kan-12", "avi", "web"),
    ]


@given(hours=st.lists(st.integers(0, 23), min_size=1, unique=True), order=st.randoms(use_true_random=False))
def test_a_row_is_what_its_windows_come_to_in_any_order(hours: list[int], order: random.Random) -> None:
    documents = [document(hour=hour, segments=1 + hour) for hour in hours]
    merged = Aggregate()
    for one in documents:
        merged = merged.merge(Aggregate.from_document(one))
    order.shuffle(documents)
    (row,) = folded(*documents).rows()
    assert row.aggregate == merged
    assert (row.windows, row.sessions) == (len(hours), len({hour % 3 for hour in hours}))


def test_sums_of_hours_of_days_of_time_are_exact() -> None:
    """A float of milliseconds names a whole number of microseconds up to 2**51 of them."""
    one = dict(document())
    one["total_processing_time_ms"] = (2**51 - 1) / 1000
    (row,) = folded(one).rows()
    assert row.aggregate.total_us == 2**51 - 1


def test_rows_survive_parquet_and_give_the_same_bytes() -> None:
    rows = folded(*(document(f"user-{number % 9}", number % 24) for number in range(100))).rows()
    data = to_parquet(DAY, rows)
    assert from_parquet(DAY, data) == rows
    assert to_parquet(DAY, list(reversed(rows))) == data
    assert from_parquet(DAY, to_parquet(DAY, [])) == []


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda data: data[: len(data) // 2], "no readable Parquet"),
        (lambda data: b"", "no readable Parquet"),
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "no readable Parquet"),
    ],
)
def test_a_spoiled_file_is_refused(spoil, told: str) -> None:  # type: ignore[no-untyped-def]
    data = to_parquet(DAY, folded(document()).rows())
    with pytest.raises(NotOurs, match=told):
        from_parquet(DAY, spoil(data))


def test_a_file_of_another_day_is_refused() -> None:
    with pytest.raises(NotOurs, match="of 2026-11-22"):
        from_parquet(date(2026, 11, 23), to_parquet(DAY, folded(document()).rows()))


def test_totals_differ_where_rows_differ() -> None:
    one, two = Totals.of(folded(document()).rows()), Totals.of(folded(document(segments=4)).rows())
    assert one.differences(one) == []
    assert "segments 3 and 4" in one.differences(two)


def test_the_index_finds_everybody_in_the_file_and_hardly_anybody_else() -> None:
    rows = folded(*(document(f"user-{number}", segments=1) for number in range(300))).rows()
    file = file_of(rows, b"", 1, 0)
    assert all(file.may_hold(row.key.user_id) for row in rows)
    assert not any(file.may_hold(f"nobody-{number}") for number in range(2000))


def test_days_are_days_of_utc() -> None:
    assert day_end_ms(DAY) - day_start_ms(DAY) == 86_400_000
    assert [day_at(moment) for moment in (day_start_ms(DAY), day_end_ms(DAY) - 1)] == [DAY, DAY]
    assert days_between(DAY, DAY) == [DAY]
    assert days_between(DAY, date(2026, 11, 21)) == []


@pytest.mark.parametrize("length_s", [1, 5, 3600, 7 * 3600, 86_400])
def test_a_day_is_final_when_its_last_window_can_take_nothing_any_more(length_s: int) -> None:
    windowing = Windowing(length_ms=length_s * 1000)
    starts = range(day_start_ms(DAY) // windowing.length_ms * windowing.length_ms, day_end_ms(DAY), windowing.length_ms)
    inside = [start for start in starts if day_start_ms(DAY) <= start < day_end_ms(DAY)]
    assert final_at_ms(DAY, windowing) == max(windowing.forgettable_at(start) for start in inside)
