"""The rules, each broken: what is edited in the model's text, and a seed whose schedule then goes wrong.

After a change of the model other seeds may be needed: `python -m tests.model --mutants` looks for them.
Rules that only save time are not here: NX in `open`, LT where windows are put back, what a read asks for first.
"""

from __future__ import annotations

from typing import Final

from streamproc.core import revisions
from streamproc.core.windows import Windowing

from . import planning
from .breaking import Edit, Mutant, row
from .consumer import Consumer
from .eraser import Eraser
from .flusher import Flusher
from .janitor import Janitor
from .mongodb import MongoDB
from .shard import Shard
from .stream import Stream


def _m(rule: str, *edits: Edit) -> Mutant:
    return Mutant(rule, edits)


_TRIAL: Final = "(yield self._shard.suspect, entry.entry_id, self._name)"

# fmt: off
_NO_CLAIMS: Final = _m("take over nothing from others",
    Edit(Consumer.look_for_abandoned, "self._claim_due = True", "pass"),
    Edit(Consumer.__init__, "self._claim_due = True", "self._claim_due = False"))
_SHRUNK: Final = _m("store a window that shrank",
    Edit(revisions.decide, "revision > best.revision", "revision != best.revision"))
_NOT_PUT_BACK: Final = _m("leave taken what a dead flusher took",
    Edit(Shard.take_due, "_lowest(self.taken, now_ms, FLUSH_WINDOWS)", "()"))
_NEVER_AGAIN: Final = _m("never erase again",
    Edit(Eraser.run_once, "if replication_id is None:", "if True:"))
_NOT_EVERY_HOUR: Final = _m("erase again only in another Redis",
    Edit(Shard.erase_turn, " and self.clock.now_ms < until_ms", ""))

