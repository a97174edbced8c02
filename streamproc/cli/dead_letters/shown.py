"""Dead letters for people and for programs. What they hold came from strangers: a terminal gets what is printable."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from streamproc.core.replay import written
from streamproc.stores.redis.dead_letters import Letter

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"))


def escaped(text: str, *, but: str = "") -> str:
    """A text with every unprintable character as its escape."""
    return "".join(sign if sign.isprintable() or sign in but else _escape(sign) for sign in text)


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def age(ms: int) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max(0, ms // 1000)
    return next((f"{seconds // unit} {name}" for unit, name in _UNITS if seconds >= unit), f"{seconds} s")


def totals(counts: Mapping[str, int]) -> str:
    """``3: malformed 2, too_late 1``."""
    each = ", ".join(f"{escaped(what)} {number}" for what, number in sorted(counts.items()))
    return f"{sum(counts.values())}{': ' if each else ''}{each}"


def pretty(payload: bytes) -> str:
    """A payload to be read: JSON with indentation, everything else as text with escapes."""
    try:
        text = json.dumps(json.loads(payload.decode()), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return escaped(payload.decode(errors="backslashreplace"), but="\n\t")
    return escaped(text, but="\n")


def without_payload(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "shard": letter.shard,
        "entry_id": letter.entry_id,
        "reason": letter.reason,
        "detail": letter.detail,
        "at": written(letter.at_ms),
    }


def with_payload(letter: Letter) -> dict[str, Any]:
    """As exported: the payload as text, or, where it is not UTF-8, as base64 under another name."""
    try:
        payload = {"payload": letter.payload.decode()}
    except UnicodeDecodeError:
        payload = {"payload_base64": base64.b64encode(letter.payload).decode()}
    return {**without_payload(letter), **payload}


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
