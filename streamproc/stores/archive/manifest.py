"""A day's manifest: what is archived of it and was verified, what it was made from, what has become of it since.

It is the archive's word: a file counts as archived when the manifest names its checksum. It is written under a
precondition, so that of two that change a day at once one finds out and decides again.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final, Literal

import msgspec

from streamproc.core.day_rows import DayRow, Totals

VERSION: Final = 1
_HASH_BYTES: Final = 4

#: Why a day was written.
Reason = Literal["archived", "revised", "erased"]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A day's file.

    Attributes:
        users: which users it holds, see `user_index`.
    """

    sha256: str
    size_bytes: int
    rows: int
    schema_version: int
    written_at_ms: int
    totals: Totals
    users: str

    def may_hold(self, user_id: str) -> bool:
        """Whether the user may be in the file: wrong once in four million users of it, and never about who is."""
        wanted, index = _hash(user_id), base64.b64decode(self.users)
        return any(index[at : at + _HASH_BYTES] == wanted for at in range(0, len(index), _HASH_BYTES))


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What MongoDB held of a day when it was archived.

    Attributes:
        highest_write: of all measurements: a repair is a new write.
        partial: MongoDB had begun to forget the day.
    """

    totals: Totals
    highest_write: int
    partial: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One writing of a day's file."""

    at_ms: int
    reason: Reason
    rows: int
    removed: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one day.

    Attributes:
        file: what was verified last; None: nothing yet.
        candidates: files being put in its place, each verified. What is there is one of them, or `file`.
        source: what the day was last found to come from; None until that is known.
    """

    day: date
    version: int = VERSION
    file: File | None = None
    candidates: tuple[File, ...] = ()
    source: Source | None = None
    history: tuple[Change, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether the day is archived: one file, verified, and nobody at it."""
        return self.file is not None and not self.candidates

    @property
    def files(self) -> Sequence[File]:
        """All that the day's file may be at this moment."""
        return [*([self.file] if self.file else []), *self.candidates]

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Raises ValueError: it is none, or of a version that is not known here."""
        found = _decoder.decode(data)
        if found.version != VERSION:
            raise ValueError(f"version {found.version}; this streamproc knows {VERSION}")
        return found


# Made here and not at the first use: several threads that make one of the same type at once crash (msgspec 0.22).
_decoder: Final = msgspec.json.Decoder(Manifest)


def user_index(rows: Iterable[DayRow]) -> str:
    """Finds the files that hold a person without reading them: the first 32 bits of the SHA-256 of each user's id.

    No more of a secret than the file beside it, which holds the ids themselves; a person erased from that is gone from
    here too.
    """
    hashes = sorted({_hash(row.key.user_id) for row in rows})
    return base64.b64encode(b"".join(hashes)).decode()


def file_of(rows: Sequence[DayRow], data: bytes, schema_version: int, written_at_ms: int) -> File:
    """What a manifest says of these rows in this form."""
    return File(
        sha256=checksum(data),
        size_bytes=len(data),
        rows=len(rows),
        schema_version=schema_version,
        written_at_ms=written_at_ms,
        totals=Totals.of(rows),
        users=user_index(rows),
    )


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hash(user_id: str) -> bytes:
    return hashlib.sha256(user_id.encode()).digest()[:_HASH_BYTES]
