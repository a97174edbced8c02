"""Planning a commit: what is to become of each entry of a read batch.

A window is the set of its segments, so a plan is only a grouping. Whether a segment counts or is a duplicate is
decided by the window itself, in Redis, in the same step that acknowledges the entry (docs/adr/0001). What can be judged
without Redis is judged here, from the entry alone: shape, `future` and `too_late`. Lateness looks at when the entry was
*added*, never at when somebody got to it, so a backlog makes nothing late and every pod judges alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson

from streamproc.core import details, events
from streamproc.core.details import Detail
from streamproc.core.events import Event, InvalidEvent
from streamproc.core.windows import Frame, Windowing, WindowKey

_DATA: Final = b"data"

# As Redis hands it over: the entry's id and its fields, flat, or none where a stranger deleted it while pending.
Entry = tuple[bytes, Sequence[bytes] | None]


class Reason(StrEnum):
    """Why an entry became a dead letter."""

    MALFORMED = "malformed"
    FUTURE = "future"
    TOO_LATE = "too_late"
    POISON = "poison"


class DeadLetter(NamedTuple):
    """An entry that breaks a rule. User and window, where readable, let an erasure cover it."""

    entry_id: str
    reason: Reason
    detail: str
    payload: bytes
    user_id: str | None = None
    start_ms: int = 0


class Misplaced(NamedTuple):
    """An entry that belongs to another shard."""

    entry_id: str
    shard: int
    fields: Sequence[bytes]


class WindowBatch:
    """The entries of one batch that fall into one window. Lists run in parallel, in the order read."""

    __slots__ = ("details", "due_ms", "entry_ids", "key", "segment_ids", "stored")

    def __init__(self, key: WindowKey, due_ms: int) -> None:
        self.key = key
        #: The low watermark at which the window is due, if one of these entries counts.
        self.due_ms = due_ms
        self.entry_ids: list[str] = []
        self.segment_ids: list[str] = []
        self.details: list[Detail] = []
        #: The stored form of the details; there once the batch is planned.
        self.stored: Sequence[str] = ()


@dataclass(slots=True)
class Plan:
    """What is to become of a batch. Every entry is in exactly one of the four lists."""

    windows: list[WindowBatch] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    misplaced: list[Misplaced] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unknown_fields: int = 0


def shard_of(session_id: str, shards: int) -> int:
    """The shard of a session: CRC-32 (zlib) of its UTF-8 form, modulo the number of shards."""
    return crc32(session_id.encode()) % shards


def entry_ms(entry_id: str) -> int:
    """When an entry was added: the milliseconds in its id, by Redis' clock."""
    return int(entry_id.partition("-")[0])


