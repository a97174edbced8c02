"""Is a shard's data ours and whole, and does somebody work on it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from streamproc.app.checkup.diagnosis import Check, Diagnosis, red, unknown, yellow
from streamproc.app.checkup.stream_facts import LATELY_MS, MOST_UNCLAIMED, ShardFacts
from streamproc.stores.redis.shard import FORMAT_VERSION
from streamproc.stores.redis.survey import Survey

SEEN = Check(
    "shard",
    "it can be looked at",
    away=red("Redis refuses to tell, or has gone away meanwhile", "{remedy}"),
)
TYPES = Check(
    "keys",
    "every key is of its type",
    foreign=red(
        "a key is of another type: another program uses it, and workers fail on it",
        "Set STREAMPROC_PREFIX to one that is free; or, if nobody needs that key: RENAME it, then start the workers",
    ),
)
LAYOUT = Check(
    "layout",
    "what is stored was made with these settings",
    differs=red(
        "it was made with other settings: workers with these do not run",
        "Set {settings} here; or, for a new start beside the old data, another STREAMPROC_PREFIX",
    ),
    format=red(
        "it was made by another version of streamproc, in another format",
        "Run the streamproc that made it; or, for a new start beside the old data, set another STREAMPROC_PREFIX",
    ),
    none=yellow("there is no data yet", "Run streamproc init, or start a worker"),
)
KEY = Check(
    "erasure key",
    "workers recognise whoever this process erases",
    other=red(
        "workers use another STREAMPROC_ERASURE_KEY: they would count for whoever is erased here, and go on doing so",
        "Give this process the STREAMPROC_ERASURE_KEY of the workers",
    ),
    missing=red(
        "workers have a STREAMPROC_ERASURE_KEY, and this process has none: it does not run as a worker",
        "Give this process the STREAMPROC_ERASURE_KEY of the workers",
    ),
    unused=yellow(
        "no worker has run with a STREAMPROC_ERASURE_KEY, and this process has one: it cannot erase yet",
        "Start all workers with the STREAMPROC_ERASURE_KEY of this process",
    ),
    nobody=yellow(
        "nobody has a STREAMPROC_ERASURE_KEY: no person can be erased",
        "Make one (python3 -c 'import secrets; print(secrets.token_urlsafe(32))'), and give it to every process",
    ),
)
GROUP = Check(
    "group",
    "stream and group exist",
    no_stream=yellow("there is no stream yet", "Run streamproc init, or start a worker"),
    no_group=red(
        "the stream has no group of that name: nothing is counted, closed or forgotten",
        "Correct STREAMPROC_GROUP; or run streamproc init, or start a worker: what is counted stays counted once",
    ),
)
WORKERS = Check(
    "workers",
    "somebody asks for entries",
    idle=yellow("no worker has asked for entries lately; none wait", "Start a worker"),
    missing=red(
        "no worker has asked for entries lately, and some wait", "Start workers; see the log of those that should run"
    ),
)
LEDGER = Check(
    "ledger",
    "every entry added is accounted for",
    unbalanced=red(
        "entries disappeared, or Redis forgot some that were added",
        "Run streamproc audit. Let nobody else trim or delete in the stream. After a failover: events are lost that "
        "Redis had confirmed; publish them again, repeating is harmless. Then streamproc audit --write-off NOTE",
    ),
    lost=red(
        "entries were deleted while they were pending",
        "Find who deletes or trims in the stream, and stop it. Publish those segments again: repeating is harmless. "
        "Then streamproc audit --write-off NOTE",
    ),
    uncounted=unknown(
        "so many are undelivered that they were not counted", "Run doctor again when the workers have caught up"
    ),
)
PENDING = Check(
    "pending",
    "what a dead worker had read is taken over",
    unclaimed=red(
        "entries are pending for over three times STREAMPROC_CLAIM_IDLE_SECONDS: nobody takes them over",
        "Start workers, or see their log: what is pending holds windows open",
    ),
    left=yellow(
        "a consumer that is gone still has pending entries",
        "None while workers run: they take the entries over after STREAMPROC_CLAIM_IDLE_SECONDS. Else start one",
    ),
)
WATERMARK = Check(
    "watermark",
    "windows are closed in time",
    behind=yellow(
        "the low watermark is behind by more than grace and claim time: windows are stored late",
        "Start more workers, if they are busy; see what is pending",
    ),
    stuck=red(
        "the low watermark is behind by more than a window: nothing is closed",
        "Start more workers, if they are busy; see what is pending and what the workers' log says of it",
    ),
)
WINDOWS = Check(
    "windows",
    "what is due is stored",
    overdue=red(
        "windows have been due for over three times STREAMPROC_FLUSH_VISIBILITY_SECONDS, and are not stored",
        "See that MongoDB answers (below) and workers run; their log says why",
    ),
)
CHECKS: Final = (SEEN, TYPES, LAYOUT, KEY, GROUP, WORKERS, LEDGER, PENDING, WATERMARK, WINDOWS)

#: How many claim, or flush, times may pass before something is wrong rather than slow.
PATIENCE: Final = 3
_NAMED: Final = 5


class Expected(NamedTuple):
    """What the settings of this process make of a shard."""

    shards: int
    window_ms: int
    grace_ms: int
    claim_idle_ms: int
    fingerprint: str


def check_shard(facts: ShardFacts, expected: Expected) -> Iterator[Diagnosis]:
    """Everything about one shard. Where its keys are another program's, nothing beyond that."""
    if facts.wrong_types:
        listed = "; ".join(f"{key} is a {found}, not a {kind}" for key, found, kind in facts.wrong_types)
        yield TYPES.trouble("foreign", listed)
        return
    yield TYPES.ok("every key that exists is of its type")
    yield _layout(facts, expected)
    if facts.layout:
        yield _erasure_key(facts, expected)
    if facts.survey is None:
        missing, found = ("no_group", "a stream, and no group") if facts.has_stream else ("no_stream", "no stream")
        yield GROUP.trouble(missing, f"there is {found}")
        return
    seen = facts.survey
    yield GROUP.ok(f"{seen.length} entries in the stream, {seen.lag_entries} undelivered, {seen.pending} pending")
    yield _workers(facts, seen)
    yield _ledger(seen)
    yield _pending(facts, seen, expected)
    yield _watermark(seen, expected)
    yield _windows(facts, seen)


