"""The simulation does what it says, judged by the product; and the oracle sees every kind of difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streamproc.core.commits import Planner
from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.windows import Windowing, WindowKey
from streamproc.demo import odd_entries, oracle
from streamproc.demo.oracle import Difference, Kind, Oracle
from streamproc.demo.simulation import Shares, Simulated, Simulation
from streamproc.publisher.encoding import Encoder

NOW_MS = 1_740_823_203_250
WINDOWING = Windowing(length_ms=5000, grace_ms=1000, horizon_ms=24_000, quiet_ms=1000, future_ms=10_000)
# Everything unusual often enough to be met in a short run.
SHARES = Shares(late=0.1, too_late=0.05, future=0.05, malformed=0.1, duplicate=0.2, flat_fields=0.1, unknown_fields=0.1)
Document = dict[str, Any]


def simulation(seed: int = 7, shares: Shares = SHARES) -> Simulation:
    return Simulation(
        seed,
        sessions=24,
        channels=8,
        window_ms=WINDOWING.length_ms,
        grace_ms=WINDOWING.grace_ms,
        horizon_ms=WINDOWING.horizon_ms,
        future_ms=WINDOWING.future_ms,
        shares=shares,
    )


def ticks(simulation: Simulation, seconds: int = 20, count: int = 60) -> Iterable[tuple[int, list[Simulated]]]:
    for now_ms in range(NOW_MS, NOW_MS + seconds * 1000, 1000):
        yield now_ms, simulation.batch(now_ms, count)


def fields_of(entry: Simulated) -> list[bytes]:
    fields = entry.fields or Encoder("dubbing", 1).entry(entry.event).fields
    return [value.encode() if isinstance(value, str) else value for value in fields]


def judged(entry: Simulated, added_ms: int) -> str:
    """What the product makes of an entry: `window`, or the reason for which it is refused."""
    plan = Planner(WINDOWING).plan([(f"{added_ms}-0".encode(), fields_of(entry))], added_ms)
    return str(plan.dead[0].reason) if plan.dead else "window"


def stored(entries: Iterable[tuple[int, list[Simulated]]]) -> list[Document]:
    """The documents that the product's own arithmetic makes of a run."""
    planner, windows = Planner(WINDOWING), dict[WindowKey, dict[str, Detail]]()
    for now_ms, batch in entries:
        plan = planner.plan([(f"{now_ms}-{i}".encode(), fields_of(entry)) for i, entry in enumerate(batch)], now_ms)
        for window in plan.windows:
            segments = windows.setdefault(window.key, {})
            for segment_id, detail in zip(window.segment_ids, window.details, strict=True):
                segments.setdefault(segment_id, detail)
    return [fold(key, segments).document(write=1) for key, segments in windows.items()]


@pytest.fixture(scope="module")
def run() -> list[tuple[int, list[Simulated]]]:
    return list(ticks(simulation()))


@pytest.fixture(scope="module")
def truth(run: list[tuple[int, list[Simulated]]]) -> Oracle:
    truth = Oracle(WINDOWING.length_ms / 1000)
    for _, batch in run:
        for entry in batch:
            truth.record(entry.kind, entry.event)
    return truth


@pytest.fixture(scope="module")
def documents(run: list[tuple[int, list[Simulated]]]) -> list[Document]:
    return stored(run)


def test_the_same_seed_gives_the_same_entries() -> None:
    assert list(ticks(simulation(3))) == list(ticks(simulation(3)))
    assert list(ticks(simulation(3))) != list(ticks(simulation(4)))


def test_two_runs_share_no_segment() -> None:
    def named(now_ms: int) -> set[tuple[str, str]]:
        return {(entry.event["session_id"], entry.event["segment_id"]) for entry in simulation().batch(now_ms, 500)}

    assert named(NOW_MS).isdisjoint(named(NOW_MS + 3_600_000))


