"""Carrying out plans: the commit script, packed and called, its answer read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from streamproc.core.commits import DeadLetter, Plan, Reason, WindowBatch
from streamproc.core.details import Detail
from streamproc.core.windows import Windowing
from streamproc.stores.redis import scripts
from streamproc.stores.redis.keys import WindowKeys
from streamproc.stores.redis.shard import Shard

# A script stalls everyone while it runs: this keeps one below some 8 ms even where all windows are new.
MAX_WINDOWS: Final = 400
_KEYS_KEPT: Final = 50_000

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


class CommitStore:
    """Commits plans to one shard."""

    def __init__(self, shard: Shard, windowing: Windowing) -> None:
        self._shard = shard
        self._windowing = windowing
        self._names: dict[Any, tuple[str, WindowKeys]] = {}

    async def commit(self, plan: Plan) -> Outcome:
        """Record and acknowledge a plan's entries, in as many scripts as its windows need.

        Repeating it, whole or in part, changes nothing more.

        Raises:
            redis.exceptions.RedisError: the commit may or may not have taken effect; repeat it.
        """
        outcome = Outcome()
        for part in _parts(plan):
            await self._commit_part(part, outcome)
        return outcome

    async def _commit_part(self, plan: Plan, outcome: Outcome) -> None:
        shard = self._shard
        keys, windows = self._address(plan.windows)
        dead = [
            (d.entry_id, d.reason, d.detail, shard.user_hash(d.user_id) if d.user_id else "", d.start_ms)
            for d in plan.dead
        ]
        batch = _pack((windows, dead, [m.entry_id for m in plan.misplaced], plan.lost))
        payloads = [d.payload for d in plan.dead]
        acknowledged, uncounted, dead_written = await shard.run(scripts.COMMIT, keys, [shard.group, batch, *payloads])
        counted, duplicates, _dead, erased, forwarded, lost = acknowledged
        outcome.counted += counted
        outcome.duplicates += duplicates
        outcome.erased += erased
        outcome.forwarded += forwarded
        outcome.lost += lost
        outcome.dead += [plan.dead[position - 1] for position in dead_written]
        outcome.counted_details += _counted(plan.windows, uncounted)

    def _address(self, batches: list[WindowBatch]) -> tuple[list[str], list[tuple[Any, ...]]]:
        """KEYS and the packed form of each window, for the commit script."""
        own = self._shard.keys
        keys = [own.stream, own.open, own.closed, own.ledger, own.dead, own.erased, own.suspects]
        windows = []
        for batch in batches:
            name, of_window = self._name(batch)
            keys += (of_window.segments, of_window.channel, of_window.user)
            user_hash = self._shard.user_hash(batch.key.user_id)
            windows.append((name, batch.key.start_ms, batch.due_ms, user_hash, batch.entries))
        return keys, windows

    def _name(self, batch: WindowBatch) -> tuple[str, WindowKeys]:
        """A window's name and keys, remembered: the same windows come in every batch."""
        known = self._names.get(batch.key)
        if known is None:
            if len(self._names) >= _KEYS_KEPT:
                self._names.clear()
            name = self._windowing.name(batch.key)
            known = self._names[batch.key] = (name, self._shard.keys.window(name))
        return known


def _parts(plan: Plan) -> Iterator[Plan]:
    """The plan, cut so that no script has more than MAX_WINDOWS windows."""
    if len(plan.windows) <= MAX_WINDOWS:
        yield plan
        return
    yield Plan(plan.windows[:MAX_WINDOWS], plan.dead, plan.misplaced, plan.lost)
    for first in range(MAX_WINDOWS, len(plan.windows), MAX_WINDOWS):
        yield Plan(plan.windows[first : first + MAX_WINDOWS])


def _counted(batches: list[WindowBatch], uncounted: list[int]) -> list[tuple[int, str, list[Detail]]]:
    """The details that counted: all but those the script set aside."""
    set_aside: dict[int, set[int]] = {}
    for window, position in zip(uncounted[::2], uncounted[1::2], strict=True):
        set_aside.setdefault(window - 1, set()).add(position - 1)
    counted = []
    for i, batch in enumerate(batches):
        details = batch.details
        if i in set_aside:
            details = [detail for position, detail in enumerate(details) if position not in set_aside[i]]
        if details:
            counted.append((batch.key.start_ms, batch.key.channel_id, details))
    return counted
