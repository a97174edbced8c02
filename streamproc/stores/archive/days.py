"""The days of an archive: reading, replacing and checking them.

A day is one file under a name that never changes, so that whoever reads the folder sees each day once, and a manifest
beside it. Replacing a file takes four steps; whatever happens in between, the manifest names every file that may be
there, each of them verified, and whoever comes next goes on:

    stage     the new file is written under another name, read back, and compared row by row
    publish   the manifest names it as a candidate; then it takes the place of the old one, if that is as it was read
    settle    the manifest names it as the file
    discard   the staged copy goes

Calls block, and raise ArchiveTrouble where the storage is away; Conflict means: somebody else was faster, start again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from importlib import import_module
from types import ModuleType
from typing import Final, NamedTuple

import msgspec

from streamproc.core.day_rows import DayRow, Totals, day_end_ms
from streamproc.stores.archive.failures import Conflict, LibraryMissing
from streamproc.stores.archive.manifest import Change, File, Manifest, Reason, Source, checksum, file_of
from streamproc.stores.archive.objects import Objects, Token

_MANIFESTS: Final = "manifests/"
_INCOMING: Final = "incoming/"
_AT_ONCE: Final = 16


class Kept(NamedTuple):
    """A day's manifest as it was read; of a day that has none an empty one, without a token."""

    manifest: Manifest
    token: Token | None


class Staged(NamedTuple):
    """A file that is verified, under a name of its own."""

    name: str
    data: bytes
    file: File


class Damaged(Exception):
    """What is archived of a day cannot be trusted. The message says why; nothing was changed."""


