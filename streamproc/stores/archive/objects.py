"""Where the archive is kept: named objects, each written whole or not at all, and never over one that was not seen.

`ARCHIVE_URL` says which form: ``file:///a/folder`` (`files`) or ``gs://bucket/prefix`` (`buckets`). Arrow's own
filesystems would do for both, but have no preconditions: https://arrow.apache.org/docs/cpp/api/filesystem.html. See
docs/adr/0006.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from streamproc.stores.archive.failures import LibraryMissing

# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_PREFIX: Final = re.compile(r"[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*")

#: How long a day is kept: seven years, two leap days among them.
RETENTION_DAYS: Final = 2557

#: Tells one writing of an object from all others.
Token = str


class Held(NamedTuple):
    """An object as it was read."""

    data: bytes
    token: Token


class Shown(NamedTuple):
    """One thing about the storage that matters for seven years, for people. `good` is None where it is mere news."""

    what: str
    value: str
    good: bool | None = None


class Objects(Protocol):
    """Objects below one address. All calls block; all raise ArchiveTrouble where the storage is away or refuses.

    Attributes:
        address: for messages.
    """

    address: str

    def read(self, name: str) -> Held | None:
        """None where there is none of that name."""

    def put(
        self, name: str, data: bytes, expected: Token | None, *, keep_from: datetime | None = None, cold: bool = False
    ) -> Token:
        """Write an object whole, under a new token. Where another is there than expected, but of these very bytes, that
        counts: a reply may have been lost, or somebody else did the same.

        Args:
            expected: the token of what is to be replaced; None: there must be none.
            keep_from: of what is kept for years: when those years begin.
            cold: it will seldom be read.

        Raises:
            Conflict: another is there. It was left as it is.
        """

    def path(self, name: str) -> Path | None:
        """Where an object lies on this machine; None where it is elsewhere."""

    def delete(self, name: str) -> None:
        """Fine where there is none."""

    def tokens(self, prefix: str) -> dict[str, Token]:
        """All objects whose names begin so."""

    def close(self) -> None:
        """Let go of connections. Safe to call twice."""

    def prepare(self) -> None:
        """Make storage ready for seven years, as far as that can be set: which rules delete what, and when."""

    def shown(self) -> Sequence[Shown]:
        """What is set, and what should be."""


def check_address(url: str) -> None:
    """Raises ValueError, saying what is allowed."""
    form = "must be file:///absolute/folder or gs://bucket, gs://bucket/prefix"
    parts = urlsplit(url)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{form}, without user, query or fragment: credentials are Google's own to find")
    path = unquote(parts.path)
    is_folder = parts.scheme == "file" and not parts.netloc and path.strip("/") and ".." not in path.split("/")
    prefix = parts.path.strip("/")
    is_bucket = parts.scheme == "gs" and _BUCKET.fullmatch(parts.netloc) and (not prefix or _PREFIX.fullmatch(prefix))
    if not (is_folder or is_bucket):
        raise ValueError(form)


def open_objects(url: str) -> Objects:
    """The storage at `url`; nothing is asked of it yet.

    Raises:
        ValueError: `url` is no such address.
        LibraryMissing: it is a bucket, and Google's client is not installed.
    """
    check_address(url)
    parts = urlsplit(url)
    if parts.scheme == "file":
        from streamproc.stores.archive.files import FileObjects  # noqa: PLC0415 - whoever has one needs not the other

        return FileObjects(unquote(parts.path))
    try:
        from streamproc.stores.archive.buckets import BucketObjects  # noqa: PLC0415
    except ImportError:
        raise LibraryMissing("google-cloud-storage") from None
    return BucketObjects(parts.netloc, parts.path.strip("/"))
