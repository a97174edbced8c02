"""The detail of one segment: what a window's hash keeps under each segment id.

The stored form is a compact JSON array (layout 1), documented in docs/formats.md. Position is meaning, so
fields are only ever appended, and a changed meaning takes a new layout number in front.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

LAYOUT_VERSION = 1


class Detail(msgspec.Struct, array_like=True, tag=LAYOUT_VERSION, frozen=True, gc=False):
    """One counted segment. Times are integer microseconds: the fold sums them without rounding."""

    received_at_us: int
    extraction_us: int
    dubbing_us: int
    reinsertion_us: int
    total_us: int
    original_bytes: int
    dubbed_bytes: int
    source_language: str
    target_language: str
    platform: str = "web"
    error: str = ""
    retry_count: int = 0
    processing_started_at_us: int | None = None
    processing_ended_at_us: int | None = None


_encode_lines = msgspec.json.Encoder().encode_lines
_decoder = msgspec.json.Decoder(list[Detail])


def encode_all(details: Sequence[Detail]) -> list[str]:
    """The stored form of each detail, in order. One call into C for all; JSON spells no line feed as it is."""
    return _encode_lines(details).decode().split("\n")[:-1]


def decode_all(raw: Iterable[bytes]) -> list[Detail]:
    """Decode stored details, in order. One call into C for all of them.

    Raises:
        msgspec.DecodeError: a value is no detail of this layout.
    """
    return _decoder.decode(b"[" + b",".join(raw) + b"]")
