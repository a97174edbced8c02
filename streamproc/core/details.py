"""The detail of one segment: what a window's hash keeps under each segment id.

The stored form is a compact JSON array (layout 1), documented in docs/formats.md. Position is meaning, so
fields are only ever appended, and a changed meaning takes a new layout number in front. What most segments have in
common stands last and is left out: a day of segments is most of what Redis holds, and each byte of one counts
(`make bench-memory`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

LAYOUT_VERSION = 1


class Detail(msgspec.Struct, array_like=True, tag=LAYOUT_VERSION, frozen=True, gc=False):
    """One counted segment. Times are integer microseconds: the fold sums them without rounding.

    `started_after_us` and `ended_after_us` say when processing started and ended, counted from `received_at_us`.
    """

    received_at_us: int
    extraction_us: int
    dubbing_us: int
    reinsertion_us: int
    total_us: int
    original_bytes: int
    dubbed_bytes: int
    source_language: str
    target_language: str
    started_after_us: int | None = None
    ended_after_us: int | None = None
    platform: str = "web"
    error: str = ""
    retry_count: int = 0

    @property
    def processing_started_at_us(self) -> int | None:
        return None if self.started_after_us is None else self.received_at_us + self.started_after_us

    @property
    def processing_ended_at_us(self) -> int | None:
        return None if self.ended_after_us is None else self.received_at_us + self.ended_after_us


# A line feed is written as it is at the end of a detail alone, and a quote not after a backslash bounds a text: so this
# is the end of a detail and never part of a text.
_USUAL_END = ',"web","",0]\n'


_encode_lines = msgspec.json.Encoder().encode_lines
_decoder = msgspec.json.Decoder(list[Detail])


def encode_all(details: Sequence[Detail]) -> list[str]:
    """The stored form of each detail, in order. One call into C for all; JSON spells no line feed as it is."""
    return _encode_lines(details).decode().replace(_USUAL_END, "]\n").split("\n")[:-1]


def decode_all(raw: Iterable[bytes]) -> list[Detail]:
    """Decode stored details, in order. One call into C for all of them.

    Raises:
        msgspec.DecodeError: a value is no detail of this layout.
    """
    return _decoder.decode(b"[" + b",".join(raw) + b"]")
