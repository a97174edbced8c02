"""Asking the archive, with DuckDB.

Files in a folder are read where they lie, only the columns that are asked about; of a bucket the days that are asked
about are fetched first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

from streamproc.stores.archive.days import Archive, Damaged, file_name
from streamproc.stores.archive.failures import LibraryMissing
from streamproc.stores.archive.sql import Question, answer_sql

_AT_ONCE: Final = 16


def ask(archive: Archive, question: Question) -> list[dict[str, Any]]:
    """The rows of an answer, in order; none where no day is archived.

    Raises:
        LibraryMissing: DuckDB is not installed.
        Damaged: a day is archived and its file is not there.
        ArchiveTrouble: the storage is away, or refuses.
    """
    days = [day for day in archive.manifests() if question.since <= day <= question.until]
    if not days:
        return []
    with _local(archive, days) as files:
        return _answer(files, question)


def _answer(files: Sequence[Path], question: Question) -> list[dict[str, Any]]:
    try:
        import duckdb  # noqa: PLC0415 - heavy, and needed here alone
    except ImportError:
        raise LibraryMissing("duckdb") from None
    names = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE VIEW archive AS SELECT * FROM "  # noqa: S608 - the names of our own files, quoted
            f"read_parquet([{names}], hive_partitioning = true, hive_types = {{'date': DATE}})"
        )
        given = {"channel": question.channel, "user": question.user}
        try:
            cursor = connection.execute(answer_sql(question), {name: value for name, value in given.items() if value})
        except duckdb.IOException as error:
            raise Damaged(f"a file cannot be read ({str(error).splitlines()[0]})") from None
        columns = [column[0] for column in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def _local(archive: Archive, days: Sequence[date]) -> Iterator[list[Path]]:
    """The files of these days on this machine, as long as the context lasts."""
    names = [file_name(day) for day in days]
    paths = [archive.objects.path(name) for name in names]
    here = [path for path in paths if path is not None]
    if len(here) == len(names):
        missing = [path for path in here if not path.is_file()]
        if missing:
            raise Damaged(f"{missing[0]} is missing")
        yield here
        return
    with tempfile.TemporaryDirectory(prefix="streamproc-archive-") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
        yield list(pool.map(lambda name: _fetch(archive, name, Path(folder)), names))


def _fetch(archive: Archive, name: str, folder: Path) -> Path:
    held = archive.objects.read(name)
    if held is None:
        raise Damaged(f"{name} is missing")
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_bytes(held.data)
    return path
