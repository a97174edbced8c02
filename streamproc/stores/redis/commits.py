"""Carrying out plans: the commit script, packed and called, its answer read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from streamproc.core.commits import DeadLetter, Plan, Reason, WindowBatch
from streamproc.core.details import Detail
from streamproc.core.windows import Windowing, WindowKey
from streamproc.stores.redis import scripts
from streamproc.stores.redis.keys import WindowKeys
from streamproc.stores.redis.shard import Shard

# A script stalls everyone while it runs: this keeps one below some 8 ms even where all windows are new.
MAX_WINDOWS: Final = 400
_NAMES_KEPT: Final = 50_000

_pack = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Outcome:
    """What became of a plan: how many entries were acknowledged as what, and what was counted."""

    counted: int = 0
    duplicates: int = 0
    erased: int = 0
    forwarded: int = 0
    lost: int = 0
    dead: list[DeadLetter] = field(default_factory=list)
    #: start of the window, channel, the details that were counted
    counted_details: list[tuple[int, str, list[Detail]]] = field(default_factory=list)

    @property
    def dead_reasons(self) -> list[Reason]:
        return [letter.reason for letter in self.dead]


class _Known:
    """What is remembered of a window: the same ones come in every batch."""

    __slots__ = ("indexed", "keys", "name", "user_hash")

    def __init__(self, name: str, keys: WindowKeys, user_hash: str) -> None:
        self.name = name
        self.keys = keys
        self.user_hash = user_hash
        #: Whether its segments were seen to be there: then so are its indexes, and they need not be named again.
        self.indexed = False


class CommitStore:
    """Commits plans to one shard.

    Args:
        max_entries: the most entries in one script, unless they are of one window.
    """

    def __init__(self, shard: Shard, windowing: Windowing, *, max_entries: int = 1000) -> None:
        self._shard = shard
        self._windowing = windowing
        self._max_entries = max_entries
        self._known: dict[WindowKey, _Known] = {}

    async def commit(self, plan: Plan) -> Outcome:
        """Record and acknowledge a plan's entries, in as many scripts as its windows need, all on their way at once.

        Repeating it, whole or in part, changes nothing more.

        Raises:
            redis.exceptions.RedisError: the commit may or may not have taken effect; repeat it.
        """
        outcome = Outcome()
        first, *others = _parts(plan, self._max_entries)
        if not others:
            await self._commit_part(first, outcome)
            return outcome
        running = [self._commit_part(part, outcome) for part in (first, *others)]
        # None is left running behind an error: what it still counts would be counted by nobody.
        failures = [failure for failure in await asyncio.gather(*running, return_exceptions=True) if failure]
        if failures:
            raise failures[0]
        return outcome

    async def _commit_part(self, plan: Plan, outcome: Outcome) -> None:
        windows = [self._know(window) for window in plan.windows]
        while True:
            reply = await self._run(plan, windows)
            if len(reply) > 1:
                break
            for number in reply[0]:  # forgotten, erased, or rolled back since
                windows[number - 1].indexed = False
        for known in windows:
            known.indexed = True
        acknowledged, uncounted, dead_written = reply
        counted, duplicates, _dead, erased, forwarded, lost = acknowledged
        outcome.counted += counted
        outcome.duplicates += duplicates
        outcome.erased += erased
        outcome.forwarded += forwarded
        outcome.lost += lost
        outcome.dead += [plan.dead[position - 1] for position in dead_written]
        outcome.counted_details += _counted(plan.windows, uncounted)

    async def _run(self, plan: Plan, windows: list[_Known]) -> Any:
        own, batches = self._shard.keys, plan.windows
        keys = [own.stream, own.open, own.closed, own.ledger, own.dead, own.erased, own.suspects]
        keys += [known.keys.segments for known in windows]
        packed = []
        for window, known in zip(batches, windows, strict=True):
            index = 0
            if not known.indexed:
                keys += (known.keys.channel, known.keys.user)
                index = len(keys) - 1  # from 1
            packed.append((known.name, window.key.start_ms, window.due_ms, known.user_hash, len(window.details), index))
        batch = (
            packed,
            [entry_id for window in batches for entry_id in window.entry_ids],
            [segment_id for window in batches for segment_id in window.segment_ids],
            [stored for window in batches for stored in window.stored],
            [(d.entry_id, d.reason, d.detail, self._user_hash(d.user_id), d.start_ms) for d in plan.dead],
            [misplaced.entry_id for misplaced in plan.misplaced],
            plan.lost,
        )
        payloads = [letter.payload for letter in plan.dead]
        return await self._shard.run(scripts.COMMIT, keys, [self._shard.group, _pack(batch), *payloads])

    def _know(self, batch: WindowBatch) -> _Known:
        known = self._known.get(batch.key)
        if known is None:
            if len(self._known) >= _NAMES_KEPT:
                self._known.clear()
            name = self._windowing.name(batch.key)
            known = _Known(name, self._shard.keys.window(name), self._shard.user_hash(batch.key.user_id))
            self._known[batch.key] = known
        return known

    def _user_hash(self, user_id: str | None) -> str:
        return self._shard.user_hash(user_id) if user_id else ""


def _parts(plan: Plan, max_entries: int) -> list[Plan]:
    """The plan, cut so that no script has more than MAX_WINDOWS windows, or `max_entries` entries in several."""
    parts = [Plan(dead=plan.dead, misplaced=plan.misplaced, lost=plan.lost)]
    entries = 0
    for window in plan.windows:
        part = parts[-1]
        if part.windows and (len(part.windows) == MAX_WINDOWS or entries + len(window.details) > max_entries):
            part = Plan()
            parts.append(part)
            entries = 0
        part.windows.append(window)
        entries += len(window.details)
    return parts


def _counted(batches: list[WindowBatch], uncounted: list[int]) -> list[tuple[int, str, list[Detail]]]:
    """The details that counted, all but those the script set aside, by window start and channel."""
    set_aside = set(uncounted)
    counted: dict[tuple[int, str], list[Detail]] = {}
    position = 0
    for batch in batches:
        found = batch.details
        if set_aside:
            found = [detail for at, detail in enumerate(found, position + 1) if at not in set_aside]
            position += len(batch.details)
        if found:
            counted.setdefault((batch.key.start_ms, batch.key.channel_id), []).extend(found)
    return [(start_ms, channel_id, found) for (start_ms, channel_id), found in counted.items()]
