"""The archive in a folder: for one machine, for a mounted disk, for tests.

An object is a file, written under a temporary name, made durable, then renamed over the old one under a lock that all
writers on the machine share. So a reader sees the old or the new, and a writer that died leaves a temporary file at
most, in `incoming`, where `Archive.tidy` finds it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from streamproc.stores.archive.failures import ArchiveTrouble, Conflict
from streamproc.stores.archive.objects import Held, Shown, Token

_LOCK: Final = ".lock"
_INCOMING: Final = "incoming"


class FileObjects:
    """Objects in a folder, which must be there: a disk that is not mounted is trouble, not an empty archive."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self.address = f"file://{root}"

    def read(self, name: str) -> Held | None:
        with self._explained():
            try:
                with (self._root / name).open("rb") as file:
                    return Held(file.read(), _token(os.fstat(file.fileno())))
            except FileNotFoundError:
                self._require_root()
                return None

    def put(  # a folder has no classes of storage, and deletes nothing by itself
        self,
        name: str,
        data: bytes,
        expected: Token | None,
        *,
        keep_from: datetime | None = None,  # noqa: ARG002
        cold: bool = False,  # noqa: ARG002
    ) -> Token:
        with self._explained():
            self._require_root()
            target = self._root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._write(data)
            try:
                with self._locked():
                    found = self.read(name)
                    if (None if found is None else found.token) != expected:
                        if found is not None and found.data == data:
                            return found.token
                        raise Conflict(name)
                    temporary.replace(target)
                    _sync(target.parent)
                    return _token(target.stat())
            finally:
                temporary.unlink(missing_ok=True)

    def path(self, name: str) -> Path | None:
        return self._root / name

    def delete(self, name: str) -> None:
        with self._explained(), self._locked():
            (self._root / name).unlink(missing_ok=True)

    def tokens(self, prefix: str) -> dict[str, Token]:
        with self._explained():
            self._require_root()
            folder = self._root / prefix.rpartition("/")[0]
            found = {}
            for path in folder.rglob("*"):
                name = path.relative_to(self._root).as_posix()
                if name.startswith(prefix) and name != _LOCK:
                    try:
                        if path.is_file():
                            found[name] = _token(path.stat())
                    except FileNotFoundError:  # replaced or removed since it was listed
                        continue
            return dict(sorted(found.items()))

    def close(self) -> None:
        pass

    def prepare(self) -> None:
        with self._explained():
            self._require_root()

    def shown(self) -> Sequence[Shown]:
        with self._explained():
            self._require_root()
        return [
            Shown("storage", f"folder {self._root}"),
            Shown("deleted after seven years", "by `streamproc archive run`"),
        ]

    def _write(self, data: bytes) -> Path:
        folder = self._root / _INCOMING
        folder.mkdir(exist_ok=True)
        temporary = folder / f".{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _require_root(self) -> None:
        if not self._root.is_dir():
            remedy = f"Mount it, or make it: mkdir -p {self._root}; or correct STREAMPROC_ARCHIVE_URL"
            raise ArchiveTrouble(f"there is no folder {self._root}", remedy)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time. The lock ends with the process, however that ends."""
        with (self._root / _LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ArchiveTrouble(
                f"this user may not read or write {error.filename or self._root}",
                f"Give user {os.getuid()} read and write permission on {self._root} and what is in it",
            ) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ArchiveTrouble(f"the disk of {self._root} is full", "Free space on it") from None
            raise ArchiveTrouble(
                f"{error.filename or self._root}: {error.strerror or type(error).__name__}",
                f"See that {self._root} is a healthy folder on a mounted disk",
            ) from None


def _token(stat: os.stat_result) -> Token:
    return f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_size}"


def _sync(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