class Planner:
    """Turns batches of entries into plans, for one shard."""

    def __init__(self, windowing: Windowing, *, shard: int = 0, shards: int = 1) -> None:
        self._windowing = windowing
        self._shard = shard
        self._shards = shards
        self._frame = windowing.frame_of(0)

    def plan(self, entries: Sequence[Entry], now_ms: int) -> Plan:
        """Judge and group a batch.

        Args:
            entries: as read from the stream.
            now_ms: Redis' time at or after the read.
        """
        plan = Plan()
        groups: dict[tuple[Any, ...], WindowBatch] = {}
        plain = events.is_plain(b"".join([fields[1] for _, fields in entries if fields]))
        for raw_id, fields in entries:
            entry_id = raw_id.decode()
            if not fields:
                plan.lost.append(entry_id)
                continue
            try:
                event, unknown_fields = _decode(fields, plain)
            except InvalidEvent as error:
                plan.dead.append(_malformed(entry_id, fields, str(error), self._windowing))
                continue
            if self._shards > 1 and (shard := shard_of(event.session_id, self._shards)) != self._shard:
                plan.misplaced.append(Misplaced(entry_id, shard, fields))
                continue
            plan.unknown_fields += unknown_fields
            received_at_us = events.epoch_us(event.received_at)
            # An id ahead of Redis' own clock means the clock was set back: the smaller of the two is when it came.
            added_ms = min(entry_ms(entry_id), now_ms)
            frame = self._frame_of(received_at_us)
            if received_at_us > (added_ms + self._windowing.future_ms) * 1000 or added_ms > frame.late_until_ms:
                plan.dead.append(_untimely(entry_id, fields, event, frame.start_ms, added_ms, self._windowing))
                continue
            window = self._window(groups, frame, event, added_ms)
            window.entry_ids.append(entry_id)
            window.segment_ids.append(event.segment_id)
            window.details.append(events.to_detail(event, received_at_us))
        plan.windows = list(groups.values())
        _encode_details(plan.windows)
        return plan

    def _frame_of(self, received_at_us: int) -> Frame:
        """Nearly always that of the event before."""
        frame = self._frame
        if not frame.from_us <= received_at_us < frame.to_us:
            frame = self._frame = self._windowing.frame_of(received_at_us)
        return frame

    def _window(
        self, groups: dict[tuple[Any, ...], WindowBatch], frame: Frame, event: Event, added_ms: int
    ) -> WindowBatch:
        """The batch of the event's window, due no later than this event asks for."""
        due_ms = frame.due_ms if added_ms < frame.due_ms else self._windowing.due_at(frame.start_ms, added_ms)
        key = (frame.start_ms, event.channel_id, event.session_id, event.user_id)
        window = groups.get(key)
        if window is None:
            window = groups[key] = WindowBatch(WindowKey(*key), due_ms)
        elif due_ms < window.due_ms:
            window.due_ms = due_ms
        return window


def poison(entry: Entry, detail: str, windowing: Windowing) -> DeadLetter:
    """The dead letter of an entry that cannot be processed, though nothing is known to be wrong with it."""
    entry_id, fields = entry
    return _malformed(entry_id.decode(), fields or (), detail, windowing)._replace(reason=Reason.POISON)


def payload_of(fields: Sequence[bytes]) -> bytes:
    """What a dead letter keeps of an entry: the field ``data``, or the entry's own fields as one JSON object."""
    for i in range(0, len(fields), 2):
        if fields[i] == _DATA:
            return fields[i + 1]
    texts = [value.decode(errors="backslashreplace") for value in fields]
    return orjson.dumps(dict(zip(texts[::2], texts[1::2], strict=True)))


def _encode_details(windows: Sequence[WindowBatch]) -> None:
    """In one call for all windows: a call for each would cost more than the encoding."""
    stored = details.encode_all([detail for window in windows for detail in window.details])
    first = 0
    for window in windows:
        last = first + len(window.details)
        window.stored = stored[first:last]
        first = last


def _decode(fields: Sequence[bytes], plain: bool) -> tuple[Event, int]:
    if fields[0] == _DATA:
        return events.decode(fields[1], plain=plain)
    if _DATA in fields[::2]:
        return events.decode(payload_of(fields))
    return events.decode_fields(fields)


def _malformed(entry_id: str, fields: Sequence[bytes], detail: str, windowing: Windowing) -> DeadLetter:
    payload = payload_of(fields)
    user_id, received_at_us = events.subject_of(payload)
    # Of an erased user, an entry whose window cannot be read counts as covered: its score is the lowest.
    start_ms = 0 if received_at_us is None else windowing.start_of(received_at_us // 1000)
    return DeadLetter(entry_id, Reason.MALFORMED, detail, payload, user_id, start_ms)


def _untimely(
    entry_id: str, fields: Sequence[bytes], event: Event, start_ms: int, added_ms: int, windowing: Windowing
) -> DeadLetter:
    received = event.received_at.isoformat()
    if added_ms > windowing.late_until(start_ms):
        late_s = (added_ms - windowing.end_of(start_ms)) / 1000
        reason = Reason.TOO_LATE
        allowed_s = windowing.horizon_ms / 1000
        detail = f"received_at {received}: added {late_s:.3f} s after its window's end, allowed {allowed_s:g} s"
    else:
        reason = Reason.FUTURE
        detail = f"received_at {received} is more than {windowing.future_ms / 1000:g} s after the entry was added"
    return DeadLetter(entry_id, reason, detail, payload_of(fields), event.user_id, start_ms)
