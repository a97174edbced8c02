"""docs/archive.md says what the code does: columns, manifest, states, SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import get_args

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from click.testing import CliRunner
from pages import names, read, section, snippets, table

from streamproc.cli.main import cli
from streamproc.core.day_rows import DayFold
from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.windows import WindowKey
from streamproc.roles.archive_inspector import State
from streamproc.stores.archive import parquet
from streamproc.stores.archive.manifest import Change, File, Manifest, Source
from streamproc.stores.archive.objects import RETENTION_DAYS
from streamproc.stores.archive.sql import By, Question, answer_sql, external_table_sql
from streamproc.stores.mongo.restored import KEEP_SECONDS

PAGE = "docs/archive.md"
FIRST = date(2026, 11, 22)
_TYPES = {"int64": "int64", "string": "string", "timestamp[ms, tz=UTC]": "timestamp, milliseconds, UTC"}


def _in_words(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        fields = ", ".join(f"{field.name} {field.type}" for field in kind.value_type)
        return f"list of ({fields})"
    return _TYPES[str(kind)]


def test_every_column_is_on_the_page() -> None:
    documented = [row for row in table(section(PAGE, "What is stored")) if len(row) == 3]
    expected = [[f"`{name}`", _in_words(kind), words] for name, kind, words in parquet.COLUMNS]
    assert documented == expected


def test_columns_are_described_in_the_files_themselves() -> None:
    described = {field.name: (field.metadata or {}).get(b"description", b"").decode() for field in parquet._SCHEMA}
    assert described == {name: words for name, _, words in parquet.COLUMNS}


def test_every_member_of_a_manifest_is_on_the_page() -> None:
    assert set(names(PAGE, "Manifest")) == set(Manifest.__struct_fields__)
    text = section(PAGE, "Manifest")
    for part in (File, Source, Change):
        assert all(f"`{name}`" in text for name in part.__struct_fields__), part


def test_every_state_is_on_the_page() -> None:
    assert set(names(PAGE, "How a day stands")) == set(State)


def test_seven_years_are_as_many_days_as_the_page_says() -> None:
    assert f"({RETENTION_DAYS} days)" in read(PAGE)
    assert all(date(year + 7, 3, 1) - date(year, 3, 1) <= timedelta(RETENTION_DAYS) for year in range(2026, 2040))


def test_the_page_of_retention_says_the_same() -> None:
    kept = {row[0]: row[3] for row in table(section("docs/retention.md", "What is kept, and for how long"))}
    assert kept["days of the archive"] == f"7 years ({RETENTION_DAYS} days) after the day"
    assert kept["a day brought back from the archive"] == f"{KEEP_SECONDS // 86_400} days"


def test_the_statements_on_the_page_are_those_that_are_printed() -> None:
    definition, query = snippets(PAGE, "sql")
    environment = {"STREAMPROC_ARCHIVE_URL": "gs://my-bucket/dubbing"}
    assert _printed(["archive", "bigquery"], environment) == definition
    assert _printed(["archive", "bigquery", "--by", "month", "--channel"], environment) == query


def _printed(command: list[str], environment: dict[str, str]) -> str:
    done = CliRunner().invoke(cli, command, env=environment)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_table_definition_is_sql_of_bigquery() -> None:
    """As far as a parser can tell: it does not know the clause of partitions."""
    partitions = "WITH PARTITION COLUMNS (date DATE)\n"
    definition = external_table_sql("gs://bucket/prefix", "a.b")
    assert partitions in definition
    statement = sqlglot.parse_one(definition.replace(partitions, ""), dialect="bigquery")
    assert isinstance(statement, sqlglot.exp.Create)


@pytest.mark.parametrize("by", get_args(By))
def test_bigquery_is_asked_the_same_as_duckdb(by: By, tmp_path: Path) -> None:
    """Its SQL, read by a parser of BigQuery's and put into DuckDB's, gives the same rows."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for number in range(3):
        _write(tmp_path, FIRST + timedelta(days=10 * number))
    connection.execute(
        f"CREATE VIEW archive AS SELECT * FROM read_parquet('{tmp_path}/*/day.parquet', hive_partitioning = true)"
    )
    question = Question(by, FIRST, FIRST + timedelta(days=25), channel="kan-11")
    ours = connection.execute(answer_sql(question), {"channel": "kan-11"}).fetchall()
    theirs = sqlglot.transpile(answer_sql(question, "bigquery"), read="bigquery", write="duckdb")[0]
    assert connection.execute(theirs, {"channel": "kan-11"}).fetchall() == ours
    assert len(ours) == {"day": 3, "month": 2, "year": 1, "channel": 1, "user": 4, "platform": 1}[by]


def _write(folder: Path, day: date) -> None:
    start_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
    rows = DayFold()
    for number in range(8):
        key = WindowKey(start_ms, f"kan-{11 + number % 2}", f"s-{number}", f"user-{number}")
        details = {
            f"seg-{one}": Detail(
                received_at_us=start_ms * 1000 + one,
                extraction_us=1,
                dubbing_us=10_000 * one * (number + 1),
                reinsertion_us=1,
                total_us=10_000 * one * (number + 1) + 2,
                original_bytes=one,
                dubbed_bytes=one,
                source_language="he",
                target_language="en",
            )
            for one in range(40)
        }
        rows.add(fold(key, details).document(write=1))
    (folder / f"date={day}").mkdir()
    (folder / f"date={day}" / "day.parquet").write_bytes(parquet.to_parquet(day, rows.rows()))
