"""What an overview sees in Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from redis.exceptions import NoPermissionError, ResponseError

from streamproc.answers.overview_results import DeadLetterShown, ShardState, Trouble, WorkerState
from streamproc.core.failures import Explanation
from streamproc.stores.redis import failures
from streamproc.stores.redis.dead_letters import DeadLetterStore
from streamproc.stores.redis.presence import PresenceStore, Present
from streamproc.stores.redis.shard import LayoutMismatch, Shard
from streamproc.stores.redis.survey import Survey, survey

#: A server that has not answered after so long is away, for whoever looks.
PATIENCE_S: Final = 5.0
SLOW: Final = Explanation(
    f"it does not answer within {PATIENCE_S:g} s", "See whether it is frozen, overloaded, or cut off from here"
)
#: How many dead letters are shown.
LETTERS: Final = 5
# Pods say every second how they are.
_SILENT_MS: Final = 5_000


class Shards(Protocol):
    """What is looked into."""

    @property
    def shards(self) -> Sequence[Shard]: ...
    async def check_layout(self) -> None: ...


@dataclass(slots=True)
class Seen:
    """What was seen, until something failed; by Redis' time, or by that of this process where Redis is away."""

    now_ms: int
    failed: Explanation | None = None
    troubles: list[Trouble] = field(default_factory=list)
    pods: list[Present] = field(default_factory=list)
    shards: list[ShardState] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    letters: list[DeadLetterShown] = field(default_factory=list)

    @property
    def workers(self) -> list[WorkerState]:
        return [_worker(pod, self.now_ms) for pod in self.pods]


async def look(servers: Shards) -> Seen:
    """Look at pods and shards, one after the other."""
    seen = Seen(time.time_ns() // 1_000_000)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await _look(servers, seen)
    except LayoutMismatch as error:
        remedy = "Look with the settings that the workers have"
        seen.troubles.append(Trouble(severity="critical", what="layout", message=str(error), remedy=remedy))
    except TimeoutError:
        seen.failed = SLOW
    except failures.FAILURES as error:
        seen.failed = failures.explain(error)
    return seen


async def _look(servers: Shards, seen: Seen) -> None:
    first = servers.shards[0]
    seen.now_ms = await first.now_ms()
    await servers.check_layout()
    seen.pods = await PresenceStore(first).pods(seen.now_ms)
    for shard in servers.shards:
        found = await survey(shard)
        if found is None:
            seen.missing.append(shard.number)
        else:
            seen.shards.append(_shard(shard.number, found))
        seen.letters += await _newest_letters(shard)
    await _try_writing(servers.shards, seen)


async def _try_writing(shards: Sequence[Shard], seen: Seen) -> None:
    """Reading works. Where writing does not, for want of memory or disk, producers are refused, and workers mute."""
    refused = {}
    for shard in shards:
        try:
            await shard.require_writable()
        except NoPermissionError:
            pass  # whoever only looks need not be allowed to write
        except ResponseError as error:
            cause, remedy, _ = failures.explain(error)
            refused[cause] = remedy
    seen.troubles += [
        Trouble(
            severity="critical", what="writes", message=f"Redis: {cause}. What is published is refused", remedy=remedy
        )
        for cause, remedy in refused.items()
    ]


async def _newest_letters(shard: Shard) -> list[DeadLetterShown]:
    async for page in DeadLetterStore(shard).newest_first(LETTERS):
        return [
            DeadLetterShown(entry_id=one.entry_id, reason=one.reason, detail=one.detail, at=at(one.at_ms))
            for one in page
        ]
    return []


def _worker(pod: Present, now_ms: int) -> WorkerState:
    report, silent = pod.report, now_ms - pod.heard_ms > _SILENT_MS
    return WorkerState(
        name=pod.name,
        version=report.version,
        started_at=at(report.started_at_ms),
        seen_at=at(pod.heard_ms),
        silent=silent,
        ready=not (silent or report.troubles),
        troubles=report.troubles,
        counted=report.counted,
        errors=report.errors,
        duplicates=report.duplicates,
        dead_lettered=report.dead_lettered,
        flushed=report.flushed,
        shrunk=report.shrunk,
        diverged=report.diverged,
        refused=report.refused,
    )


def _shard(number: int, seen: Survey) -> ShardState:
    oldest_pending_ms = seen.now_ms if seen.oldest_pending_ms is None else seen.oldest_pending_ms
    return ShardState(
        shard=number,
        lag_entries=seen.lag_entries,
        lag_known=seen.undelivered is not None,
        lag_seconds=seen.lag_ms / 1000,
        pending=seen.pending,
        oldest_pending_seconds=max(0, seen.now_ms - oldest_pending_ms) / 1000,
        watermark_at=at(seen.watermark_ms),
        watermark_delay_seconds=(seen.now_ms - seen.watermark_ms) / 1000,
        stream_entries=seen.length,
        open=seen.open,
        due=seen.due,
        overdue_seconds=seen.overdue_ms / 1000,
        taken=seen.taken,
        closed=seen.closed,
        dead_letters=seen.dead,
        consumers=seen.consumers,
        epoch=seen.epoch,
        ledger=seen.ledger.by_name(),
        imbalance=seen.ledger.imbalance(),
    )


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