@pytest.mark.parametrize("delay_ms", [0, 5000])
def test_the_product_judges_every_entry_as_it_was_meant(run: list[tuple[int, list[Simulated]]], delay_ms: int) -> None:
    """Also where it reaches Redis some seconds late."""
    expected = {Kind.GOOD: "window", Kind.LATE: "window", Kind.DUPLICATE: "window"}
    seen: Counter[Kind] = Counter()
    for now_ms, batch in run:
        for entry in batch:
            assert judged(entry, now_ms + delay_ms) == expected.get(entry.kind, str(entry.kind)), entry
            seen[entry.kind] += 1
    assert set(seen) == set(Kind)


@pytest.mark.parametrize(("kind", "shift_ms"), [(Kind.TOO_LATE, -60_000), (Kind.FUTURE, 60_000)])
def test_what_is_refused_for_its_time_is_a_minute_beyond_the_bound(kind: Kind, shift_ms: int) -> None:
    none_else = Shares(late=0, too_late=0, future=0, malformed=0, flat_fields=0, unknown_fields=0)
    only = simulation(shares=replace(none_else, **{str(kind): 1.0}))
    for entry in only.batch(NOW_MS, 1000):
        assert judged(entry, NOW_MS + shift_ms) == str(kind), entry


def test_late_entries_belong_to_windows_closed_but_far_from_forgotten(run: list[tuple[int, list[Simulated]]]) -> None:
    for now_ms, batch in run:
        for entry in batch:
            if entry.kind is Kind.LATE:
                start_ms = WINDOWING.start_of(int(entry.event["received_at"].timestamp() * 1000))
                assert WINDOWING.grace_ms <= now_ms - WINDOWING.end_of(start_ms) <= WINDOWING.horizon_ms // 2


@pytest.mark.parametrize("spoiler", odd_entries.SPOILERS, ids=lambda spoiler: spoiler.__name__)
def test_every_spoilt_entry_is_malformed(spoiler: Callable[[Document], odd_entries.Fields]) -> None:
    event = simulation(shares=Shares(malformed=1.0, late=0, too_late=0, future=0)).batch(NOW_MS, 1)[0].event
    document = {**event, "received_at": event["received_at"].isoformat()}
    document = {name: value for name, value in document.items() if not isinstance(value, datetime)}
    assert judged(Simulated(Kind.MALFORMED, event, spoiler(document)), NOW_MS) == "malformed"


def test_identifiers_hold_what_identifiers_may_hold() -> None:
    names = Simulation(7).session_ids
    assert len(set(names)) == len(names)
    for character in ":{}%צé":
        assert any(character in name for name in names), character


def test_repetitions_come_at_once_and_seconds_later_and_are_unchanged(run: list[tuple[int, list[Simulated]]]) -> None:
    first: dict[tuple[str, str], tuple[int, Simulated]] = {}
    delays_ms = []
    for now_ms, batch in run:
        for entry in batch:
            name = (entry.event["session_id"], entry.event["segment_id"])
            if entry.kind is Kind.DUPLICATE:
                first_ms, original = first[name]
                assert entry._replace(kind=original.kind) == original
                delays_ms.append(now_ms - first_ms)
            else:
                assert name not in first
                first[name] = (now_ms, entry)
    assert 0 in delays_ms
    assert 1000 <= max(delays_ms) <= WINDOWING.horizon_ms // 4 + 1000


def test_a_horizon_too_short_to_keep_clear_of_is_refused() -> None:
    with pytest.raises(ValueError, match="horizon_ms must be at least 10000 for a simulation, got 9999"):
        Simulation(1, horizon_ms=9999)


def test_nothing_can_be_late_while_no_window_is_closed() -> None:
    just_begun_ms = NOW_MS - NOW_MS % 3_600_000 + 1000
    only_late = Simulation(1, horizon_ms=3_600_000, shares=Shares(late=1.0, too_late=0, future=0, malformed=0))
    assert {entry.kind for entry in only_late.batch(just_begun_ms, 50)} <= {Kind.GOOD, Kind.DUPLICATE}


