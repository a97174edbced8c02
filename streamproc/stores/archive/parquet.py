"""A day's file: rows as Parquet. The schema is here and nowhere else; docs/archive.md is compared with it.

The day itself is not a column: it stands in the file's name (``date=2026-11-22/``), as in every Hive partition, and
should not be said twice. Of the same rows the same bytes come, so that writing a file again is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from streamproc.core.day_rows import SUMS, DayRow, RowKey
from streamproc.core.fold import Aggregate
from streamproc.core.histogram import LatencyHistogram

SCHEMA_VERSION: Final = 1
_VERSION_KEY: Final = b"streamproc.schema_version"
_DAY_KEY: Final = b"streamproc.day"

_MOMENT: Final = pa.timestamp("ms", tz="UTC")
_LANGUAGES: Final = pa.list_(
    pa.field("element", pa.struct([pa.field("language", pa.string()), pa.field("segments", pa.int64())]))
)
_BUCKETS: Final = pa.list_(
    pa.field("element", pa.struct([pa.field("bucket", pa.int32()), pa.field("segments", pa.int64())]))
)

#: Every column: name, type, what it is.
COLUMNS: Final[tuple[tuple[str, pa.DataType, str], ...]] = (
    ("channel_id", pa.string(), "Channel."),
    ("user_id", pa.string(), "User."),
    ("platform", pa.string(), "Platform of the windows' earliest segments."),
    ("windows", pa.int64(), "Measurements that the row comes from."),
    ("sessions", pa.int64(), "Sessions that they are of."),
    ("segments", pa.int64(), "Segments."),
    ("errors", pa.int64(), "Segments with an error."),
    ("retries", pa.int64(), "Sum of retries."),
    ("original_bytes", pa.int64(), "Sum of original bytes."),
    ("dubbed_bytes", pa.int64(), "Sum of dubbed bytes."),
    ("extraction_us", pa.int64(), "Sum of extraction times, microseconds."),
    ("dubbing_us", pa.int64(), "Sum of dubbing times, microseconds."),
    ("reinsertion_us", pa.int64(), "Sum of reinsertion times, microseconds."),
    ("total_us", pa.int64(), "Sum of total times, microseconds."),
    ("min_total_us", pa.int64(), "Smallest total time, microseconds."),
    ("max_total_us", pa.int64(), "Largest total time, microseconds."),
    ("first_segment_at", _MOMENT, "Smallest event time, cut to milliseconds."),
    ("last_segment_at", _MOMENT, "Largest event time, cut to milliseconds."),
    ("source_languages", _LANGUAGES, "Segments by source language, in order of the languages."),
    ("target_languages", _LANGUAGES, "Segments by target language, in order of the languages."),
    ("latency_histogram", _BUCKETS, "Segments by bucket of total time, in order of the buckets (docs/formats.md)."),
)
_SCHEMA: Final = pa.schema(
    [pa.field(name, kind, nullable=False, metadata={"description": words}) for name, kind, words in COLUMNS]
)
_COMPRESSION_LEVEL: Final = 9


class NotOurs(ValueError):
    """A file is no archive of that day in a form that is known here. The message says what is wrong."""


def to_parquet(day: date, rows: Sequence[DayRow]) -> bytes:
    """The file of a day."""
    schema = _SCHEMA.with_metadata({_VERSION_KEY: str(SCHEMA_VERSION), _DAY_KEY: day.isoformat()})
    columns = _columns(sorted(rows, key=lambda row: row.key))
    table = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=_COMPRESSION_LEVEL, write_page_checksum=True)
    return bytes(sink.getvalue())


def from_parquet(day: date, data: bytes) -> list[DayRow]:
    """Undo `to_parquet`.

    Raises:
        NotOurs: it is no Parquet, of another day, or of a schema that is not known here.
    """
    try:
        # By this thread alone: one of Arrow's own that lets go of `data` while the interpreter ends would abort it.
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True)
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise NotOurs(f"it is no readable Parquet ({type(error).__name__})") from None
    metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
    version, of_day = metadata.get(_VERSION_KEY, b"").decode(), metadata.get(_DAY_KEY, b"").decode()
    if version != str(SCHEMA_VERSION):
        raise NotOurs(f"its schema version is {version or 'missing'}; this streamproc knows {SCHEMA_VERSION}")
    if of_day != day.isoformat():
        raise NotOurs(f"it is of {of_day or 'no day'}")
    return [_row(record) for record in table.to_pylist()]


def _columns(rows: Sequence[DayRow]) -> dict[str, list[Any]]:
    aggregates = [row.aggregate for row in rows]
    columns: dict[str, list[Any]] = {name: [getattr(row.key, name) for row in rows] for name in RowKey._fields}
    columns |= {name: [getattr(row, name) for row in rows] for name in ("windows", "sessions")}
    columns |= {name: [getattr(one, name) for one in aggregates] for name in (*SUMS, "min_total_us", "max_total_us")}
    columns["first_segment_at"] = [one.first_ms for one in aggregates]
    columns["last_segment_at"] = [one.last_ms for one in aggregates]
    for name in ("source_languages", "target_languages"):
        columns[name] = [_tally(getattr(one, name), "language") for one in aggregates]
    columns["latency_histogram"] = [_tally(one.latency.counts, "bucket") for one in aggregates]
    return columns


def _tally(counts: Mapping[Any, int], of: str) -> list[dict[str, Any]]:
    return [{of: name, "segments": count} for name, count in sorted(counts.items())]


def _counts(tally: Iterable[Mapping[str, Any]], of: str) -> dict[Any, int]:
    return {one[of]: one["segments"] for one in tally}


def _row(record: Mapping[str, Any]) -> DayRow:
    return DayRow(
        key=RowKey(record["channel_id"], record["user_id"], record["platform"]),
        windows=record["windows"],
        sessions=record["sessions"],
        aggregate=Aggregate(
            **{name: record[name] for name in (*SUMS, "min_total_us", "max_total_us")},
            first_ms=_epoch_ms(record["first_segment_at"]),
            last_ms=_epoch_ms(record["last_segment_at"]),
            source_languages=_counts(record["source_languages"], "language"),
            target_languages=_counts(record["target_languages"], "language"),
            latency=LatencyHistogram(_counts(record["latency_histogram"], "bucket")),
        ),
    )


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
