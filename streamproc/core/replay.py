"""Putting a dead letter back into the stream: what its event is, mended; whether it can be, and if not, why.

What is replayed is a new entry, added now, and consumers judge it by that. So the reason that the letter has decides
nothing: `future` is replayed as soon as its time has come, and what is mended too late is too late. A letter is judged
here by the same rules before anything is sent, for what is refused again is no better off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from streamproc.core import events
from streamproc.core.events import Event, InvalidEvent
from streamproc.core.refusals import shown
from streamproc.core.windows import Windowing

#: The fields that can be set, in the order of the event.
FIELDS: Final = Event.__struct_fields__
#: Those that name a segment: given to several, all but one of them would be duplicates.
NAMING: Final = ("segment_id", "session_id")

_NUMBERS: Final = tuple(name for name in FIELDS if name.endswith(("_ms", "_bytes", "_count")))
# Set to null, they are left out. An empty `error` is none; `null` might be an error's text.
_NULLABLE: Final = ("processing_started_at", "processing_ended_at", "total_ms")
# How a dead letter shows a byte that was not UTF-8, see `commits.payload_of`.
_NOT_UTF_8: Final = re.compile(r"\\x[89a-f][0-9a-f]")


class Obstacle(StrEnum):
    """What keeps a letter from being replayed."""

    MALFORMED = "malformed"
    FUTURE = "future"
    TOO_LATE = "too_late"
    FORGOTTEN = "forgotten"


_ACCOUNTED_FOR: Final = "The stored hour stays as it is; `streamproc dead-letters export` accounts for the segment."

#: What to do about each.
ADVICE: Final[Mapping[Obstacle, str]] = {
    Obstacle.MALFORMED: "Mend it: `streamproc dead-letters replay ID --set FIELD=VALUE`, or `--payload FILE`.",
    Obstacle.FUTURE: "Replay it then. If the producer's clock was wrong, mend it: `--set received_at=TIME`.",
    Obstacle.TOO_LATE: (
        f"{_ACCOUNTED_FOR} Correct the producer's clock or delay (if received_at was wrong, mend it: `--set "
        "received_at=TIME`). Where producers may hold events back for longer, raise STREAMPROC_LATE_HORIZON_SECONDS "
        "before the next outage."
    ),
    Obstacle.FORGOTTEN: (
        f"{_ACCOUNTED_FOR} A longer STREAMPROC_LATE_HORIZON_SECONDS keeps windows longer from the next one on."
    ),
}


class Standing(NamedTuple):
    """Where a shard stands: Redis' time, and the end of the newest forgotten window (0: none)."""

    now_ms: int
    mark_ms: int = 0


class Refusal(NamedTuple):
    """Why a letter cannot be replayed."""

    obstacle: Obstacle
    detail: str

    @property
    def advice(self) -> str:
        return ADVICE[self.obstacle]


def mend(payload: bytes, changes: Mapping[str, str]) -> Event:
    """The event of a letter, some of its fields set anew. Unknown fields are dropped.

    A payload of strings alone is that of an entry without `data`: there, numbers are strings.

    Args:
        changes: values as a person types them, by the name of the field, one of FIELDS.

    Raises:
        InvalidEvent: naming field, value and rule.
    """
    members = _members(payload)
    if members and all(isinstance(value, str) for value in members.values()):
        return _of_fields(_changed(members, changes))
    if changes:
        if members is None:
            raise InvalidEvent(
                "the payload is not a JSON object in UTF-8, so no field of it can be set: replace all of it"
            )
        payload = json.dumps(_changed(members, changes)).encode()
    return events.decode(payload)[0]


def refusal(event: Event, standing: Standing, windowing: Windowing) -> Refusal | None:
    """Why an event would not count if it were added now; None if it would."""
    received_at_us = events.epoch_us(event.received_at)
    start_ms = windowing.start_of(received_at_us // 1000)
    end, until_ms = written(windowing.end_of(start_ms)), windowing.late_until(start_ms)
    if standing.now_ms > until_ms:
        took = f"its window ended {end} and took late events for {windowing.horizon_ms / 1000:g} s"
        return Refusal(Obstacle.TOO_LATE, f"{took}, until {written(until_ms)}")
    if start_ms < standing.mark_ms:
        return Refusal(
            Obstacle.FORGOTTEN, f"its window, ended {end}, is forgotten: a new entry would be taken for a duplicate"
        )
    # Rounded up: a millisecond earlier it would be refused.
    from_ms = -(-received_at_us // 1000) - windowing.future_ms
    if standing.now_ms < from_ms:
        ahead = f"received_at {event.received_at.isoformat()} is too far ahead"
        return Refusal(Obstacle.FUTURE, f"{ahead}: it can be replayed from {written(from_ms)} on")
    return None


def written(at_ms: int) -> str:
    """A time as RFC 3339, to the millisecond where it is not a whole second."""
    precision = "milliseconds" if at_ms % 1000 else "seconds"
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def _members(payload: bytes) -> dict[str, Any] | None:
    """The members of a payload, None if it has none. Takes what is no JSON but often sent, NaN, so as to be mended."""
    try:
        found = json.loads(payload.decode(), strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _changed(members: Mapping[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    changed = dict(members)
    for name, text in changes.items():
        if text == "null" and name in _NULLABLE:
            changed.pop(name, None)
        else:
            changed[name] = _number(text) if name in _NUMBERS else text
    return changed


def _number(text: str) -> float | str:
    """A number, or the text, which is then refused by its field's name."""
    try:
        return msgspec.json.decode(text, type=int | float)
    except msgspec.DecodeError:
        return text


def _of_fields(members: Mapping[str, Any]) -> Event:
    for name in FIELDS:
        text = str(members.get(name, ""))
        if name != "error" and _NOT_UTF_8.search(text):
            raise InvalidEvent(f"{name}: was not UTF-8, kept as {shown(text)}: set it anew")
    # A lone surrogate is no UTF-8 either, and refused as such.
    flat = [str(part).encode(errors="surrogatepass") for member in members.items() for part in member]
    return events.decode_fields(flat)[0]
