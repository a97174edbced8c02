"""What is not as it should be: rules over an overview. Each says what that means and what to do. No clock, no I/O.

A trouble that only follows from another is left out: where MongoDB is away, windows wait, and nobody needs telling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import msgspec

from streamproc.answers.overview_results import Overview, ShardState, Trouble, Verdict
from streamproc.core.words import duration, listed

LAG_S: Final = (30, 300)
OVERDUE_S: Final = (60, 900)
#: The first is more where `CLAIM_IDLE_SECONDS` is: only then others take over what a killed worker had read.
PENDING_S: Final = (120, 600)
#: Below that a lag beyond the bound of counting is what a busy stream looks like.
LAG_UNKNOWN_S: Final = 5
#: A dead letter younger than that is news.
DEAD_LETTER_S: Final = 600
#: Where there is one of these, nothing is counted.
_STANDSTILL: Final = frozenset({"redis", "layout"})
#: Where there is one of these, workers may well be there, and cannot say so.
_MUTE: Final = frozenset({"layout", "writes"})


def judged(overview: Overview) -> Overview:
    """The same with verdict and troubles, the critical ones first. Troubles that it has already are kept."""
    troubles = overview.troubles + [trouble for rule in _RULES for trouble in rule(overview)]
    troubles.sort(key=lambda trouble: trouble.severity != "critical")
    return msgspec.structs.replace(overview, troubles=troubles, verdict=_verdict(overview, troubles))


def _verdict(overview: Overview, troubles: list[Trouble]) -> Verdict:
    if any(trouble.what in _STANDSTILL for trouble in troubles) or not _working(overview):
        return "down"
    return "degraded" if any(trouble.severity == "critical" for trouble in troubles) else "healthy"


def _critical(what: str, message: str, remedy: str) -> Trouble:
    return Trouble(severity="critical", what=what, message=message, remedy=remedy)


def _warning(what: str, message: str, remedy: str) -> Trouble:
    return Trouble(severity="warning", what=what, message=message, remedy=remedy)


def _by_seconds(seconds: float, limits: tuple[float, float]) -> Callable[[str, str, str], Trouble] | None:
    """How bad it is; None below the first limit."""
    warns, alarms = limits
    if seconds >= alarms:
        return _critical
    return _warning if seconds >= warns else None


def _working(overview: Overview) -> bool:
    return not all(worker.silent for worker in overview.workers)


def _redis(overview: Overview) -> Iterator[Trouble]:
    server = overview.redis
    if not server.up:
        message = f"Redis at {server.address}: {server.trouble}. If the workers fare alike, nothing is counted"
        yield _critical("redis", message, server.remedy)


def _mongodb(overview: Overview) -> Iterator[Trouble]:
    server = overview.mongodb
    if not server.up:
        message = (
            f"MongoDB at {server.address}: {server.trouble}. If the workers fare alike, closed windows wait in Redis"
        )
        yield _critical("mongodb", message, server.remedy)


def _nobody_works(overview: Overview) -> Iterator[Trouble]:
    looked = overview.redis.up and not any(trouble.what in _MUTE for trouble in overview.troubles)
    if looked and not _working(overview):
        yield _critical(
            "workers",
            "No worker is heard of: nothing is counted, and nothing is stored. What is published waits in the stream",
            f"Start one: streamproc worker. If one runs, give it the STREAMPROC_PREFIX ({overview.settings.prefix}) "
            f"and STREAMPROC_REDIS_URL ({overview.redis.address}) of whoever looked",
        )


def _silent(overview: Overview) -> Iterator[Trouble]:
    silent = [worker.name for worker in overview.workers if worker.silent]
    if silent and _working(overview):
        yield _warning(
            "silent",
            f"Not heard of any more: {listed(silent)}. Killed, hanging, or cut off from Redis",
            "Unless it was stopped on purpose, see its log. Others take over what it had read; the name leaves this "
            "list within a minute",
        )


def _not_ready(overview: Overview) -> Iterator[Trouble]:
    names: dict[str, list[str]] = {}
    for worker in overview.workers:
        for trouble in worker.troubles:
            follows = trouble.startswith("mongodb ") and not overview.mongodb.up
            if not (worker.silent or follows):
                names.setdefault(trouble, []).append(worker.name)
    for trouble, workers in names.items():
        yield _warning(
            "not_ready", f"{listed(workers)}: {trouble}", "It tries again by itself. If it stays, see its log"
        )


def _missing(overview: Overview) -> Iterator[Trouble]:
    if overview.missing_shards and _working(overview):
        yield _critical(
            "shards",
            f"Shard {listed(map(str, overview.missing_shards))}: there is no stream or no group",
            "Workers make both within seconds, and count the stream from its beginning. If they do not, see their log",
        )


def _lag(overview: Overview) -> Iterator[Trouble]:
    for shard in overview.shards if _working(overview) else ():
        if make := _by_seconds(shard.lag_seconds, LAG_S):
            yield make(
                "lag",
                f"Shard {shard.shard}: {shard.lag_entries:,} entries wait to be read, the first for "
                f"{duration(shard.lag_seconds)}. Counting is behind, and windows stay open for as long",
                "If it does not shrink, start more workers; see their log, and SLOWLOG GET on Redis",
            )
        elif not shard.lag_known and shard.lag_seconds >= LAG_UNKNOWN_S:
            yield _warning(
                "lag_unknown",
                f"Shard {shard.shard}: more entries wait than are counted one by one; {shard.lag_entries:,} is what "
                "the ledger leaves over. Until there are fewer, nobody can tell whether it balances",
                "If it does not shrink, start more workers",
            )


def _watermark(overview: Overview) -> Iterator[Trouble]:
    warns, alarms = PENDING_S
    warns_s = max(warns, 2 * overview.settings.claim_idle_seconds)
    for shard in overview.shards if _working(overview) else ():
        if make := _by_seconds(shard.oldest_pending_seconds, (warns_s, max(alarms, 2 * warns_s))):
            yield make(
                "watermark",
                f"Shard {shard.shard}: {shard.pending:,} entries were read and are not committed, the first for "
                f"{duration(shard.oldest_pending_seconds)}. It holds the watermark back: no window closes",
                "Another worker takes them over by itself. If it stays, see the workers' log; XPENDING on Redis names "
                "who holds them",
            )


def _overdue(overview: Overview) -> Iterator[Trouble]:
    for shard in overview.shards if _working(overview) and overview.mongodb.up else ():
        if make := _by_seconds(shard.overdue_seconds, OVERDUE_S):
            yield make(
                "overdue",
                f"Shard {shard.shard}: {shard.due:,} closed windows are not stored, the first of them due for "
                f"{duration(shard.overdue_seconds)}",
                "If they do not become fewer, see the workers' log for failed flushes, and whether MongoDB is slow",
            )


def _ledger(overview: Overview) -> Iterator[Trouble]:
    for shard in overview.shards:
        imbalance, lost = shard.imbalance or 0, shard.ledger.get("lost") or 0
        if imbalance > 0:
            yield _gone("ledger", shard, f"{imbalance:,} entries were trimmed or deleted before anyone read them")
        elif imbalance < 0:
            yield _critical(
                "ledger",
                f"Shard {shard.shard}: Redis forgot {-imbalance:,} entries that had been counted: a failover, or a "
                "restored backup",
                "Publish what may be missing again: each segment counts once. streamproc audit compares the hours. "
                f"{_DONE}",
            )
        if lost:
            yield _gone(
                "lost", shard, f"{lost:,} entries were deleted after a worker had read and before it counted them"
            )


#: What ends a trouble that nothing else ends.
_DONE: Final = "Once that is done, streamproc audit --write-off NOTE keeps it on record, and the ledger balances again"


def _gone(what: str, shard: ShardState, message: str) -> Trouble:
    return _critical(
        what,
        f"Shard {shard.shard}: {message}. Their hours lack them",
        "Find who trims or deletes (XTRIM, XDEL, MAXLEN in a producer's XADD, eviction), and publish the segments "
        f"again: each counts once. {_DONE}",
    )


def _reported(overview: Overview) -> Iterator[Trouble]:
    """What workers found since they started, and did not mend."""
    shrunk = sum(worker.shrunk for worker in overview.workers)
    diverged = sum(worker.diverged for worker in overview.workers)
    refused = sum(worker.refused for worker in overview.workers)
    if shrunk:
        yield _critical(
            "shrunk",
            f"{shrunk:,} windows have fewer segments in Redis than are stored: Redis lost data. What is stored is kept",
            "Find out whether Redis was emptied, restored or failed over. The workers' log names the windows",
        )
    if diverged:
        yield _critical(
            "diverged",
            f"{diverged:,} windows have other segments in Redis than were stored: Redis was rolled back and filled "
            "again. What Redis holds is stored now",
            "Publish what may be missing again: each segment counts once. The workers' log names the windows",
        )
    if refused:
        yield _critical(
            "refused",
            f"{refused:,} times MongoDB refused a measurement. Its window waits, and is tried again",
            "The workers' log names the window and MongoDB's reason",
        )


def _dead_letters(overview: Overview) -> Iterator[Trouble]:
    news = [one for one in overview.dead_letters.newest if overview.at - one.at < timedelta(seconds=DEAD_LETTER_S)]
    if news:
        age_s = max(0.0, (overview.at - news[0].at).total_seconds())
        yield _warning(
            "dead_letters",
            f"Events are refused, the last {duration(age_s)} ago as {news[0].reason}. They are kept as dead letters "
            f"({overview.dead_letters.kept:,}), and count nowhere",
            "streamproc dead-letters lists them with what is wrong, and replays them once that is mended",
        )


_RULES: Final[tuple[Callable[[Overview], Iterator[Trouble]], ...]] = (
    _redis,
    _mongodb,
    _nobody_works,
    _missing,
    _ledger,
    _reported,
    _lag,
    _watermark,
    _overdue,
    _silent,
    _not_ready,
    _dead_letters,
)
