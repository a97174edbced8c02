"""The segment event: its schema, its rules, and the words for what breaks them.

An event travels as a JSON object in the stream field ``data``; an entry without ``data`` is read as the
event's own fields, numbers as strings. Decoding is typed and runs in C (msgspec), because it is paid for
every event. It has three speeds:

1. strict: every field known, every rule of shape and range kept. Nearly every event ends here.
2. lenient: the same, unknown fields dropped and counted. They are never stored.
3. explained: the event is refused, and the refusal names field, value and rule.

What the C decoder cannot express (printable characters) is skipped where it cannot matter: JSON text without
a backslash that is ASCII without DEL has no way to spell an unprintable character.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
import orjson

from streamproc.core.details import Detail
from streamproc.core.refusals import in_words, readable_members, shown

MAX_ERROR_CHARACTERS: Final = 500
_MAX_MS: Final = 3_600_000
_MAX_BYTES: Final = 2**40

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=_MAX_MS)]
# A total may be the sum of three parts, each at its own maximum.
TotalMilliseconds = Annotated[float, msgspec.Meta(ge=0, le=3 * _MAX_MS)]
ByteCount = Annotated[int, msgspec.Meta(ge=0, le=_MAX_BYTES)]
Language = Annotated[str, msgspec.Meta(min_length=1, max_length=35)]
Platform = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
RetryCount = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """One finished segment. A segment is named by (session_id, segment_id) and published once."""

    segment_id: Identifier
    channel_id: Identifier
    session_id: Identifier
    user_id: Identifier
    received_at: datetime
    extraction_ms: Milliseconds
    dubbing_ms: Milliseconds
    reinsertion_ms: Milliseconds
    source_language: Language
    target_language: Language
    processing_started_at: datetime | None = None
    processing_ended_at: datetime | None = None
    total_ms: TotalMilliseconds | None = None
    original_bytes: ByteCount = 0
    dubbed_bytes: ByteCount = 0
    platform: Platform = "web"
    error: str | None = None
    retry_count: RetryCount = 0


class _LenientEvent(Event, forbid_unknown_fields=False, gc=False, kw_only=True):
    """An event of which unknown fields are dropped."""


class InvalidEvent(ValueError):
    """The event breaks a rule of the schema. The message names the field, its value and the rule."""


_strict = msgspec.json.Decoder(Event).decode
_lenient = msgspec.json.Decoder(_LenientEvent).decode
_FIELDS: Final = frozenset(Event.__struct_fields__)
_PRINTABLE_FIELDS: Final = (
    "segment_id",
    "channel_id",
    "session_id",
    "user_id",
    "source_language",
    "target_language",
    "platform",
)
_TIME_FIELDS: Final = ("received_at", "processing_started_at", "processing_ended_at")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def is_plain(text: bytes) -> bool:
    """Whether this JSON, of one event or of many, has no way to spell an unprintable character."""
    return text.isascii() and b"\\" not in text and b"\x7f" not in text


def decode(payload: bytes, *, plain: bool = False) -> tuple[Event, int]:
    """Decode one event from JSON. Returns the event and the number of unknown fields dropped.

    Of a repeated key the last value is taken; each of them must keep the rule.

    Args:
        plain: the payload is known to be plain, as `is_plain` says of a whole batch in one look.

    Raises:
        InvalidEvent: naming field, value and rule.
    """
    try:
        event, unknown = _strict(payload), 0
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        event, unknown = _decode_lenient(payload)
    if not plain and not is_plain(payload):
        _require_printable(event)
    return event, unknown


def decode_fields(fields: Sequence[bytes]) -> tuple[Event, int]:
    """Decode one event from a stream entry's own fields: name, value, name, value, numbers as strings.

    Raises:
        InvalidEvent: naming field, value and rule.
    """
    try:
        found = {fields[i].decode(): fields[i + 1].decode() for i in range(0, len(fields), 2)}
    except UnicodeDecodeError as error:
        raise InvalidEvent(f"the entry's fields are not UTF-8: {error}") from None
    try:
        event: Event = msgspec.convert(found, _LenientEvent, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidEvent(in_words(error, found)) from None
    for name in _TIME_FIELDS:
        # Decoding of numbers as strings would also take a number for a time.
        if name in found and ":" not in found[name]:
            raise InvalidEvent(f"{name}: expected an RFC 3339 time, got {shown(found[name])}")
    _require_printable(event)
    return event, len(found.keys() - _FIELDS)


def from_mapping(values: Mapping[str, Any]) -> Event:
    """Validate an event given as a mapping, as the publisher does. Unknown fields are refused: drop them.

    Raises:
        InvalidEvent: naming field, value and rule.
    """
    try:
        event = msgspec.convert(dict(values), Event)
    except msgspec.ValidationError as error:
        raise InvalidEvent(in_words(error, values)) from None
    except UnicodeEncodeError as error:
        raise InvalidEvent(f"the event: expected text without lone surrogates, got {shown(error.object)}") from None
    _require_printable(event)
    _require_writable(event)
    return event


def encode(event: Event) -> bytes:
    """The event as the JSON object that travels in the stream field ``data``."""
    values = {name: value for name in Event.__struct_fields__ if (value := getattr(event, name)) is not None}
    return orjson.dumps(values, option=orjson.OPT_NAIVE_UTC)


def epoch_us(moment: datetime) -> int:
    """Microseconds since the epoch; a time without an offset is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def to_detail(event: Event, received_at_us: int) -> Detail:
    """The detail that is stored of an event. Milliseconds become whole microseconds here, once, half to even."""
    extraction_us = round(event.extraction_ms * 1000)
    dubbing_us = round(event.dubbing_ms * 1000)
    reinsertion_us = round(event.reinsertion_ms * 1000)
    started, ended, total_ms = event.processing_started_at, event.processing_ended_at, event.total_ms
    return Detail(
        received_at_us,
        extraction_us,
        dubbing_us,
        reinsertion_us,
        extraction_us + dubbing_us + reinsertion_us if total_ms is None else round(total_ms * 1000),
        event.original_bytes,
        event.dubbed_bytes,
        event.source_language,
        event.target_language,
        None if started is None else epoch_us(started) - received_at_us,
        None if ended is None else epoch_us(ended) - received_at_us,
        event.platform,
        event.error[:MAX_ERROR_CHARACTERS] if event.error else "",
        event.retry_count,
    )


