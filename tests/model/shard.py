"""One shard in Redis: the stream, the windows, and the scripts. Each method is a script, so each is one step.

open      windows to be flushed, with the low watermark at which they are due
taken     windows that a flusher is at, with the time when they go back
closed    windows that are stored, with the low watermark from which they may be forgotten
mark      everything for windows below it was committed before
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from streamproc.core.windows import WindowKey

from .planning import EntryId, Group, Letter, Plan
from .settings import (
    AGAIN_MS,
    ERASE_WINDOWS,
    FATAL_TRIALS,
    FLUSH_WINDOWS,
    FORGET_WINDOWS,
    LEASE_MS,
    VISIBILITY_MS,
    WINDOWING,
)
from .steps import Clock
from .stream import Stream

_NEVER: Final = -1


class Taken(NamedTuple):
    """Windows that a flusher took: when, at which low watermark, and until when."""

    windows: list[WindowKey]
    now_ms: int
    watermark_ms: int
    until_ms: int


class Shard(Stream):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        #: A window is the set of its segments.
        self.windows: dict[WindowKey, tuple[str, ...]] = {}
        self.open: dict[WindowKey, int] = {}
        self.taken: dict[WindowKey, int] = {}
        self.closed: dict[WindowKey, int] = {}
        self.mark_ms = _NEVER
        self.dead: list[Letter] = []
        #: Entries that somebody tries alone, and who began to.
        self.suspects: dict[EntryId, set[str]] = {}
        #: Of each erased user the start of the newest window covered.
        self.tombstones: dict[str, int] = {}
        #: When a task is due again that one pod does for all, and which Redis said so.
        self.turns: dict[str, tuple[int, int]] = {}

    # Counting

    def commit(self, plan: Plan) -> None:
        """Count each segment once, and acknowledge. Running it again changes nothing."""
        outcomes = dict.fromkeys(plan.lost, "lost")
        for window, group in plan.windows.items():
            outcomes |= self._count(window, group)
        letters = {letter.entry_id: letter for letter in plan.dead}
        for entry_id, (_, _, event) in letters.items():
            is_erased = self.is_erased(event.user, event.window.start_ms)
            outcomes[entry_id] = "erased" if is_erased else "dead_lettered"
        for entry_id, outcome in outcomes.items():
            self.suspects.pop(entry_id, None)
            acknowledged = self.acknowledge(entry_id, outcome)
            if acknowledged and outcome == "dead_lettered":
                self.dead.append(letters[entry_id])
            if acknowledged and outcome == "erased":
                self.entries.pop(entry_id, None)

    def _count(self, window: WindowKey, group: Group) -> dict[EntryId, str]:
        """Add the segments that are not there yet. Then the window is to be flushed, whatever it was before."""
        entry_ids = [entry_id for entry_id, _ in group.entries]
        if self.is_erased(window.user_id, window.start_ms):
            return dict.fromkeys(entry_ids, "erased")
        if window.start_ms < self.mark_ms:
            return dict.fromkeys(entry_ids, "duplicates")
        outcomes = {}
        for entry_id, segment in group.entries:
            held = self.windows.get(window, ())
            if segment in held:
                outcomes[entry_id] = "duplicates"
            else:
                self.windows[window] = (*held, segment)
                outcomes[entry_id] = "counted"
        if "counted" in outcomes.values():
            self.open.setdefault(window, group.due_ms)
            self.closed.pop(window, None)
        return outcomes

    def suspect(self, entry_id: EntryId, consumer: str) -> bool:
        """Mark an entry before it is tried alone. Returns whether two others had marked it: it ended both."""
        if entry_id not in self.pending:
            return False
        others = self.suspects.get(entry_id, set()) - {consumer}
        self.suspects[entry_id] = others | {consumer}
        return len(others) >= FATAL_TRIALS

    # Closing and flushing

    def take_due(self) -> Taken | None:
        """Move due windows to taken. First put back what an earlier flusher left behind."""
        watermark_ms = self.low_watermark_ms()
        if watermark_ms is None:
            return None
        now_ms = self.clock.now_ms
        for window in _lowest(self.taken, now_ms, FLUSH_WINDOWS):
            del self.taken[window]
            self.open[window] = min(watermark_ms, self.open.get(window, watermark_ms))
        due = _lowest(self.open, watermark_ms, FLUSH_WINDOWS)
        for window in due:
            del self.open[window]
            self.taken[window] = now_ms + VISIBILITY_MS
        return Taken(due, now_ms, watermark_ms, now_ms + VISIBILITY_MS)

    def fetch(self, windows: list[WindowKey]) -> dict[WindowKey, tuple[str, ...]]:
        """The segments of those that are still there."""
        return {window: self.windows[window] for window in windows if window in self.windows}

    def give_back(self, taken: Taken) -> None:
        """They could not be stored, and need not wait until their time is up."""
        for window in taken.windows:
            if self.taken.pop(window, None) is not None:
                self.open[window] = min(taken.watermark_ms, self.open.get(window, taken.watermark_ms))

    def finish(self, revisions: dict[WindowKey, int], taken: Taken) -> dict[WindowKey, str]:
        """Look at each window once more and let go of it. `revisions`: how many segments are stored now."""
        return {window: self._finish(window, revision, taken) for window, revision in revisions.items()}

    def _finish(self, window: WindowKey, revision: int, taken: Taken) -> str:
        segments = len(self.windows.get(window, ()))
        is_anothers = self.taken.get(window, taken.until_ms) != taken.until_ms
        if not is_anothers:
            self.taken.pop(window, None)
        if self.is_erased(window.user_id, window.start_ms):
            return "erased"
        if is_anothers:
            return "taken"
        if segments == 0:
            return "gone"
        if segments == revision:
            self.closed[window] = WINDOWING.forgettable_at(window.start_ms)
            return "closed"
        self.open.setdefault(window, taken.now_ms)
        return "open"

    # Forgetting

    def forgettable(self) -> list[WindowKey]:
        """Closed windows to which nothing can be added any more."""
        watermark_ms = self.low_watermark_ms()
        return [] if watermark_ms is None else _lowest(self.closed, watermark_ms - 1, FORGET_WINDOWS)

    def forget(self, stored: dict[WindowKey, int]) -> int:
        """Raise the mark and remove what MongoDB holds; flush the others again. Returns how many were forgotten.

        Redis may have failed over since somebody looked, and have entries pending again: it is looked at once more.
        """
        forgotten = 0
        watermark_ms = self.low_watermark_ms()
        for window, revision in stored.items():
            if window not in self.closed or window in self.open or window in self.taken:
                continue
            if watermark_ms is None or watermark_ms <= self.closed[window]:
                continue
            del self.closed[window]
            if len(self.windows.get(window, ())) > revision:
                self.open.setdefault(window, self.clock.now_ms)
            else:
                self.mark_ms = max(self.mark_ms, WINDOWING.end_of(window.start_ms))
                self.windows.pop(window, None)
                forgotten += 1
        return forgotten

    def take_turn(self, task: str, every_ms: int) -> bool:
        """SET NX PX: whether it is the caller's turn at what one pod does for all."""
        if self.clock.now_ms < self.turns.get(task, (0, _NEVER))[1]:
            return False
        self.turns[task] = (0, self.clock.now_ms + every_ms)
        return True

    # Erasing

    def is_erased(self, user: str, start_ms: int) -> bool:
        return start_ms <= self.tombstones.get(user, _NEVER)

    def covered(self, user: str, covered_start_ms: int) -> list[WindowKey]:
        """A page of the user's covered windows: the user's index names them as long as they are there."""
        theirs = [one for one in self.windows if one.user_id == user and one.start_ms <= covered_start_ms]
        return theirs[:ERASE_WINDOWS]

    def erase_windows(self, user: str, covered_start_ms: int, windows: Iterable[WindowKey]) -> None:
        """Mark the user as erased: from now on no commit adds one. Then remove a page of windows."""
        self.tombstones[user] = max(covered_start_ms, self.tombstones.get(user, _NEVER))
        for window in windows:
            for place in (self.windows, self.open, self.taken, self.closed):
                place.pop(window, None)

    def entries_of(self, user: str, covered_start_ms: int, asked_ms: int) -> list[EntryId]:
        """The user's entries that are covered: by their window, or as they had been added when it was asked for."""
        theirs = [entry_id for entry_id, event in self.entries.items() if event.user == user]
        return [one for one in theirs if one[0] <= asked_ms or self.entries[one].window.start_ms <= covered_start_ms]

    def erase_entries(self, entry_ids: list[EntryId]) -> None:
        """Those that were processed. Whoever commits the others refuses them."""
        for entry_id in entry_ids:
            delivered = self.consumers is not None and entry_id <= self.last_delivered
            if delivered and entry_id not in self.pending:
                self.entries.pop(entry_id, None)

    def erase_letters(self, user: str, covered_start_ms: int, asked_ms: int) -> None:
        theirs = [one for one in self.dead if one.event.user == user]
        for one in theirs:
            if one.entry_id[0] <= asked_ms or one.event.window.start_ms <= covered_start_ms:
                self.dead.remove(one)

    def erase_turn(self) -> int | None:
        """Whether the caller is to apply all erasures again: it is time, or this is another Redis than then."""
        of, until_ms = self.turns.get("erased", (None, _NEVER))
        if of == self.replication_id and self.clock.now_ms < until_ms:
            return None
        self.turns["erased"] = (self.replication_id, self.clock.now_ms + LEASE_MS)
        return self.replication_id

    def end_erase_turn(self, replication_id: int) -> None:
        """All erasures have been applied again, in this Redis."""
        of, _ = self.turns.get("erased", (None, _NEVER))
        if of == self.replication_id == replication_id:
            self.turns["erased"] = (replication_id, self.clock.now_ms + AGAIN_MS)


def _lowest(scored: dict[WindowKey, int], up_to_ms: int, limit: int) -> list[WindowKey]:
    """ZRANGEBYSCORE with a LIMIT."""
    due = [window for window, score_ms in scored.items() if score_ms <= up_to_ms]
    due.sort(key=lambda window: (scored[window], window))
    return due[:limit]