def test_the_oracle_shares_no_code_with_the_product() -> None:
    imports = [line for line in Path(oracle.__file__).read_text().splitlines() if line.startswith(("import ", "from "))]
    assert imports
    assert not [line for line in imports if "streamproc" in line]


def test_oracle_and_product_agree_on_a_whole_run(truth: Oracle, documents: list[Document]) -> None:
    assert truth.compare(documents) == []
    assert truth.windows == len(documents)
    assert truth.segments == sum(document["segments_processed"] for document in documents)
    assert truth.segments == truth.published[Kind.GOOD] + truth.published[Kind.LATE]


def test_dates_may_come_without_an_offset_as_mongodb_gives_them(truth: Oracle, documents: list[Document]) -> None:
    naive = deepcopy(documents)
    for document in naive:
        document["metadata"]["hour"] = document["metadata"]["hour"].replace(tzinfo=None)
    assert truth.compare(naive) == []


def only(differences: list[Difference]) -> tuple[str, object, object]:
    [difference] = differences
    return difference.field, difference.expected, difference.found


def test_a_missing_window_is_found(truth: Oracle, documents: list[Document]) -> None:
    assert only(truth.compare(documents[1:])) == ("measurements", 1, 0)


def test_a_doubled_window_is_found(truth: Oracle, documents: list[Document]) -> None:
    assert only(truth.compare([*documents, documents[0]])) == ("measurements", 1, 2)


def test_a_window_that_nobody_published_is_found(truth: Oracle, documents: list[Document]) -> None:
    stray = deepcopy(documents[0])
    stray["metadata"]["hour"] += timedelta(hours=1)
    assert only(truth.compare([*documents, stray])) == ("measurements", 0, 1)


def test_of_several_measurements_the_newest_is_compared(truth: Oracle, documents: list[Document]) -> None:
    older = deepcopy(documents[0])
    older["metadata"]["revision"] -= 1
    older["metadata"]["write"] += 1
    older["segments_processed"] -= 1
    assert only(truth.compare([*documents, older])) == ("measurements", 1, 2)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("segments_processed", 1),
        ("total_processing_time_ms", 0.001),
        ("sum_extraction_ms", -0.001),
        ("sum_dubbing_ms", 0.001),
        ("sum_reinsertion_ms", 0.001),
        ("min_total_ms", -0.001),
        ("max_total_ms", 0.001),
        ("total_original_bytes", 1),
        ("total_dubbed_bytes", -1),
        ("error_count", 1),
        ("retry_count", 1),
    ],
)
def test_a_field_off_by_the_least_is_found(truth: Oracle, documents: list[Document], field: str, change: float) -> None:
    off = deepcopy(documents)
    off[3][field] += change
    assert only(truth.compare(off)) == (field, documents[3][field], off[3][field])


@pytest.mark.parametrize("field", ["source_languages", "target_languages"])
def test_languages_off_by_one_are_found(truth: Oracle, documents: list[Document], field: str) -> None:
    off = deepcopy(documents)
    off[3][field] = {**off[3][field], "yi": 1}
    assert only(truth.compare(off)) == (field, documents[3][field], off[3][field])


def test_a_field_that_is_not_there_is_found(truth: Oracle, documents: list[Document]) -> None:
    off = deepcopy(documents)
    del off[3]["sum_dubbing_ms"]
    assert only(truth.compare(off)) == ("sum_dubbing_ms", documents[3]["sum_dubbing_ms"], None)


def test_a_difference_reads_as_a_sentence() -> None:
    window = oracle.Window(datetime(2025, 3, 1, 10, tzinfo=UTC), "kan-11", "s-1", "u-1")
    assert str(Difference(window, "error_count", 2, 1)) == (
        "2025-03-01T10:00:00Z channel kan-11 session s-1 user u-1: error_count should be 2, MongoDB holds 1"
    )
