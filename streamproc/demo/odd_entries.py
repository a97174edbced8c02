"""Entries that no publisher of ours would send: other people's forms, which are valid, and broken ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

Fields = tuple[bytes | str, ...]
Document = dict[str, Any]

_ISRAEL: Final = timezone(timedelta(hours=3))


def flat(event: Document) -> Fields:
    """Valid: no field `data`, the event's own fields instead, times in UTC without saying so."""
    texts: list[str] = []
    for name, value in event.items():
        text = value.astimezone(UTC).replace(tzinfo=None).isoformat() if isinstance(value, datetime) else str(value)
        texts += (name, text)
    return tuple(texts)


def with_unknown_fields(event: Document) -> Fields:
    """Valid: fields that the schema does not know, before and after, and times with an offset."""
    return _data(
        _json({"trace": {"id": "7f3a", "hops": [1, 2]}, **_document(event, _ISRAEL), "viewer_ip": "192.0.2.7"})
    )


def malformed(event: Document, rng: random.Random) -> Fields:
    """Breaks a rule."""
    return rng.choice(SPOILERS)(_document(event, UTC))


def _document(event: Document, zone: timezone) -> Document:
    """The event as JSON knows it: times as RFC 3339 text."""
    return {
        name: value.astimezone(zone).isoformat() if isinstance(value, datetime) else value
        for name, value in event.items()
    }


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _data(payload: bytes) -> Fields:
    return (b"data", payload)


def _broken_off(document: Document) -> Fields:
    payload = _json(document)
    return _data(payload[: len(payload) // 2])


def _field_missing(document: Document) -> Fields:
    return _data(_json({name: value for name, value in document.items() if name != "channel_id"}))


def _not_a_number(document: Document) -> Fields:
    return _data(_json({**document, "dubbing_ms": float("nan")}))


def _wrong_type(document: Document) -> Fields:
    return _data(_json({**document, "extraction_ms": "fast"}))


def _out_of_range(document: Document) -> Fields:
    return _data(_json({**document, "reinsertion_ms": -1}))


def _empty_name(document: Document) -> Fields:
    return _data(_json({**document, "segment_id": ""}))


def _no_such_time(document: Document) -> Fields:
    return _data(_json({**document, "received_at": "yesterday, about noon"}))


def _list_of_events(document: Document) -> Fields:
    return _data(_json([document]))


def _not_json(_document: Document) -> Fields:
    return _data(b"\x00\xff segment done \xfe")


def _stranger(_document: Document) -> Fields:
    return ("hello", "world")


SPOILERS: Final[tuple[Callable[[Document], Fields], ...]] = (
    _broken_off,
    _field_missing,
    _not_a_number,
    _wrong_type,
    _out_of_range,
    _empty_name,
    _no_such_time,
    _list_of_events,
    _not_json,
    _stranger,
)
