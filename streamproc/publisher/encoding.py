"""From an event to the entry that carries it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from streamproc.core import events
from streamproc.core.commits import shard_of
from streamproc.core.events import Event, InvalidEvent
from streamproc.stores.redis.keys import ShardKeys

EventLike = Event | Mapping[str, Any]

CHUNK: Final = 500


class Entry(NamedTuple):
    """An entry to be added to a stream: its fields flat, name, value, name, value."""

    stream: str
    fields: tuple[bytes | str, ...]

    @property
    def command(self) -> tuple[bytes | str, ...]:
        return ("XADD", self.stream, "*", *self.fields)

    @property
    def event(self) -> dict[str, Any]:
        """The event it carries, as JSON has it: times are texts."""
        event: dict[str, Any] = orjson.loads(self.fields[1])
        return event


class Encoder:
    """Turns events into entries of the stream they belong to."""

    def __init__(self, prefix: str, shards: int) -> None:
        if shards < 1:
            raise ValueError(f"shards must be at least 1, got {shards}")
        self._streams = [ShardKeys(prefix, shard).stream for shard in range(shards)]

    def stream_of(self, session_id: str) -> str:
        return self._streams[shard_of(session_id, len(self._streams))]

    def entry(self, event: EventLike) -> Entry:
        """Raises InvalidEvent, naming field, value and rule. An `Event` is checked like any mapping."""
        values = msgspec.structs.asdict(event) if isinstance(event, Event) else event
        valid = events.from_mapping(values)
        # Copied, since it may wait long: bytes made by orjson keep 8 kB of memory each (measured: orjson 3.13).
        data = memoryview(events.encode(valid)).tobytes()
        return Entry(self.stream_of(valid.session_id), (b"data", data))

    def chunks(self, many: Iterable[EventLike]) -> Iterator[list[Entry]]:
        """The entries, up to `CHUNK` at a time. Raises InvalidEvent instead of a chunk that holds an invalid event."""
        numbered = enumerate(many)
        while chunk := [self._numbered_entry(index, event) for index, event in islice(numbered, CHUNK)]:
            yield chunk

    def _numbered_entry(self, index: int, event: EventLike) -> Entry:
        try:
            return self.entry(event)
        except InvalidEvent as error:
            raise InvalidEvent(f"event {index}: {error}") from None


def one(event: EventLike | None, fields: dict[str, Any]) -> EventLike:
    """What `publish` was given: an event, or fields by name."""
    if event is not None and fields:
        raise TypeError("publish takes an event or fields by name, not both")
    return fields if event is None else event