def subject_of(payload: bytes) -> tuple[str | None, int | None]:
    """Whose a refused payload is and of when (microseconds), as far as it can be read: an erasure must cover it."""
    values = readable_members(payload)
    user_id, received_at = values.get("user_id"), values.get("received_at")
    try:
        received_at_us = epoch_us(msgspec.convert(received_at, datetime))
    except (msgspec.ValidationError, UnicodeError):
        received_at_us = None
    return user_id if isinstance(user_id, str) and _is_unicode(user_id) else None, received_at_us


def _decode_lenient(payload: bytes) -> tuple[Event, int]:
    """Drop and count unknown fields; refuse what breaks a rule, in words."""
    try:
        event = _lenient(payload)
        found = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise InvalidEvent(in_words(error, readable_members(payload))) from None
    except msgspec.DecodeError as error:
        raise InvalidEvent(f"`data` is not valid JSON: {error}") from None
    except UnicodeError as error:
        raise InvalidEvent(f"`data` is not valid UTF-8: {error}") from None
    except RecursionError:
        raise InvalidEvent("`data` is nested too deeply; an event is one flat JSON object") from None
    return event, len(found.keys() - _FIELDS)


def _require_printable(event: Event) -> None:
    for name in _PRINTABLE_FIELDS:
        value: str = getattr(event, name)
        if not value.isprintable():
            raise InvalidEvent(f"{name} must consist of printable characters, got {shown(value)}")


def _require_writable(event: Event) -> None:
    """JSON in UTF-8 has no lone surrogates, RFC 3339 no seconds in an offset: Python's values may have both."""
    if event.error is not None and not _is_unicode(event.error):
        raise InvalidEvent(f"error: expected text without lone surrogates, got {shown(event.error)}")
    for name in _TIME_FIELDS:
        moment: datetime | None = getattr(event, name)
        if moment is not None and (offset := moment.utcoffset()) and offset % timedelta(minutes=1):
            raise InvalidEvent(f"{name}: expected an offset of whole minutes, got {moment.isoformat()}")


def _is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
