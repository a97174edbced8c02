"""The archive's questions in SQL, for DuckDB and for BigQuery: one text, but for a few words that the two do not share.

The table is `archive`: the columns of a day's file (`parquet`), and `date`. Figures over any number of rows come from
sums, and percentiles from merged histograms, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from streamproc.stores.archive.days import file_name

Dialect = Literal["duckdb", "bigquery"]
By = Literal["day", "month", "year", "channel", "user", "platform"]

_UNNEST: Final[dict[Dialect, str]] = {
    "duckdb": "UNNEST(latency_histogram) AS one(h)",
    "bigquery": "UNNEST(latency_histogram) AS h",
}
_MONTH: Final[dict[Dialect, str]] = {
    "duckdb": "strftime(date, '%Y-%m')",
    "bigquery": "FORMAT_DATE('%Y-%m', date)",
}
_INTEGER: Final[dict[Dialect, str]] = {"duckdb": "BIGINT", "bigquery": "INT64"}
_TEXT: Final[dict[Dialect, str]] = {"duckdb": "VARCHAR", "bigquery": "STRING"}
#: What a row is called by, in an answer.
COLUMN: Final[dict[By, str]] = {
    "day": "day",
    "month": "month",
    "year": "year",
    "channel": "channel_id",
    "user": "user_id",
    "platform": "platform",
}
#: The integers of an answer, and where they come from.
_SUMS: Final = {
    "segments": "segments",
    "errors": "errors",
    "retries": "retries",
    "windows": "windows",
    "original_bytes": "original_bytes",
    "dubbed_bytes": "dubbed_bytes",
}
_PERCENTILES: Final = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: rows by what, from which days, of which channel and user ('': all)."""

    by: By
    since: date
    until: date
    channel: str = ""
    user: str = ""


def answer_sql(question: Question, dialect: Dialect = "duckdb") -> str:
    """The query. Channel and user are its parameters `channel` and `user`."""
    integer = _INTEGER[dialect]
    sums = ",\n    ".join(f"CAST(SUM({column}) AS {integer}) AS {name}" for name, column in _SUMS.items())
    ranks = ",\n    ".join(
        f"MIN(CASE WHEN upto >= CEIL(ROUND({percent / 100} * total, 6)) THEN bucket END) AS b{percent}"
        for percent in _PERCENTILES
    )
    percentiles = ",\n  ".join(
        f"LEAST(GREATEST({_representative(f'b{percent}')}, min_us), max_us) / 1000 AS p{percent}_total_ms"
        for percent in _PERCENTILES
    )
    return f"""WITH picked AS (
  SELECT {_key(question.by, dialect)} AS grouped, *
  FROM archive
  WHERE {_where(question, dialect)}
),
figures AS (
  SELECT
    grouped,
    {sums},
    SUM(total_us) / (SUM(segments) * 1000) AS avg_total_ms,
    SUM(dubbing_us) / (SUM(segments) * 1000) AS avg_dubbing_ms,
    SUM(errors) / SUM(segments) AS error_rate,
    MIN(min_total_us) AS min_us,
    MAX(max_total_us) AS max_us,
    COUNT(DISTINCT user_id) AS users,
    COUNT(DISTINCT channel_id) AS channels,
    COUNT(DISTINCT date) AS days
  FROM picked
  GROUP BY grouped
),
buckets AS (
  SELECT grouped, h.bucket AS bucket, SUM(h.segments) AS held
  FROM picked, {_UNNEST[dialect]}
  GROUP BY grouped, h.bucket
),
ranked AS (
  SELECT
    grouped,
    bucket,
    SUM(held) OVER (PARTITION BY grouped ORDER BY bucket) AS upto,
    SUM(held) OVER (PARTITION BY grouped) AS total
  FROM buckets
),
quantiles AS (
  SELECT
    grouped,
    {ranks}
  FROM ranked
  GROUP BY grouped
)
SELECT
  figures.grouped AS {COLUMN[question.by]},
  segments, errors, error_rate, retries, avg_total_ms, avg_dubbing_ms,
  {percentiles},
  min_us / 1000 AS min_total_ms,
  max_us / 1000 AS max_total_ms,
  original_bytes, dubbed_bytes, windows, days, users, channels
FROM figures
JOIN quantiles ON figures.grouped = quantiles.grouped
ORDER BY figures.grouped"""  # noqa: S608 - no part of it comes from outside


def external_table_sql(address: str, table: str) -> str:
    """BigQuery's definition of the table over the files of an archive in a bucket.

    https://cloud.google.com/bigquery/docs/hive-partitioned-queries, and for the lists
    https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#list_logical_type
    """
    pattern = file_name(date(2026, 1, 1)).replace("2026-01-01", "*")
    return f"""CREATE OR REPLACE EXTERNAL TABLE `{table}`
WITH PARTITION COLUMNS (date DATE)
OPTIONS (
  format = 'PARQUET',
  uris = ['{address}/{pattern}'],
  hive_partition_uri_prefix = '{address}',
  require_hive_partition_filter = true,
  enable_list_inference = true,
  description = 'Daily rows of streamproc, per channel, user and platform: docs/archive.md'
)"""


def _key(by: By, dialect: Dialect) -> str:
    if by == "day":
        return "date"
    if by == "month":
        return _MONTH[dialect]
    if by == "year":
        return f"CAST(EXTRACT(YEAR FROM date) AS {_TEXT[dialect]})"
    return COLUMN[by]


def _where(question: Question, dialect: Dialect) -> str:
    conditions = [f"date BETWEEN DATE '{question.since}' AND DATE '{question.until}'"]
    for name, value in (("channel", question.channel), ("user", question.user)):
        if value:
            parameter = f"@{name}" if dialect == "bigquery" else f"${name}"
            conditions.append(f"{name}_id = {parameter}")
    return " AND ".join(conditions)


def _representative(bucket: str) -> str:
    """What a value of a bucket counts as, in microseconds: docs/formats.md."""
    return f"CASE WHEN {bucket} = -1 THEN 0 ELSE 2 * POWER(51 / 49, {bucket}) / (51 / 49 + 1) END"
