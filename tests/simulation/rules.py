"""The rules of counting, closing, flushing and erasing, each broken.

Where a rule is covered by another one, breaking it alone does no harm that one could see at the end; then both are
broken together (`+`).
"""

from __future__ import annotations

from typing import Final

from streamproc.core import revisions
from streamproc.core.commits import Planner
from streamproc.core.erasures import Erasure
from streamproc.core.windows import Windowing
from streamproc.roles.consumer import Consumer
from streamproc.roles.eraser import Eraser
from streamproc.roles.flusher import Flusher
from streamproc.roles.janitor import Janitor
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.erasure import ShardErasure

from .mutants import Edit, Mutant

# Counting

ACKNOWLEDGE_FIRST: Final = Mutant(
    "acknowledge before recording",
    Edit(
        Consumer.commit,
        "with self._metrics.commit_seconds.time():",
        "for window in plan.windows:\n"
        "        client, stream = self._stream._shard.client, self._stream._shard.keys.stream\n"
        "        await client.execute_command('XACK', stream, self._stream._shard.group, *window.entry_ids)\n"
        "    with self._metrics.commit_seconds.time():",
    ),
    Edit("commit", "local acknowledged = redis.call('XACK', stream, group, unpack(ids))", "local acknowledged = #ids"),
)
LATENESS_BY_THE_CLOCK: Final = Mutant(
    "judge lateness by the clock", Edit(Planner.plan, "min(entry_ms(entry_id), now_ms)", "now_ms")
)
COUNT_WHAT_WAS_SENT: Final = Mutant(
    "have the ledger count what was sent instead of what was acknowledged",
    Edit("commit", "'HINCRBY', ledger, term, acknowledged)", "'HINCRBY', ledger, term, #ids)"),
)
DEAD_LETTER_UNASKED: Final = Mutant(
    "write a dead letter without having acknowledged",
    Edit(
        "commit",
        "elseif redis.call('XACK', stream, group, entry_id) == 1 then",
        "else redis.call('XACK', stream, group, entry_id)",
    ),
)
OPEN_ONLY_NEW: Final = Mutant(
    "open only new windows",
    Edit("commit", "if #counted_ids > before then", "if #counted_ids > before and is_new[w] then"),
)
NOT_OPENED_WHILE_TAKEN: Final = Mutant(
    "do not open a window that a flusher is at",
    Edit(
        "commit",
        "if #counted_ids > before then",
        "if #counted_ids > before and not redis.call('ZSCORE', 'dubbing:{0}:taken', name) then",
    ),
)
STAYS_CLOSED: Final = Mutant(
    "leave a window that grows in closed", Edit("commit", "redis.call('ZREM', closed, unpack(names))", "")
)
INDEXED_FOR_EVER: Final = Mutant(
    "take a window that was indexed once for indexed for ever",
    Edit("commit", "unindexed[#unindexed + 1] = w", ""),
)
NO_MARK: Final = Mutant("count what lies below the mark", Edit("commit", "start_ms < mark", "false"))

# Reading

CURSOR_DROPPED: Final = Mutant(
    "begin every claim at the start",
    Edit(EntryStream.claim, "self._claim_cursor = cursor", "self._claim_cursor = _START"),
)
NO_CLAIMS: Final = Mutant(
    "take over nothing from others",
    Edit(Consumer.look_for_abandoned, "self._claim_due = True", "pass"),
    Edit(Consumer.__init__, "self._claim_due = True", "self._claim_due = False"),
)
NO_DOUBT: Final = Mutant(
    "go on after a failed commit", Edit(Consumer.doubt, "self._in_doubt = True", "self._in_doubt = False")
)
GROUP_FROM_THE_END: Final = Mutant(
    "make a missing group from the last entry on",
    Edit("ensure_group", "group, '0', 'MKSTREAM'", "group, '$', 'MKSTREAM'"),
)
TRIM_BY_THE_CLOCK: Final = Mutant(
    "trim by the clock", Edit("trim", "math.min(at.watermark_ms, at.now_ms - retention_ms)", "at.now_ms - retention_ms")
)
RETIRE_WITH_PENDING: Final = Mutant(
    "retire consumers that have entries pending", Edit("retire", "info['pending'] == 0 and ", "")
)

# Closing

CLOSE_BY_THE_CLOCK: Final = Mutant(
    "close windows by the clock",
    Edit("take_due", "'ZRANGEBYSCORE', open, '-inf', at.watermark_ms,", "'ZRANGEBYSCORE', open, '-inf', at.now_ms,"),
)
PENDING_OVERLOOKED: Final = Mutant(
    "overlook pending entries in the low watermark",
    Edit("take_due", "if oldest_pending_id ~= ''", "if false"),
    Edit("forgettable", "if oldest_pending_id ~= ''", "if false"),
    Edit("forget", "if oldest_pending_id ~= ''", "if false"),
)
UNDELIVERED_OVERLOOKED: Final = Mutant(
    "overlook undelivered entries in the low watermark",
    Edit("take_due", "if first_undelivered_id ~= ''", "if false"),
    Edit("forgettable", "if first_undelivered_id ~= ''", "if false"),
    Edit("forget", "if first_undelivered_id ~= ''", "if false"),
)
FORGET_BY_THE_CLOCK: Final = Mutant(
    "forget by the clock",
    Edit("forgettable", "'%.0f', at.watermark_ms)", "'%.0f', at.now_ms)"),
    Edit("forget", "at.watermark_ms <= forgettable_at_ms", "at.now_ms <= forgettable_at_ms"),
)
FORGET_WITHOUT_LOOKING: Final = Mutant(
    "forget without looking again where the stream stands",
    Edit("forget", "not at or at.watermark_ms <= forgettable_at_ms", "not redis.call('ZSCORE', closed, name)"),
)
FORGET_AT_THE_HORIZON: Final = Mutant(
    "forget as soon as the horizon has passed", Edit(Windowing.forgettable_at, "+ self.future_ms", "")
)
FORGET_WHAT_IS_BUSY: Final = Mutant(
    "forget windows that are open or taken",
    Edit(
        "forget",
        "if redis.call('ZSCORE', open, name) or redis.call('ZSCORE', taken, name) then",
        "if false then",
    ),
)
FORGET_UNSEEN: Final = Mutant(
    "forget without having seen that revision stored",
    Edit("forget", "redis.call('HLEN', KEYS[3 + 3 * w]) > stored_revision", "false"),
)

