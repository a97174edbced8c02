"""The rules by which an overview is judged: each trouble at the figure where it begins, and not below."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from streamproc.answers.health import judged
from streamproc.answers.overview_results import (
    DeadLetters,
    DeadLetterShown,
    FlushState,
    LiveState,
    Overview,
    ServerState,
    SettingsShown,
    ShardState,
    Trouble,
    WorkerState,
)
from streamproc.core.ledger import LEDGER_TERMS

NOW = datetime(2026, 1, 23, 10, tzinfo=UTC)
AWAY = ServerState(up=False, address="there", trouble="nothing listens", remedy="Start it")


def worker(name: str = "worker-1", **changes: Any) -> WorkerState:
    well = WorkerState(
        name=name,
        version="1",
        started_at=NOW,
        seen_at=NOW,
        silent=False,
        ready=True,
        troubles=[],
        **dict.fromkeys(
            ("counted", "errors", "duplicates", "dead_lettered", "flushed", "shrunk", "diverged", "refused"), 0
        ),
    )
    return replace(well, **changes)


def shard(number: int = 0, lost: int = 0, **changes: Any) -> ShardState:
    well = ShardState(
        shard=number,
        lag_entries=0,
        lag_known=True,
        lag_seconds=0,
        pending=0,
        oldest_pending_seconds=0,
        watermark_at=NOW,
        watermark_delay_seconds=0,
        stream_entries=0,
        open=0,
        due=0,
        overdue_seconds=0,
        taken=0,
        closed=0,
        dead_letters=0,
        consumers=1,
        epoch=1,
        ledger={**dict.fromkeys(LEDGER_TERMS, 0), "lost": lost},
        imbalance=0,
    )
    return replace(well, **changes)


def overview(**changes: Any) -> Overview:
    well = Overview(
        at=NOW,
        version="1",
        verdict="healthy",
        troubles=[],
        redis=ServerState(up=True, address="redis"),
        mongodb=ServerState(up=True, address="mongodb"),
        settings=SettingsShown(
            window_seconds=3600, grace_seconds=120, claim_idle_seconds=60, shards=1, prefix="dubbing"
        ),
        workers=[worker()],
        shards=[shard()],
        missing_shards=[],
        flush=FlushState(),
        dead_letters=DeadLetters(),
        live=LiveState(),
    )
    return replace(well, **changes)


def found(**changes: Any) -> list[tuple[str, str]]:
    """(what, severity) of each trouble."""
    return [(trouble.what, trouble.severity) for trouble in judged(overview(**changes)).troubles]


def the_one(**changes: Any) -> Trouble:
    (trouble,) = judged(overview(**changes)).troubles
    return trouble


def test_where_all_is_well_there_is_no_trouble() -> None:
    seen = judged(overview())
    assert (seen.verdict, seen.troubles) == ("healthy", [])


@pytest.mark.parametrize(
    ("what", "figure", "warns", "alarms"),
    [
        ("lag", "lag_seconds", 30, 300),
        ("watermark", "oldest_pending_seconds", 120, 600),
        ("overdue", "overdue_seconds", 60, 900),
    ],
)
def test_a_delay_is_a_warning_and_then_critical(what: str, figure: str, warns: float, alarms: float) -> None:
    assert found(shards=[replace(shard(), **{figure: warns - 0.1})]) == []
    assert found(shards=[replace(shard(), **{figure: warns})]) == [(what, "warning")]
    assert found(shards=[replace(shard(), **{figure: alarms - 0.1})]) == [(what, "warning")]
    assert found(shards=[replace(shard(), **{figure: alarms})]) == [(what, "critical")]


def test_a_trouble_names_its_shard_and_the_figures() -> None:
    trouble = the_one(shards=[shard(), shard(7, lag_entries=12_345, lag_seconds=301)])
    assert "Shard 7: 12,345 entries wait to be read, the first for 5 min" in trouble.message
    assert "start more workers" in trouble.remedy


def test_pending_entries_may_wait_until_another_worker_claims_them() -> None:
    slow = SettingsShown(window_seconds=3600, grace_seconds=120, claim_idle_seconds=500, shards=1, prefix="dubbing")
    assert found(settings=slow, shards=[shard(oldest_pending_seconds=999)]) == []
    assert found(settings=slow, shards=[shard(oldest_pending_seconds=1000)]) == [("watermark", "warning")]
    assert found(settings=slow, shards=[shard(oldest_pending_seconds=2000)]) == [("watermark", "critical")]


def test_an_unknown_lag_is_worth_a_warning_only_where_counting_is_behind() -> None:
    assert found(shards=[shard(lag_known=False, lag_seconds=4.9, imbalance=None)]) == []
    assert found(shards=[shard(lag_known=False, lag_seconds=5, imbalance=None)]) == [("lag_unknown", "warning")]
    assert found(shards=[shard(lag_known=False, lag_seconds=30, imbalance=None)]) == [("lag", "warning")]


@pytest.mark.parametrize(
    ("imbalance", "words"), [(3, "3 entries were trimmed or deleted"), (-2, "Redis forgot 2 entries")]
)
def test_a_ledger_that_does_not_balance_is_critical(imbalance: int, words: str) -> None:
    trouble = the_one(shards=[shard(imbalance=imbalance)])
    assert (trouble.what, trouble.severity) == ("ledger", "critical")
    assert words in trouble.message


def test_lost_entries_are_critical() -> None:
    trouble = the_one(shards=[shard(lost=4)])
    assert (trouble.what, trouble.severity) == ("lost", "critical")
    assert "4 entries were deleted" in trouble.message


@pytest.mark.parametrize("what", ["shrunk", "diverged", "refused"])
def test_what_workers_found_and_could_not_mend_is_critical(what: str) -> None:
    trouble = the_one(workers=[worker(), worker("worker-2", **{what: 2}), worker("worker-3", **{what: 1})])
    assert (trouble.what, trouble.severity) == (what, "critical")
    assert trouble.message.startswith("3 ")


@pytest.mark.parametrize("workers", [[], [worker(silent=True, ready=False)]], ids=["none", "all silent"])
def test_where_nobody_works_the_system_is_down_and_nothing_else_is_said(workers: list[WorkerState]) -> None:
    behind = shard(lag_seconds=999, oldest_pending_seconds=999, overdue_seconds=999)
    seen = judged(overview(workers=workers, shards=[behind], missing_shards=[1]))
    assert (seen.verdict, [trouble.what for trouble in seen.troubles]) == ("down", ["workers"])
    assert "STREAMPROC_PREFIX (dubbing)" in seen.troubles[0].remedy


def test_a_silent_worker_among_others_is_a_warning_that_names_it() -> None:
    trouble = the_one(workers=[worker(), worker("worker-2", silent=True, ready=False, troubles=["what it said last"])])
    assert (trouble.what, trouble.severity) == ("silent", "warning")
    assert "worker-2" in trouble.message


def test_the_same_trouble_of_several_workers_is_said_once() -> None:
    ill = [worker(f"worker-{number}", ready=False, troubles=["flushing of shard 0: it refused"]) for number in range(5)]
    trouble = the_one(workers=ill)
    assert trouble.message == "worker-0, worker-1, worker-2 and 2 more: flushing of shard 0: it refused"


def test_mongodb_away_degrades_and_what_follows_from_it_is_not_said() -> None:
    ill = worker(ready=False, troubles=["mongodb at there: nothing listens"])
    seen = judged(overview(mongodb=AWAY, workers=[ill], shards=[shard(overdue_seconds=999)]))
    assert (seen.verdict, [trouble.what for trouble in seen.troubles]) == ("degraded", ["mongodb"])
    assert seen.troubles[0].remedy == "Start it"


def test_mongodb_that_a_worker_alone_cannot_reach_is_its_trouble() -> None:
    assert found(workers=[worker(ready=False, troubles=["mongodb at there: gone"])]) == [("not_ready", "warning")]


def test_redis_away_is_down_and_nobody_is_said_to_be_missing() -> None:
    seen = judged(overview(redis=AWAY, workers=[], shards=[]))
    assert (seen.verdict, [trouble.what for trouble in seen.troubles]) == ("down", ["redis"])


def test_other_settings_than_those_of_the_data_are_down_and_kept_as_said() -> None:
    layout = Trouble(severity="critical", what="layout", message="shards is 1 there", remedy="Look with 1")
    seen = judged(overview(troubles=[layout], workers=[], shards=[]))
    assert (seen.verdict, seen.troubles) == ("down", [layout])


def test_a_missing_stream_or_group_is_critical_while_workers_run() -> None:
    assert found(shards=[], missing_shards=[0]) == [("shards", "critical")]


def test_dead_letters_are_news_for_ten_minutes_and_do_not_degrade() -> None:
    def letters(age_s: float) -> DeadLetters:
        at = NOW - timedelta(seconds=age_s)
        return DeadLetters(kept=9, newest=[DeadLetterShown(entry_id="1-0", reason="malformed", detail="dana", at=at)])

    assert found(dead_letters=letters(600)) == []
    seen = judged(overview(dead_letters=letters(599)))
    assert (seen.verdict, [trouble.what for trouble in seen.troubles]) == ("healthy", ["dead_letters"])
    assert "as malformed" in seen.troubles[0].message
    assert "dana" not in seen.troubles[0].message


def test_workers_that_cannot_say_how_they_are_are_not_told_to_be_missing() -> None:
    full = Trouble(severity="critical", what="writes", message="no memory", remedy="more")
    seen = judged(overview(troubles=[full], workers=[]))
    assert (seen.verdict, seen.troubles) == ("down", [full])
    assert judged(overview(troubles=[full])).verdict == "degraded"  # they go on with memory full


def test_critical_troubles_come_first_and_make_the_verdict() -> None:
    behind = [shard(lag_seconds=40), shard(1, imbalance=1)]
    seen = judged(overview(shards=behind))
    assert [trouble.severity for trouble in seen.troubles] == ["critical", "warning"]
    assert seen.verdict == "degraded"