CAUGHT: Final = [
    # Counting
    row(2, _m("acknowledge before recording",
        Edit(Consumer.commit, "yield self._shard.commit, planned",
             "for one in rest: yield self._shard.acknowledge, one.entry_id, 'counted'\n"
             "    yield self._shard.commit, planned"))),
    row(2, _m("add a segment that is there",
        Edit(Shard._count, "if segment in held:", "if False:"))),
    row(6, _m("judge lateness by the clock",
        Edit(planning.plan, "min(entry_id[0], now_ms)", "now_ms"))),
    row(2, _m("count what was sent, not what was acknowledged",
        Edit(Stream.acknowledge, "+= acknowledged", "+= 1"))),
    row(14, _m("write a dead letter without having acknowledged",
        Edit(Shard.commit, 'acknowledged and outcome == "dead_lettered"', 'outcome == "dead_lettered"'))),
    row(2, _m("open only new windows",
        Edit(Shard._count, 'if "counted" in outcomes.values():', "if len(self.windows[window]) == 1:"))),
    row(10, _m("take what lies at the mark for a duplicate",
        Edit(Shard._count, "start_ms < self.mark", "start_ms <= self.mark"))),
    # Reading
    row(4, _NO_CLAIMS),
    row(738, _m("begin every claim at the start",
        Edit(Consumer.next_batch, "self._claim_cursor = cursor", "pass")), faults=("sick", "kill")),
    row(32, _m("leave pending what was found deleted",
        Edit(Stream.claim, "del self.pending[entry_id]", "continue"))),
    row(21, _m("do not count what was found deleted",
        Edit(Stream.claim, 'self.ledger["lost"] += 1', "pass"))),
    row(1, _m("make a missing group from the end on",
        Edit(Stream.ensure_group, "self.last_delivered = NO_ID", "self.last_delivered = self.last_added"))),
    row(13, _m("go on with the ledger of a group that is gone",
        Edit(Stream.ensure_group, "self.ledger.clear()", ""))),
    row(3, _m("trim by the clock",
        Edit(Stream.trim, "min(watermark_ms, self.clock.now_ms - retention_ms)", "self.clock.now_ms - retention_ms"))),
    row(2, _m("retire consumers that have entries pending",
        Edit(Stream.retire, "consumer not in busy and ", ""))),
    row(5, _m("condemn whatever was delivered often",
        Edit(Consumer.commit, _TRIAL, "True"))),
    row(20, _m("try what is suspect without a mark",
        Edit(Consumer.commit, _TRIAL, "False"))),
    row(20, _m("try what is suspect together with the rest",
        Edit(Consumer.commit, "yield self._shard.commit, plan([entry], batch.now_ms)", "rest.append(entry)"))),
    # Closing
    row(10, _m("close by the clock",
        Edit(Shard.take_due, "_lowest(self.open, watermark_ms,", "_lowest(self.open, now_ms,"))),
    row(3, _m("overlook pending entries",
        Edit(Stream.low_watermark_ms, "oldest_pending[0], ", ""))),
    row(3, _m("overlook undelivered entries",
        Edit(Stream.low_watermark_ms, ", first_undelivered[0]", ""))),
    row(3, _m("go on without a group",
        Edit(Stream.low_watermark_ms, "return None", "return self.clock.now_ms"))),
    row(134, _m("wait for no grace",
        Edit(Windowing.due_at, "+ self.grace_ms", ""))),
    row(14, _m("forget by the clock",
        Edit(Shard.forgettable, "self.low_watermark_ms()", "self.clock.now_ms"),
        Edit(Shard.forget, "self.low_watermark_ms()", "self.clock.now_ms"))),
    row(2269, _m("forget without looking again where the stream stands",
        Edit(Shard.forget, "watermark_ms is None or watermark_ms <= self.closed[window]", "False")),
        faults=("failover", "leap", "freeze")),
    row(2975, _m("forget as soon as the horizon has passed",
        Edit(Windowing.forgettable_at, "+ self.future_ms", "")), faults=("set back", "leap")),
    # Flushing
    row(206, _m("supersede by time",
        Edit(revisions.decide, "best is None or revision > best.revision", "best is None or digest != best.digest"),
        Edit(revisions._rank, "stored.revision, stored.write", "stored.write, 0"))),
    row(206, _SHRUNK),
    row(102, _m("take as many segments for the same",
        Edit(revisions.decide, "and digest != best.digest", "and False"))),
    row(23517, _m("number writes by the clock alone",
        Edit(revisions.write_number, "max(now_ms, last_ms + 1)", "now_ms")),
        faults=("failover", "emptied", "set back")),
    row(5445, _m("read a window before looking up what is stored",
        Edit(Flusher.run_once, "known = yield self._mongodb.look_up, taken.windows",
             "first = yield self._shard.fetch, taken.windows"),
        Edit(Flusher.run_once, "held = yield self._shard.fetch, taken.windows",
             "known, held = (yield self._mongodb.look_up, taken.windows), first")),
        faults=("emptied", "freeze", "leap")),
    row(2, _m("delete without a stored successor",
        Edit(Flusher.run_once, "for document in inserted.values():",
             "for one in decisions.values():\n            for old in one.obsolete:\n"
             "                yield self._mongodb.delete, old\n        for document in inserted.values():"))),
    row(21, _m("delete by window and revision alone",
        Edit(MongoDB.delete, "one[:3] != doomed[:3]", "one[:2] != doomed[:2]"))),
    row(28832, _m("finish what another flusher has taken",
        Edit(Shard._finish, "self.taken.get(window, taken.until_ms) != taken.until_ms", "False")),
        faults=("emptied", "freeze", "kill")),
    row(7, _m("flush what is gone again",
        Edit(Shard._finish, 'return "gone"', "self.open[window] = taken.now_ms"))),
    row(2, _NOT_PUT_BACK),
    row(10, _m("never sweep",
        Edit(Janitor._sweep, "if (yield", "if False and (yield"))),
    # Erasing
    row(4, _m("count for whoever was erased",
        Edit(Shard._count, "if self.is_erased(window.user_id, window.start_ms):", "if False:"))),
    row(11532, _m("let an older erasure lower the tombstone",
        Edit(Shard.erase_windows, "max(covered_start_ms, self.tombstones.get(user, _NEVER))", "covered_start_ms")),
        faults=("erasure", "freeze", "leap")),
    row(84, _m("delete refused entries that were not pending",
        Edit(Shard.commit, 'acknowledged and outcome == "erased"', 'outcome == "erased"')),
        faults=("erasure", "group")),
    row(15, _m("delete entries that are pending",
        Edit(Shard.erase_entries, " and entry_id not in self.pending", ""))),
    row(4, _m("delete entries that are undelivered",
        Edit(Shard.erase_entries, "if delivered and entry_id", "if entry_id"))),
    row(170, _m("erase every window, whenever it was",
        Edit(Eraser._erase_in_redis, "erasure.user, erasure.covered_start_ms", "erasure.user, 10**9"))),
    row(170, _m("cover whatever there is when it is erased",
        Edit(Eraser._erase, "away = False\n    try:\n        yield from self._erase_in",
             "away = False\n    now_ms = self._shard.clock.now_ms + WINDOWING.future_ms\n"
             "    erasure = Erasure(0, erasure.user, now_ms, WINDOWING.start_of(now_ms))\n"
             "    try:\n        yield from self._erase_in"))),
    row(4, _m("keep dead letters",
        Edit(Shard.erase_letters, "self.dead.remove(one)", "pass"))),
    row(4, _m("leave erased windows in open, taken and closed",
        Edit(Shard.erase_windows, "(self.windows, self.open, self.taken, self.closed)", "(self.windows,)"))),
    row(208, _NEVER_AGAIN),
]

