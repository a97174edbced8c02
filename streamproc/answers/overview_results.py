"""What an overview says. The shape of `GET /api/overview` and of `streamproc status --json`.

Times are aware datetimes, in UTC; in JSON RFC 3339 with ``Z``. Numbers of entries, windows and segments are counts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]
Severity = Literal["warning", "critical"]
Verdict = Literal["healthy", "degraded", "down"]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it should be.

    Attributes:
        severity: `critical`: hours are late or wrong, or will be, unless somebody acts; `warning`: worth a look.
        what: a word for programs, such as ``lag``.
        message: what it is, and what it means.
        remedy: what to do.
    """

    severity: Severity
    what: str
    message: str
    remedy: str


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two servers. `address` is without user and password; `trouble` and `remedy` are '' where it is up."""

    up: bool
    address: str
    trouble: str = ""
    remedy: str = ""


class SettingsShown(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that say how to read the rest."""

    window_seconds: float
    grace_seconds: float
    claim_idle_seconds: float
    shards: int
    prefix: str


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A pod, as it said last. Its counts are since it started.

    Attributes:
        seen_at: when it was last heard of, by Redis' time.
        silent: it has not been heard of for longer than a living pod is silent.
        ready: it said that nothing troubles it, and is not silent.
        counted: segments; `errors` of them with an error.
        flushed: measurements stored.
        shrunk, diverged, refused: windows that it found so, of which each needs a person.
    """

    name: str
    version: str
    started_at: Time
    seen_at: Time
    silent: bool
    ready: bool
    troubles: list[str]
    counted: int
    errors: int
    duplicates: int
    dead_lettered: int
    flushed: int
    shrunk: int
    diverged: int
    refused: int


class ShardState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a shard stands.

    Attributes:
        lag_entries: undelivered entries; where `lag_known` is false, derived from the ledger.
        lag_seconds: age of the first undelivered entry; 0 where there is none.
        oldest_pending_seconds: 0 where nothing is pending.
        watermark_delay_seconds: how far the low watermark is behind Redis' time.
        open, taken, closed: windows in each state; `due`: the open ones that could be flushed by now.
        overdue_seconds: by how much the low watermark has passed the time at which the first of them was due.
        ledger: term -> entries, None for an unknown one; the terms of `streamproc.core.ledger.LEDGER_TERMS`.
        imbalance: None where undelivered entries are beyond the bound of counting.
    """

    shard: int
    lag_entries: int
    lag_known: bool
    lag_seconds: float
    pending: int
    oldest_pending_seconds: float
    watermark_at: Time
    watermark_delay_seconds: float
    stream_entries: int
    open: int
    due: int
    overdue_seconds: float
    taken: int
    closed: int
    dead_letters: int
    consumers: int
    epoch: int
    ledger: dict[str, int | None]
    imbalance: int | None


class FlushState(msgspec.Struct, frozen=True, kw_only=True):
    """The newest flush over all pods that are heard of, and how many windows could be flushed by now."""

    last_at: Time | None = None
    last_windows: int = 0
    due: int = 0


class DeadLetterShown(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter without its payload."""

    entry_id: str
    reason: str
    detail: str
    at: Time


class DeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """How many are kept over all shards, and the newest few."""

    kept: int = 0
    newest: list[DeadLetterShown] = []


class LiveWindow(msgspec.Struct, frozen=True, kw_only=True):
    """What all pods that are heard of have counted of the windows that start at `start`."""

    start: Time
    end: Time
    segments: int
    errors: int
    channels: int


class LiveChannel(msgspec.Struct, frozen=True, kw_only=True):
    """One channel over all windows shown; percentiles are approximate (`streamproc.core.live.quantile_us`)."""

    channel_id: str
    segments: int
    errors: int
    error_rate: float
    avg_total_ms: float | None
    p50_total_ms: float | None
    p95_total_ms: float | None


class LiveState(msgspec.Struct, frozen=True, kw_only=True):
    """Live figures: windows newest first, channels busiest first."""

    windows: list[LiveWindow] = []
    channels: list[LiveChannel] = []


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the whole system.

    Attributes:
        at: Redis' time; this process's, where Redis is away.
        verdict: `down`: nothing is counted; `degraded`: there is a critical trouble; else `healthy`.
        troubles: the critical ones first.
        missing_shards: shards without stream or group: no worker has begun with them, or they were deleted.
    """

    at: Time
    version: str
    verdict: Verdict
    troubles: list[Trouble]
    redis: ServerState
    mongodb: ServerState
    settings: SettingsShown
    workers: list[WorkerState]
    shards: list[ShardState]
    missing_shards: list[int]
    flush: FlushState
    dead_letters: DeadLetters
    live: LiveState
