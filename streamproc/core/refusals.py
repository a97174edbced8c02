"""What can be read of a refused event, and the words of its refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_MAX_SHOWN: Final = 80
# What tells whose an event is and of when, in text that is no JSON: cut off, say.
_SUBJECT_MEMBER: Final = re.compile(r'(?s)"(?:user_id|received_at)"\s*:\s*"[^"\\]*(?:\\.[^"\\]*)*"')


def readable_members(payload: bytes) -> Mapping[str, Any]:
    """What can be read of a refused payload, for the words of its refusal.

    Read by the standard library, which also takes what is no JSON but often sent: NaN, 1e400, bytes not in UTF-8.
    """
    text = payload.decode(errors="replace")
    for readable in (text, "{" + ",".join(_SUBJECT_MEMBER.findall(text)) + "}"):
        try:
            found = json.loads(readable, strict=False)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else {}
    return {}


def in_words(error: msgspec.ValidationError, values: Mapping[str, Any]) -> str:
    """Turn msgspec's ``Expected `float` <= 3600000 - at `$.dubbing_ms` `` into field, value and rule."""
    message = str(error)
    message = f"{message[0].lower()}{message[1:]}"
    match = re.fullmatch(r"(.*) - at `\$\.(\w+)`", message)
    if match is None:
        return f"the event: {message}"
    rule, name = match.groups()
    value = values.get(name)
    if value is None:
        return f"{name}: {rule}"
    # Of a wrong type msgspec names the type it got; the value follows.
    return f"{name}: {rule}{'' if ', got `' in rule else ', got'} {shown(value)}"


def shown(value: object) -> str:
    """A value for a message: as ASCII, and short."""
    try:
        text = ascii(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
