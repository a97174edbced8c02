from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.rows import State, Sum, Window, date, document_of
from streamproc.core.windows import WindowKey

START_MS = 1_795_374_000_000


def window(session: str, *times_ms: int, state: State = "final", errors: int = 0) -> Window:
    segments = {
        f"{number}": Detail(
            START_MS * 1000, 0, 0, 0, time_ms * 1000, 1, 2, "he", "en", error="timeout" if number < errors else ""
        )
        for number, time_ms in enumerate(times_ms)
    }
    return Window(document_of(fold(WindowKey(START_MS, "kan-11", session, "dana"), segments)), state)


def test_a_mean_is_weighted_by_segments_and_not_a_mean_of_means() -> None:
    total = Sum.of([window("s-1", 100), window("s-2", 400, 400, 400)]).aggregate
    assert total.mean_ms(total.total_us) == 325


def test_an_error_rate_is_of_all_segments() -> None:
    total = Sum.of([window("s-1", 100, errors=1), window("s-2", 400, 400, 400)]).aggregate
    assert total.error_rate == 0.25


def test_nothing_has_no_percentiles_and_divides_by_nothing() -> None:
    nothing = Sum.of([])
    assert nothing == Sum.merged([]) == Sum()
    assert nothing.percentiles_ms == (None, None, None)
    assert (nothing.aggregate.error_rate, nothing.aggregate.mean_ms(0)) == (0.0, 0.0)


def test_percentiles_of_one_window_stay_exact_through_merging() -> None:
    assert Sum.merged([Sum(), Sum.of([window("s-1", 101, 102, 1203)])]).percentiles_ms == (102, 1203, 1203)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["final", "final"], "final"),
        (["final", "revised"], "revised"),
        (["rolling", "final"], "rolling"),
        (["revised", "rolling"], "rolling"),
    ],
)
def test_a_row_is_as_unfinished_as_its_least_finished_window(states: list[State], expected: State) -> None:
    windows = [window(f"s-{number}", 1, state=state) for number, state in enumerate(states)]
    assert Sum.of(windows).state == Sum.merged(Sum.of([one]) for one in windows).state == expected


def test_a_session_with_two_users_is_one_session() -> None:
    total = Sum.of([window("s-1", 1), window("s-1", 2)])
    assert (total.windows, len(total.sessions)) == (2, 1)


def test_dates_for_people_bear_their_zone() -> None:
    assert date(START_MS) == datetime.fromtimestamp(START_MS / 1000, UTC)
    assert date(START_MS).tzinfo is UTC