def _layout(facts: ShardFacts, expected: Expected) -> Diagnosis:
    there = facts.layout
    if not there:
        return LAYOUT.trouble("none", "nothing is stored under this prefix yet")
    if there.get("format_version") != str(FORMAT_VERSION) or not {"shards", "window_ms"} <= there.keys():
        return LAYOUT.trouble("format", f"format {there.get('format_version')} there, {FORMAT_VERSION} here")
    window_s = int(there["window_ms"]) // 1000
    found = f"{there['shards']} shard(s), windows of {window_s} s"
    if (there["shards"], there["window_ms"]) == (str(expected.shards), str(expected.window_ms)):
        return LAYOUT.ok(found)
    here = f"{expected.shards} shard(s), windows of {expected.window_ms // 1000} s"
    settings = f"STREAMPROC_SHARDS={there['shards']} and STREAMPROC_WINDOW_SECONDS={window_s}"
    return LAYOUT.trouble("differs", f"{found} there; {here} here", settings=settings)


def _erasure_key(facts: ShardFacts, expected: Expected) -> Diagnosis:
    theirs, ours = facts.layout.get("erasure_key", ""), expected.fingerprint
    if theirs == ours:
        return KEY.ok("the workers' key is this process' key") if ours else KEY.trouble("nobody", "there is none")
    if not theirs:
        return KEY.trouble("unused", "this process has one, no worker has")
    return KEY.trouble("other", "not that of the workers") if ours else KEY.trouble("missing", "only workers have it")


def _workers(facts: ShardFacts, seen: Survey) -> Diagnosis:
    here = sorted({one.name for one in facts.consumers if one.idle_ms < LATELY_MS} | {*facts.heard})
    if here:
        return WORKERS.ok(f"{len(here)}: {_names(here)}")
    found = f"none has been heard of for {LATELY_MS // 1000} s; {len(facts.consumers)} consumers of the group"
    return WORKERS.trouble("missing" if seen.pending or seen.lag_entries else "idle", found)


def _ledger(seen: Survey) -> Diagnosis:
    terms, imbalance = seen.ledger, seen.ledger.imbalance()
    if imbalance:
        return LEDGER.trouble("unbalanced", f"{imbalance} entries are not accounted for")
    if terms.lost:
        return LEDGER.trouble("lost", f"{terms.lost} entries lost in this epoch")
    if imbalance is None:
        return LEDGER.trouble("uncounted", "undelivered entries were not counted")
    return LEDGER.ok(f"{terms.entries_added - terms.epoch_base} entries added, each accounted for, none lost")


def _pending(facts: ShardFacts, seen: Survey, expected: Expected) -> Diagnosis:
    if facts.unclaimed:
        number = f"{MOST_UNCLAIMED} or more" if facts.unclaimed >= MOST_UNCLAIMED else facts.unclaimed
        waited_s = PATIENCE * expected.claim_idle_ms / 1000
        return PENDING.trouble("unclaimed", f"{number} entries pending for over {waited_s:g} s{_age(seen)}")
    left = [one for one in facts.consumers if one.pending and one.idle_ms > max(LATELY_MS, expected.claim_idle_ms)]
    if left:
        return PENDING.trouble(
            "left", f"{sum(one.pending for one in left)} entries of {_names([one.name for one in left])}"
        )
    return PENDING.ok(f"{seen.pending} pending{_age(seen)}")


def _watermark(seen: Survey, expected: Expected) -> Diagnosis:
    delay_ms = max(0, seen.now_ms - seen.watermark_ms)
    found = f"{delay_ms / 1000:.1f} s behind"
    allowed_ms = expected.grace_ms + PATIENCE * expected.claim_idle_ms
    if delay_ms > max(expected.window_ms, allowed_ms):
        return WATERMARK.trouble("stuck", found)
    return WATERMARK.trouble("behind", found) if delay_ms > allowed_ms else WATERMARK.ok(found)


def _windows(facts: ShardFacts, seen: Survey) -> Diagnosis:
    states = f"{seen.open} open, {seen.taken} being stored, {seen.closed} stored and kept"
    if not facts.overdue:
        return WINDOWS.ok(states)
    since = "" if facts.oldest_due_ms is None else f", the first for {(seen.now_ms - facts.oldest_due_ms) / 1000:.0f} s"
    return WINDOWS.trouble("overdue", f"{facts.overdue} overdue{since}; {states}")


def _age(seen: Survey) -> str:
    if seen.oldest_pending_ms is None:
        return ""
    return f", the oldest added {max(0, seen.now_ms - seen.oldest_pending_ms) / 1000:.0f} s ago"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
