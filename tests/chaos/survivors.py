"""What is to be stored where Redis itself forgot what it had acknowledged: it was emptied, or its successor lacked the
tail.

Then the published truth cannot be had any more, and this is checked instead, for every window. Let

    published   be the segments that were published for it, each confirmed by the Redis of its time
    held        what Redis holds of it in the end: the window's hash
    survived    the segments whose entries lie in the stream of the Redis that is left, added before or after the fault
    forgotten   what a server that was given up held of it at the moment it was given up

    1. survived <= held <= published: whatever is left was counted, and nothing that nobody published.
       (`held` may exceed `survived`: a worker had read the entry before Redis forgot it.)
    2. One measurement is stored, and either it is exactly that of `held`,
       or it has more segments than `held`, and is exactly that of some part of one `forgotten`: the hour was stored
       before Redis forgot, and is kept. So it has at least as many segments as survived.
    3. Where nothing is held, what was stored before Redis forgot is kept, by the same rule; or nothing is stored.

"Exactly" is demo/oracle.py's comparison of every field, here with the truth of just those segments. Which part of
`forgotten` a document was made of is not known, since the window may have grown after its last flush; so parts that
lack up to `_MOST_MISSING` segments are tried. No other is accepted.

In such a round nothing is trimmed or forgotten by the product: retention and horizon are longer than the round.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, Final

from redis.asyncio import Redis

from streamproc.core.windows import Windowing
from streamproc.demo.oracle import Difference, Kind, Oracle, Truth, Window

Event = Mapping[str, Any]
Holding = dict[Window, set[str]]

_COUNTED: Final = frozenset((Kind.GOOD, Kind.DUPLICATE, Kind.LATE))
_MOST_MISSING: Final = 3
# In one step, so that nothing is added between the look and the loss.
_EMPTY: Final = """
local held = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do held[#held + 1] = { key, redis.call('HKEYS', key) } end
redis.call('FLUSHALL')
return held
"""


class Survivors:
    """What was published, and what was held by servers that were given up.

    Args:
        tagged: what all keys of the shard begin with.
    """

    def __init__(self, windowing: Windowing, tagged: str) -> None:
        self._windowing = windowing
        self._stream = f"{tagged}segments"
        self._segments = f"{tagged}segment:"
        self._published: dict[Window, dict[str, Event]] = {}
        self._window_of: dict[tuple[str, str], Window] = {}
        self._forgotten: list[Holding] = []

    @property
    def anything_forgotten(self) -> bool:
        return bool(self._forgotten)

    def record(self, kind: Kind, event: Event) -> None:
        """An entry was published and confirmed."""
        if kind in _COUNTED:
            window = self._window(event)
            self._published.setdefault(window, {})[event["segment_id"]] = event
            self._window_of[event["session_id"], event["segment_id"]] = window

    def segments_of(self, window: Window) -> int:
        """How many different segments were published for it."""
        return len(self._published.get(window, ()))

    async def empty(self, client: Redis) -> None:
        """Note what a server holds, and empty it, in one step."""
        found = await client.execute_command("EVAL", _EMPTY, 0, f"{self._segments}*")
        self._forgotten.append({self._named(key): _names(ids) for key, ids in found})

    async def give_up(self, client: Redis) -> None:
        """Note what a server holds that nobody will ask again."""
        self._forgotten.append(await self._held(client))

    async def compare(self, client: Redis, documents: Sequence[Mapping[str, Any]]) -> list[Difference]:
        """Every way in which rules 1 to 3 are broken."""
        held = await self._held(client)
        survived = await self._survived(client)
        stored = {_key(document): document for document in documents}
        broken = [
            Difference(window, "survivors in Redis", sorted(ids), sorted(held.get(window, ())))
            for window, ids in survived.items()
            if not ids <= held.get(window, set())
        ]
        broken += [
            Difference(window, "published segments only", len(self._published.get(window, {})), sorted(ids))
            for window, ids in held.items()
            if not ids <= self._published.get(window, {}).keys()
        ]
        kept = {window for window in stored if self._is_kept(stored[window], len(held.get(window, ())), window)}
        several = [one for one in self._compare_stored(held, documents) if one.window not in kept or _several(one)]
        return broken + several

    def _compare_stored(self, held: Holding, documents: Sequence[Mapping[str, Any]]) -> list[Difference]:
        """Rule 2's first half, by the oracle."""
        oracle = Oracle(self._windowing.length_ms / 1000)
        for window, ids in held.items():
            published = self._published.get(window, {})
            for segment_id in ids & published.keys():
                oracle.record(Kind.GOOD, published[segment_id])
        return oracle.compare(documents)

    def _is_kept(self, document: Mapping[str, Any], held: int, window: Window) -> bool:
        """Rule 2's second half: was the document stored before Redis forgot, and has it more segments than Redis?"""
        segments: int = document["segments_processed"]
        published = self._published.get(window, {})
        return segments > held and any(
            _is_of(document, (published[segment_id] for segment_id in part))
            for forgotten in self._forgotten
            for part in _parts(forgotten.get(window, set()) & published.keys(), segments)
        )

    async def _held(self, client: Redis) -> Holding:
        keys = [key async for key in client.scan_iter(match=f"{self._segments}*", count=1000)]
        return {self._named(key): _names(await client.execute_command("HKEYS", key)) for key in keys}

    async def _survived(self, client: Redis) -> Holding:
        """The segments of the stream's entries, as far as they were to be counted."""
        survived: Holding = {}
        for _, flat in await client.execute_command("XRANGE", self._stream, "-", "+"):
            session_id, segment_id = _named_in(dict(zip(flat[::2], flat[1::2], strict=False)))
            window = self._window_of.get((session_id, segment_id))
            if window is not None:
                survived.setdefault(window, set()).add(segment_id)
        return survived

    def _window(self, event: Event) -> Window:
        start_ms = self._windowing.start_of(int(event["received_at"].timestamp() * 1000))
        return Window(_date(start_ms), event["channel_id"], event["session_id"], event["user_id"])

    def _named(self, key: bytes) -> Window:
        start_ms, *identifiers = self._windowing.parse_name(key.decode().removeprefix(self._segments))
        return Window(_date(start_ms), *identifiers)


def _parts(forgotten: set[str], segments: int) -> Iterator[tuple[str, ...]]:
    """The parts of a window that have so many segments, where few are missing."""
    if 0 <= len(forgotten) - segments <= _MOST_MISSING:
        yield from combinations(sorted(forgotten), segments)


def _is_of(document: Mapping[str, Any], events: Iterable[Event]) -> bool:
    truth = Truth()
    for event in events:
        truth.add(event)
    return bool(truth.segment_ids) and all(document.get(name) == value for name, value in truth.fields().items())


def _several(difference: Difference) -> bool:
    return difference.field == "measurements" and difference.found not in {0, 1}


def _named_in(fields: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Session and segment of an entry in any of the forms that publishers use; empty where it is none."""
    try:
        named = (
            json.loads(fields[b"data"]) if b"data" in fields else {k.decode(): v.decode() for k, v in fields.items()}
        )
        return str(named["session_id"]), str(named["segment_id"])
    except (ValueError, KeyError, TypeError):
        return "", ""


def _key(document: Mapping[str, Any]) -> Window:
    metadata = document["metadata"]
    return Window(metadata["hour"], metadata["channel_id"], metadata["session_id"], metadata["user_id"])


def _names(ids: Iterable[bytes]) -> set[str]:
    return {one.decode() for one in ids}


def _date(start_ms: int) -> datetime:
    return datetime.fromtimestamp(start_ms / 1000, UTC)