COVERED: Final = [
    row(2, _NO_CLAIMS, _m("go on after a failed commit",
        Edit(Consumer.doubt, "self._in_doubt = True", "self._in_doubt = False")), faults=("calls",)),
    row(21, _NO_CLAIMS, _m("forget a doubt over another",
        Edit(Consumer.doubt, "self._doubted_again = self._in_doubt", "self._doubted_again = False")),
        faults=("calls",)),
    row(45,
        _m("finish without looking again", Edit(Shard._finish, "if segments == revision:", "if True:")),
        _m("do not open a window that is taken",
            Edit(Shard._count, "self.open.setdefault(window,", "window in self.taken or self.open.setdefault(window,")),
        faults=("freeze", "leap")),
    row(100,
        _m("leave a window that grows in closed", Edit(Shard._count, "self.closed.pop(window, None)", "pass")),
        _m("forget windows that are open or taken",
            Edit(Shard.forget, " or window in self.open or window in self.taken", "")),
        _m("forget without having seen that revision stored",
            Edit(Shard.forget, "if len(self.windows.get(window, ())) > revision:", "if False:")),
        faults=("freeze", "leap")),
    row(28, _SHRUNK, _m("count what lies below the mark",
        Edit(Shard._count, "if window.start_ms < self.mark_ms:", "if False:")), faults=("group", "leap")),
    row(1, _NOT_PUT_BACK, _m("keep what could not be stored until its time is up",
        Edit(Flusher.run_once, "yield self._shard.give_back, taken", "pass")), faults=("mongodb",)),
    row(42, _NEVER_AGAIN, _m("finish without looking at the tombstone",
        Edit(Shard._finish, "if self.is_erased(window.user_id, window.start_ms):", "if False:")),
        faults=("erasure", "freeze")),
    row(102, _NEVER_AGAIN, _m("erase once",
        Edit(Eraser._advance, "now_ms, erasure.first_pass_ms is not None", "now_ms, True")),
        faults=("erasure", "kill")),
    row(4285, _NEVER_AGAIN, _m("erase for the second time at once",
        Edit(Eraser._advance, "now_ms < erasure.first_pass_ms + VISIBILITY_MS", "False")), faults=("erasure", "kill")),
    row(22, _NEVER_AGAIN, _m("call an erasure complete of which a layer was away",
        Edit(Eraser._erase, "return away", "return False")), faults=("erasure", "calls")),
    row(36, _NEVER_AGAIN, _m("keep entries that are refused",
        Edit(Shard.commit, "self.entries.pop(entry_id, None)", "pass")), faults=("erasure", "freeze")),
    row(142, _NOT_EVERY_HOUR, _m("take another Redis for the same",
        Edit(Shard.erase_turn, "if of == self.replication_id", "if of is not None")), faults=("erasure", "failover")),
    row(454, _NOT_EVERY_HOUR, _m("end a turn in another Redis",
        Edit(Shard.end_erase_turn, "if of == self.replication_id == replication_id:", "if True:"),
        Edit(Shard.end_erase_turn, "(replication_id, self", "(self.replication_id, self")),
        faults=("erasure", "failover", "leap")),
]
# fmt: on
