"""The hours of a channel, each summed over its windows, and remembered.

An hour is remembered with what Redis said of it: the names, the sizes, and whether a flush is to come. As long as Redis
says the same, MongoDB need not be asked again: what is stored of these windows, and of those that Redis has forgotten,
did not change. But for what a person at MongoDB removes of forgotten windows: hence for a minute only; and what an
erasure removes of them: hence not beyond the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from streamproc.answers.memory import Memory
from streamproc.answers.results import Missing
from streamproc.answers.seam import Seam, Seen, Sight
from streamproc.core.rows import Sum, Window
from streamproc.core.windows import Windowing
from streamproc.stores.redis.reading import Stand

_CHANNELS: Final = 100
#: A longer answer is not remembered: a sum is some 3 kB.
_HOURS: Final = 400

Stands = frozenset[Stand]


class Hours(NamedTuple):
    """By start, and only those with segments; and what is missing."""

    sums: Mapping[int, Sum]
    missing: list[Missing]


@dataclass(frozen=True, slots=True)
class _Known:
    since_ms: int
    until_ms: int
    stands: Mapping[int, Stands]
    sums: Mapping[int, Sum]


class ChannelHours:
    """Sums up the hours of channels."""

    def __init__(self, seam: Seam, windowing: Windowing) -> None:
        self._seam = seam
        self._windowing = windowing
        self._memory: Memory[str, _Known] = Memory(_CHANNELS)

    async def of(self, channel_id: str, since_ms: int, until_ms: int) -> Hours:
        """The hours that start in ``[since_ms, until_ms)``."""
        sight, erasure = await asyncio.gather(
            self._seam.look(lambda reader: reader.of_channel(channel_id, since_ms, until_ms)), self._seam.last_erasure()
        )
        self._memory.renew(erasure)
        stands = _by_start(sight.seen)
        known = None if sight.missing else self._memory.get(channel_id)
        if known is None or known.since_ms > since_ms:
            hours = await self._ask(channel_id, sight, since_ms, until_ms)
            if not hours.missing and len(hours.sums) <= _HOURS:
                self._memory.put(channel_id, _Known(since_ms, until_ms, stands, hours.sums), erasure)
            return hours
        first_ms, last_ms = self._changed(known, stands, since_ms, until_ms)
        changed = await self._ask(channel_id, sight, first_ms, last_ms) if first_ms < last_ms else Hours({}, [])
        before = {start: one for start, one in known.sums.items() if not first_ms <= start < last_ms}
        sums = {**before, **changed.sums}
        if not changed.missing:
            earlier = {start: one for start, one in known.stands.items() if start < since_ms}
            known = _Known(known.since_ms, until_ms, {**earlier, **stands}, sums)
            self._memory.replace(channel_id, known, erasure)
        return Hours({start: one for start, one in sums.items() if since_ms <= start < until_ms}, changed.missing)

    async def _ask(self, channel_id: str, sight: Sight, since_ms: int, until_ms: int) -> Hours:
        seen = [one for one in sight.seen if since_ms <= one.stand.key.start_ms < until_ms]
        part = Sight(sight.readers, seen, sight.missing)
        found = await self._seam.join(
            part, lambda measurements: measurements.of_channel(channel_id, since_ms, until_ms)
        )
        hours: dict[int, list[Window]] = {}
        for key, window in found.windows.items():
            hours.setdefault(key.start_ms, []).append(window)
        return Hours({start: Sum.of(windows) for start, windows in hours.items()}, found.missing)

    def _changed(self, known: _Known, stands: Mapping[int, Stands], since_ms: int, until_ms: int) -> tuple[int, int]:
        """From where to where something may be different from what is known; nothing: from 0 to 0."""
        length_ms = self._windowing.length_ms
        asked_now = {start for start in known.stands if start >= since_ms} | stands.keys()
        different = [start for start in asked_now if known.stands.get(start) != stands.get(start)]
        new_ms = self._windowing.start_of(known.until_ms + length_ms - 1)
        if new_ms < until_ms:
            different += [new_ms, until_ms - 1]
        return (min(different), max(different) + 1) if different else (0, 0)


def _by_start(seen: Iterable[Seen]) -> dict[int, Stands]:
    hours: dict[int, set[Stand]] = {}
    for _, stand in seen:
        hours.setdefault(stand.key.start_ms, set()).add(stand)
    return {start: frozenset(stands) for start, stands in hours.items()}