# Flushing

SUPERSEDE_BY_TIME: Final = Mutant(
    "supersede by time instead of size",
    Edit(revisions.decide, "best is None or revision > best.revision", "best is None or digest != best.digest"),
    Edit(revisions._rank, "stored.revision, stored.write", "stored.write, 0"),
)
SMALLER_REPLACES: Final = Mutant(
    "store a window that shrank",
    Edit(revisions.decide, "best is None or revision > best.revision", "best is None or digest != best.digest"),
    Edit(
        Flusher._store_measurements, "for old in decision.obsolete", "for old in decision.obsolete if decision.insert"
    ),
    Edit(revisions._rank, "stored.revision, stored.write", "stored.write, 0"),
)
TWINS_NOT_TOLD_APART: Final = Mutant(
    "take as many segments for the same segments",
    Edit(revisions.decide, "revision == best.revision and digest != best.digest", "False"),
)
WRITES_BY_THE_CLOCK: Final = Mutant(
    "number writes by the clock alone",
    Edit(revisions.write_number, "max(now_ms, last_ms + 1)", "now_ms"),
)
FOLD_FIRST: Final = Mutant(
    "read a window before looking up what is stored",
    Edit(
        Flusher.run_once,
        "stored = await self._store.look_up(taken.keys)\n        await self._fold(flush)",
        "await self._fold(flush)\n        stored = await self._store.look_up(taken.keys)",
    ),
)
DELETE_FIRST: Final = Mutant(
    "delete without a stored successor",
    Edit(
        Flusher._store_measurements,
        "for refused in await self._store.insert(documents):",
        "await self._store.delete(old for one in decisions.values() for old in one.obsolete)\n"
        "    for refused in await self._store.insert(documents):",
    ),
)
FINISH_BLINDLY: Final = Mutant("finish without looking again", Edit("finish", "segments == revision", "true"))
FINISH_FOR_ANOTHER: Final = Mutant(
    "finish what another flusher has taken",
    Edit("finish", "tonumber(redis.call('ZSCORE', taken, name) or until_ms) ~= until_ms", "false"),
)
NOT_PUT_BACK: Final = Mutant(
    "leave taken what a dead flusher took",
    Edit("take_due", "redis.call('ZREM', taken, name)", ""),
    Edit("take_due", "redis.call('ZADD', open, 'LT', at.watermark_ms, name)", ""),
)
NOT_GIVEN_BACK: Final = Mutant(
    "keep windows that could not be stored until their time is up",
    Edit(Flusher.run_once, "await self._windows.give_back(taken)", "pass"),
)
NO_SWEEP: Final = Mutant("never sweep", Edit(Janitor.run_once, "await self.sweep()", "pass"))

# Erasing

ERASE_ONCE: Final = Mutant("erase once", Edit(Erasure.next_pass, "return Pass.FIRST", "return Pass.SECOND"))
ERASE_TWICE_AT_ONCE: Final = Mutant(
    "erase for the second time at once",
    Edit(Erasure.due_at_ms, "(self.first_pass_at_ms or 0) + flush_visibility_ms if second else 0", "0"),
)
NO_TOMBSTONE: Final = Mutant(
    "count for whoever was erased",
    Edit("commit", "return up_to_ms and start_ms <= tonumber(up_to_ms)", "return false"),
)
TOMBSTONE_LOWERED: Final = Mutant(
    "let an older erasure lower the tombstone", Edit("erase_windows", "'ZADD', erased, 'GT',", "'ZADD', erased,")
)
REFUSED_AND_KEPT: Final = Mutant(
    "keep the entries that are refused", Edit("commit", "redis.call('XDEL', stream, id)", "")
)
FINISH_FOR_THE_ERASED: Final = Mutant(
    "finish without looking at the tombstone", Edit("finish", "start_ms <= erased_up_to_ms", "false")
)
DELETE_PENDING: Final = Mutant(
    "delete entries that are pending",
    Edit("erase_entries", "and #redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1) == 0 ", ""),
)
DELETE_UNDELIVERED: Final = Mutant(
    "delete entries that are undelivered", Edit("erase_entries", "if delivered and #", "if #")
)
ERASE_WHAT_CAME_LATER: Final = Mutant(
    "erase windows that came after the request",
    Edit(ShardErasure._covered, "subject.covered_start_ms", "'+inf'"),
)
COMPLETE_WITHOUT_A_LAYER: Final = Mutant(
    "call an erasure complete of which a layer was away",
    Edit(
        Eraser._advance, "at_ms = 0 if trouble else await self._now_ms()", "at_ms, trouble = await self._now_ms(), {}"
    ),
)
NEVER_AGAIN: Final = Mutant("never erase again", Edit(Eraser.run_once, "if turns:", "if False:"))
ONE_REDIS_LIKE_ANOTHER: Final = Mutant(
    "take another Redis for the same", Edit("erase_turn", "if of == id then return", "if of then return")
)
