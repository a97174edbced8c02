"""Rows as CSV: as RFC 4180 has it, and harmless for spreadsheets."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.answers.results import Answer, HourRow
from streamproc.answers.tables import to_csv

from .conftest import FORMULA_CHANNEL
from .serving import Web
from .test_answers import encoded

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOURLY = "/api/channels/kan-11/hourly"


def rows(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


async def test_the_hours_as_csv_say_what_json_says(web: Web) -> None:
    (row,) = rows((await web.get(f"{HOURLY}?format=csv")).body)
    (hour,) = (await web.get(HOURLY)).data["hours"]
    assert row.pop("channel_id") == "kan-11"
    assert row.keys() == hour.keys()
    assert (row["segments"], row["avg_total_ms"], row["state"]) == ("3", "1200.75", "final")
    assert (row["hour"], row["source_languages"]) == (hour["hour"], '{"he":3}')


async def test_lines_end_as_rfc_4180_has_it_and_the_first_names_the_columns(web: Web) -> None:
    reply = await web.get(f"{HOURLY}?format=csv")
    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="hourly.csv"'
    assert reply.headers["Vary"] == "Accept"
    assert reply.body.count(b"\r\n") == reply.body.count(b"\n") == 2
    assert reply.body.startswith(b"channel_id,")


async def test_without_rows_there_are_columns_all_the_same(web: Web) -> None:
    reply = await web.get("/api/channels/nothing/hourly?format=csv")
    assert reply.body.count(b"\r\n") == 1
    assert set(reply.body.decode().strip().split(",")) == {"channel_id", *HourRow.__struct_encode_fields__}


@pytest.mark.parametrize(
    "path",
    [
        "/api/channels/kan-11/trends",
        "/api/sessions/s-kan-11/hours",
        "/api/users/dana%2F1/activity",
        "/api/hours",
    ],
)
async def test_all_rows_of_hours_and_days_can_be_had_as_csv(web: Web, path: str) -> None:
    answer = (await web.get(path)).data
    found = rows((await web.get(path, Accept="text/csv")).body)
    assert [int(row["segments"]) for row in found] == [
        one["segments"] for one in answer.get("hours", answer.get("days"))
    ]


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("text/csv", "", "text/csv"),
        ("Text/CSV;q=0.9, */*;q=0.1", "", "text/csv"),
        ("text/csv, application/json", "", "application/json"),
        ("*/*", "", "application/json"),
        ("text/csv", "?format=json", "application/json"),
        ("application/json", "?format=csv", "text/csv"),
    ],
)
async def test_the_parameter_wins_over_the_header(web: Web, accept: str, query: str, kind: str) -> None:
    reply = await web.get(f"{HOURLY}{query}", Accept=accept)
    assert reply.headers["Content-Type"].partition(";")[0] == kind


async def test_an_id_that_is_a_formula_is_made_text(web: Web) -> None:
    (row,) = rows((await web.get(f"/api/channels/{encoded(FORMULA_CHANNEL)}/hourly?format=csv")).body)
    assert row["channel_id"] == f"'{FORMULA_CHANNEL}"


class _Row(msgspec.Struct):
    text: str
    number: float
    names: dict[str, int]
    nothing: int | None


class _Answer(Answer, frozen=True, kw_only=True):
    channel_id: str
    hours: list[_Row]


@given(st.text(), st.floats(allow_nan=False), st.dictionaries(st.text(), st.integers(0, 9)))
async def test_a_table_reads_back_as_what_it_was_and_no_cell_is_a_formula(
    text: str, number: float, names: dict[str, int]
) -> None:
    now = datetime.now(UTC)
    answer = _Answer(missing=[], since=now, until=now, channel_id=text, hours=[_Row(text, number, names, None)])
    (row,) = rows(to_csv(answer).encode())
    assert row["text"] in (text, f"'{text}")
    assert row["channel_id"] == row["text"]
    assert not row["text"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert float(row["number"]) == number
    assert msgspec.json.decode(row["names"]) == names
    assert row["nothing"] == ""