class Archive:
    """The days in one storage."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._known: dict[str, Kept] = {}

    # Manifests

    def manifests(self) -> dict[date, Kept]:
        """Of all days, in their order. Only those that changed since the last call are read.

        Raises:
            Damaged: one cannot be read.
        """
        tokens = {name: token for name, token in self.objects.tokens(_MANIFESTS).items() if name.endswith(".json")}
        changed = [
            name for name, token in tokens.items() if name not in self._known or self._known[name].token != token
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            read = dict(zip(changed, pool.map(self._read_manifest, changed), strict=True))
        self._known = {name: kept for name in tokens if (kept := read.get(name, self._known.get(name))) is not None}
        return {kept.manifest.day: kept for kept in self._known.values()}

    def manifest(self, day: date) -> Kept:
        """Of one day, as it is now. Raises Damaged."""
        return self._read_manifest(manifest_name(day)) or Kept(Manifest(day=day), None)

    def _read_manifest(self, name: str) -> Kept | None:
        held = self.objects.read(name)
        if held is None:
            return None
        try:
            return Kept(Manifest.decode(held.data), held.token)
        except (msgspec.DecodeError, ValueError) as error:
            raise Damaged(f"{name} is no manifest ({error})") from None

    # Reading

    def load(self, kept: Kept) -> bytes | None:
        """The file of a day; None where the first one is not in place yet.

        Raises:
            Damaged: it is missing, or not one that the manifest names.
        """
        name = file_name(kept.manifest.day)
        held = self.objects.read(name)
        if held is None:
            if kept.manifest.file is None:
                return None
            raise Damaged(f"{name} is missing")
        found = checksum(held.data)
        if found not in [file.sha256 for file in kept.manifest.files]:
            raise Damaged(f"{name} is not the file that its manifest names: checksum {found[:12]}...")
        return held.data

    def rows(self, kept: Kept) -> list[DayRow]:
        """The rows of a day; none where the first file is not in place yet. Raises Damaged."""
        parquet = _parquet()
        data = self.load(kept)
        if data is None:
            return []
        try:
            rows: list[DayRow] = parquet.from_parquet(kept.manifest.day, data)
        except parquet.NotOurs as error:
            raise Damaged(f"{file_name(kept.manifest.day)}: {error}") from None
        return rows

    def verify(self, kept: Kept) -> list[str]:
        """What is wrong with a day that has a manifest, for people."""
        manifest = kept.manifest
        if manifest.file is None:
            return ["it was begun and never finished"]
        if manifest.candidates:
            return ["a change of it was begun and never finished"]
        try:
            rows = self.rows(kept)
        except Damaged as error:
            return [str(error)]
        wrong = [
            f"the manifest and the file differ: {one}" for one in manifest.file.totals.differences(Totals.of(rows))
        ]
        if len(rows) != manifest.file.rows:
            wrong.append(f"the manifest names {manifest.file.rows} rows, the file has {len(rows)}")
        return wrong

    # Replacing

    def stage(self, day: date, rows: Sequence[DayRow], now_ms: int) -> Staged:
        """Write a new file under a name of its own, read it back, and compare.

        Raises:
            Damaged: what is read is not what was written.
        """
        parquet = _parquet()
        data = parquet.to_parquet(day, rows)
        name = f"{_INCOMING}{day}-{secrets.token_hex(8)}.parquet"
        self.objects.put(name, data, None)
        held = self.objects.read(name)
        if held is None:
            raise Conflict(name)  # an erasure, which leaves no copies
        try:
            back = parquet.from_parquet(day, held.data)
        except parquet.NotOurs as error:
            raise Damaged(f"{name} was written and cannot be read: {error}") from None
        if held.data != data or back != sorted(rows, key=lambda row: row.key):
            raise Damaged(f"{name} was written and reads otherwise: see that the storage is sound")
        return Staged(name, data, file_of(rows, data, parquet.SCHEMA_VERSION, now_ms))

    def publish(self, kept: Kept, staged: Staged) -> Kept:
        """Put a staged file in the place of the day's file. Returns the manifest, which names both until `settle`.

        Raises:
            Conflict: somebody else is at this day.
            Damaged: what is there is named by no manifest.
        """
        day, name = kept.manifest.day, file_name(kept.manifest.day)
        others = tuple(file for file in kept.manifest.candidates if file.sha256 != staged.file.sha256)
        kept = self._write(msgspec.structs.replace(kept.manifest, candidates=(*others, staged.file)), kept.token)
        there = self.objects.read(name)
        if there is not None and checksum(there.data) not in [file.sha256 for file in kept.manifest.files]:
            if self.manifest(day).token != kept.token:
                raise Conflict(name)
            raise Damaged(f"{name} is not the file that its manifest names: look at it, and move it away")
        expected = None if there is None else there.token
        self.objects.put(name, staged.data, expected, keep_from=_midnight_after(day), cold=True)
        back = self.objects.read(name)
        if back is None or back.data != staged.data:
            if self.manifest(day).token != kept.token:
                raise Conflict(name)
            raise Damaged(f"{name} was written and reads otherwise: see that the storage is sound")
        return kept

    def settle(self, kept: Kept, file: File, source: Source | None, change: Change | None) -> Kept:
        """The day's file is this one. Raises Conflict."""
        history = kept.manifest.history + ((change,) if change else ())
        settled = msgspec.structs.replace(
            kept.manifest, file=file, candidates=(), source=source or kept.manifest.source, history=history
        )
        return self._write(settled, kept.token)

    def discard(self, staged: Staged) -> None:
        self.objects.delete(staged.name)

    def replace(self, kept: Kept, rows: Sequence[DayRow], reason: Reason, removed: int, now_ms: int) -> Kept:
        """All four steps: the day's file becomes these rows. Raises Conflict, Damaged."""
        staged = self.stage(kept.manifest.day, rows, now_ms)
        try:
            kept = self.publish(kept, staged)
            change = Change(at_ms=now_ms, reason=reason, rows=len(rows), removed=removed)
            return self.settle(kept, staged.file, None, change)
        finally:
            self.discard(staged)

    # Keeping house

    def staged(self) -> list[str]:
        """What writers that died left behind, and what others are writing now."""
        return list(self.objects.tokens(_INCOMING))

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.objects.delete(name)

    def forget(self, days: Iterable[date]) -> None:
        """Remove days altogether: the file first, so that no file is left that no manifest names."""
        for day in days:
            self.remove([file_name(day), manifest_name(day)])

    def _write(self, manifest: Manifest, expected: Token | None) -> Kept:
        name, keep_from = manifest_name(manifest.day), _midnight_after(manifest.day)
        return Kept(manifest, self.objects.put(name, manifest.encode(), expected, keep_from=keep_from))


def file_name(day: date) -> str:
    """The name of a day's file, below the archive's address."""
    return f"date={day}/day.parquet"


def manifest_name(day: date) -> str:
    return f"{_MANIFESTS}{day}.json"


def _midnight_after(day: date) -> datetime:
    return datetime.fromtimestamp(day_end_ms(day) / 1000, UTC)


def _parquet() -> ModuleType:
    """What writes and reads files, loaded when first needed. Raises LibraryMissing."""
    try:
        return import_module("streamproc.stores.archive.parquet")
    except ImportError:
        raise LibraryMissing("pyarrow") from None
