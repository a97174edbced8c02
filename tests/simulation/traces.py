"""What Redis holds of whom: every key looked at, every payload read as JSON, without the product's own way to look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import orjson

from .redis_under_faults import Server

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = "%Y%m%d%H%M%S"


class Trace(NamedTuple):
    """A place where a user is named: by a window, or by an event in a stream.

    Attributes:
        event_ms: the start of that window, or the time of that event.
        added_ms: when that event was added; None for a window.
    """

    where: str
    user_id: str
    event_ms: int
    added_ms: int | None


def traces(server: Server, pattern: str) -> Iterator[Trace]:
    """All there are, in the keys that match."""
    keys = sorted(server.call("KEYS", pattern))
    for key, kind in zip(keys, server.pipeline(("TYPE", key) for key in keys), strict=True):
        rest = key.decode().partition("}:")[2]
        if kind == b"stream":
            yield from _in_stream(server, key.decode())
        elif rest.startswith("segment:"):
            yield _of_window(rest, rest.removeprefix("segment:"))
        elif rest in ("open", "taken", "closed") or rest.startswith(("user:", "channel:")):
            members = ("SMEMBERS", key) if kind == b"set" else ("ZRANGE", key, 0, -1)
            for name in server.call(*members):
                yield _of_window(f"{name.decode()} in {rest}", name.decode())


def _of_window(where: str, name: str) -> Trace:
    """Identifiers here are such that nothing in them is escaped which matters."""
    hour, *_, user_id = name.split(":")
    return Trace(where, user_id, _ms(datetime.strptime(hour, _HOUR).replace(tzinfo=UTC)), None)


def _in_stream(server: Server, stream: str) -> Iterator[Trace]:
    for entry_id, flat in server.call("XRANGE", stream, "-", "+"):
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        event = orjson.loads(fields.get(b"payload") or fields[b"data"])
        added_id = fields.get(b"entry_id", entry_id).decode()
        received_ms = _ms(datetime.fromisoformat(event["received_at"]))
        yield Trace(f"{entry_id.decode()} in {stream}", event["user_id"], received_ms, int(added_id.split("-")[0]))


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
