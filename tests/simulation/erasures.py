"""A stand-in for the collection of erasures: requests that become receipts, kept as MongoDB keeps them.

It has the interface of `ErasureStore`. `test_erasures_stand_in.py` holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from streamproc.core.erasures import Erasure, Pass, Tally
from streamproc.stores.mongo.erasures import UnknownErasure

from .measurements import SimulatedMeasurements

_DONE: Final = {Pass.FIRST: "first_pass_at_ms", Pass.SECOND: "completed_at_ms"}


class SimulatedErasures:
    """Erasures in memory, in the same MongoDB as the measurements: away when that is."""

    def __init__(self, mongod: SimulatedMeasurements) -> None:
        self.erasures: dict[str, Erasure] = {}
        self._call = mongod.call

    async def add(self, erasure: Erasure) -> None:
        await self._call("add erasure", lambda: self.erasures.update({erasure.id: erasure}))

    async def load(self, erasure_id: str) -> Erasure:
        found: Erasure = await self._call("load erasure", lambda: self._known(erasure_id))
        return found

    async def of_user(self, user_hash: str) -> list[Erasure]:
        return await self._find(lambda one: one.user_hash == user_hash)

    async def unfinished(self) -> list[Erasure]:
        return await self._find(lambda one: one.completed_at_ms is None)

    async def live(self, now_ms: int) -> list[Erasure]:
        return await self._find(lambda one: one.keep_until_ms > now_ms and one.sealed is not None)

    async def record(
        self, erasure_id: str, which: Pass, tallies: Mapping[str, Tally], trouble: Mapping[str, str], at_ms: int
    ) -> Erasure:
        recorded: Erasure = await self._call(
            "record erasure", lambda: self._record(self._known(erasure_id), which, tallies, trouble, at_ms)
        )
        return recorded

    async def forget_ids(self, now_ms: int) -> int:
        forgotten: int = await self._call("forget ids", lambda: self._forget_ids(now_ms))
        return forgotten

    async def _find(self, wanted: Callable[[Erasure], bool]) -> list[Erasure]:
        found: list[Erasure] = await self._call("find erasures", lambda: list(filter(wanted, self._by_time())))
        return found

    def _by_time(self) -> Iterator[Erasure]:
        yield from sorted(self.erasures.values(), key=lambda one: one.requested_at_ms)

    def _known(self, erasure_id: str) -> Erasure:
        if erasure_id not in self.erasures:
            raise UnknownErasure(f"there is no erasure {erasure_id!r}")
        return self.erasures[erasure_id]

    def _record(
        self, erasure: Erasure, which: Pass, tallies: Mapping[str, Tally], trouble: Mapping[str, str], at_ms: int
    ) -> Erasure:
        changes: dict[str, Any] = {"tallies": _added(erasure.tallies, which, tallies)}
        if which in _DONE:
            changes["trouble"] = dict(trouble)
            before = getattr(erasure, _DONE[which])
            if not trouble:
                changes[_DONE[which]] = at_ms if before is None else min(before, at_ms)
        self.erasures[erasure.id] = replace(erasure, **changes)
        return self.erasures[erasure.id]

    def _forget_ids(self, now_ms: int) -> int:
        old = [
            one
            for one in self.erasures.values()
            if one.keep_until_ms <= now_ms and one.completed_at_ms is not None and one.sealed is not None
        ]
        self.erasures.update({one.id: replace(one, sealed=None) for one in old})
        return len(old)


def _added(
    before: Mapping[str, Mapping[str, Tally]], which: Pass, tallies: Mapping[str, Tally]
) -> dict[str, Mapping[str, Tally]]:
    """Numbers are added up and names put together, layer by layer; a layer that says nothing is not mentioned."""
    layers = dict(before.get(which, {}))
    for layer, tally in tallies.items():
        if tally:
            layers[layer] = {**layers.get(layer, {}), **{what: _sum(layers, layer, what, tally) for what in tally}}
    return {**before, str(which): layers} if layers else dict(before)


def _sum(layers: Mapping[str, Tally], layer: str, what: str, tally: Tally) -> int | list[str]:
    before, found = layers.get(layer, {}).get(what), tally[what]
    if isinstance(found, int):
        return found + (before if isinstance(before, int) else 0)
    return list(dict.fromkeys([*(before if isinstance(before, list) else []), *found]))
