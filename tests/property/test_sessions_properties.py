"""A session's totals over any life: long, with gaps, with late hours, and with a MongoDB that deletes after 90 days."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.rows import document_of, epoch_ms
from streamproc.core.sessions import LastError, SessionMetrics, work_out
from streamproc.core.windows import WindowKey

HOUR_MS = 3_600_000
DAY_HOURS = 24
KEPT_HOURS = 90 * DAY_HOURS
BEGIN_HOUR = 490_000

#: Hours from one activity to the next: two of 46 days are as long as MongoDB keeps the first.
gaps = st.one_of(
    st.integers(1, 48),
    st.sampled_from([1, 14, 29, 30, 31, 46, 46, 61, 89, 91, 400]).map(lambda days: days * DAY_HOURS),
)
activities = st.lists(st.tuples(gaps, st.integers(1, 3), st.booleans()), min_size=1, max_size=12)


def hour(at_hour: int, segments: int, channel: str = "kan-11") -> Any:
    start_ms = at_hour * HOUR_MS
    held = {
        f"{number}": Detail((start_ms + number) * 1000, 1, 20, 3, 24, 5, 6, "he", "en", error="x" if number else "")
        for number in range(segments)
    }
    return document_of(fold(WindowKey(start_ms, channel, "s-1", "dana"), held))


def stored_again(metrics: SessionMetrics | None) -> SessionMetrics | None:
    """As it comes back from MongoDB."""
    return None if metrics is None else SessionMetrics.from_document(metrics.document())


@settings(max_examples=100, deadline=None)
@given(activities)
@example([(1, 1, False), (47, 1, False), (336, 1, False), (336, 1, False)])
def test_totals_lose_no_hour_and_count_none_twice_whatever_mongodb_has_deleted(
    life: list[tuple[int, int, bool]],
) -> None:
    kept: SessionMetrics | None = None
    stored: dict[int, int] = {}
    ever: dict[int, int] = {}
    now_hour = BEGIN_HOUR
    for gap, segments, late in life:
        now_hour += gap
        stored[now_hour] = ever[now_hour] = segments
        if late and now_hour - 1 in stored:
            stored[now_hour - 1] += 1
            ever[now_hour - 1] += 1
        stored = {at: count for at, count in stored.items() if at > now_hour - KEPT_HOURS}
        now_ms = (now_hour + 1) * HOUR_MS
        documents = [hour(at, count) for at, count in stored.items()]
        new = work_out(kept, documents, None, now_ms)
        assert new is not None
        assert new.totals.aggregate.segments == sum(ever.values())
        assert new.totals.windows == len(ever)
        assert new.totals.last_hour_ms == max(ever) * HOUR_MS
        assert kept is None or new.version > kept.version
        kept = stored_again(new)
        assert kept == new
        # Once more, with nothing new: nothing is to be written. (A moment later another hour may be old.)
        assert work_out(kept, documents, None, now_ms) is kept


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from("abc")), min_size=1, max_size=5), st.randoms())
def test_the_last_error_is_the_same_in_whatever_order_it_was_heard_of(
    errors: list[tuple[int, str]], random: Any
) -> None:
    def last(heard: list[LastError]) -> LastError | None:
        kept: SessionMetrics | None = None
        for error in heard:
            kept = work_out(kept, [hour(BEGIN_HOUR, 1)], error, BEGIN_HOUR * HOUR_MS)
        assert kept is not None
        return kept.last_error

    heard = [LastError(*error) for error in errors]
    shuffled = random.sample(heard, len(heard))
    assert last(heard) == last(shuffled) == max(heard)


def test_an_hour_is_counted_on_each_channel() -> None:
    new = work_out(None, [hour(BEGIN_HOUR, 1), hour(BEGIN_HOUR, 2, "kan-12")], None, BEGIN_HOUR * HOUR_MS)
    assert new is not None
    assert (new.totals.windows, new.totals.aggregate.segments) == (2, 3)
    assert epoch_ms(new.totals.document()["last_hour"].replace(tzinfo=None)) == BEGIN_HOUR * HOUR_MS


def test_nothing_is_kept_of_a_session_without_hours() -> None:
    assert work_out(None, [], LastError(1, "timeout"), BEGIN_HOUR * HOUR_MS) is None


def test_hours_that_were_erased_are_taken_out() -> None:
    now_ms = (BEGIN_HOUR + 2) * HOUR_MS
    kept = work_out(None, [hour(BEGIN_HOUR, 1), hour(BEGIN_HOUR + 1, 2)], None, now_ms)
    less = work_out(kept, [hour(BEGIN_HOUR + 1, 2)], None, now_ms)
    assert less is not None
    assert less.totals.aggregate.segments == 2
    none = work_out(less, [], None, now_ms)
    assert none is not None
    assert (none.totals.windows, none.totals.document()["last_hour"]) == (0, None)
    assert stored_again(none) == none
