"""docs/formats.md and the code agree: event, keys, detail, ledger, layout, document, histogram."""

from __future__ import annotations

import dataclasses
import random
import re
from typing import Any

import msgspec
import pytest
from pages import names, section, snippets, table

from streamproc.app import presence
from streamproc.core import details, events, fold, rows, sessions
from streamproc.core.commits import Reason
from streamproc.core.details import Detail
from streamproc.core.erasures import Erasure
from streamproc.core.events import MAX_ERROR_CHARACTERS, Event
from streamproc.core.histogram import LatencyHistogram
from streamproc.core.ledger import LedgerTerms
from streamproc.core.live import LiveRow
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo import collection
from streamproc.stores.mongo import sessions as mongo_sessions
from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.presence import SILENT_MS, LiveSum, PodReport
from streamproc.stores.redis.shard import FORMAT_VERSION

PAGE = "docs/formats.md"
WORDS = {"datetime": "date", "str": "string", "int": "integer", "float": "double", "dict": "document"}
EVENT_FIELDS = {field.encode_name: field for field in msgspec.structs.fields(Event)}


def document() -> dict[str, Any]:
    held = {f"segment-{n}": Detail(1_000_000 + n, 1, 2, 3, 6 + n, 10, 20, "he", "en") for n in range(3)}
    return fold.fold(WindowKey(0, "kan-11", "s", "u"), held).document(1)


def test_event_fields_are_those_of_the_schema() -> None:
    assert names(PAGE, "Event") == list(Event.__struct_fields__)


@pytest.mark.parametrize("row", table(section(PAGE, "Event")), ids=lambda row: str(row[0]))
def test_event_rules_are_those_of_the_schema(row: list[str]) -> None:
    name, kind, rule = row[0].strip("`"), row[1], row[2]
    field = EVENT_FIELDS[name]
    assert rule.startswith("required") == field.required
    if not field.required and field.default:
        assert f"default `{field.default}`" in rule
    alternatives = getattr(field_type := msgspec.inspect.type_info(field.type), "types", [field_type])
    allowed = {type(one).__name__: one for one in alternatives}
    word = {"str": "string", "float": "number", "int": "integer", "datetime": "time", "none": "null"}
    assert {word[one.removesuffix("Type").lower()] for one in allowed} == set(kind.split(" or "))
    for one in allowed.values():
        low = next((getattr(one, name) for name in ("ge", "min_length") if getattr(one, name, None) is not None), None)
        high = getattr(one, "le", None) or getattr(one, "max_length", None)
        if low is not None:
            assert f"{low} to {high:,}" in rule


def test_error_is_cut_where_the_page_says() -> None:
    assert f"cut at {MAX_ERROR_CHARACTERS} characters" in section(PAGE, "Event")


def test_the_last_of_a_repeated_json_key_counts() -> None:
    event = msgspec.to_builtins(msgspec.structs.asdict(_event()))
    payload = msgspec.json.encode(event)[:-1] + b',"platform":"tv"}'
    assert events.decode(payload)[0].platform == "tv"


def _event() -> Event:
    values = dict.fromkeys(("segment_id", "channel_id", "session_id", "user_id"), "x")
    numbers = dict.fromkeys(("extraction_ms", "dubbing_ms", "reinsertion_ms"), 1)
    languages = {"source_language": "he", "target_language": "en"}
    return events.from_mapping({**values, **numbers, **languages, "received_at": "2026-01-01T00:00:00Z"})


def test_keys_are_those_that_the_code_makes() -> None:
    keys: Any = ShardKeys("dubbing", "s")  # type: ignore[arg-type]
    single = {value for name, value in vars(keys).items() if not name.startswith("_")}
    window = keys.window("<hour>:<channel>:<session>:<user>")
    made = single | {window.segments, window.channel, window.user, keys.turn("swept"), keys.turn("erased")}
    assert set(names(PAGE, "Redis keys")) == made


def test_detail_positions_are_those_of_the_struct() -> None:
    rows = table(section(PAGE, "Detail"))
    assert [int(row[0]) for row in rows] == list(range(len(rows)))
    assert names(PAGE, "Detail", 1) == ["layout", *Detail.__struct_fields__]


def test_example_of_a_detail_is_what_the_code_writes() -> None:
    (example,) = snippets(PAGE, "json")
    (detail,) = details.decode_all([example.encode()])
    assert details.encode_all([detail]) == [example.strip()]
    assert (detail.extraction_us, detail.ended_after_us, detail.platform) == (45_000, 1_200_250, "ios")


def test_a_reader_ignores_positions_that_it_does_not_know() -> None:
    (example,) = snippets(PAGE, "json")
    longer = example.strip()[:-1] + ',"of a later version"]'
    assert details.decode_all([longer.encode()]) == details.decode_all([example.encode()])


def test_layout_numbers_are_those_of_the_code() -> None:
    assert f"number of this layout: {details.LAYOUT_VERSION} |" in section(PAGE, "Detail")
    assert f"stored in Redis: {FORMAT_VERSION} |" in section(PAGE, "Layout")


def test_ledger_fields_are_those_that_are_stored() -> None:
    terms = {field.name for field in dataclasses.fields(LedgerTerms)}
    read_beside_it = {"entries_added", "pending", "undelivered"}
    assert set(names(PAGE, "Ledger")) == terms - read_beside_it | {"epoch_reason", "epoch:<number>"}


def test_reasons_of_dead_letters_are_those_of_the_code() -> None:
    (row,) = [row for row in table(section(PAGE, "Dead letters")) if row[0] == "`reason`"]
    assert re.findall(r"`(\w+)`", row[1]) == list(Reason)


def test_presence_members_are_those_of_the_struct() -> None:
    assert names(PAGE, "Presence") == list(PodReport.__struct_fields__)
    rows = {row[0].strip("`"): row[1] for row in table(section(PAGE, "Presence"))}
    assert f"[{', '.join(LiveSum._fields)}]" in rows["windows"]
    assert f"[{', '.join(LiveRow._fields)}]".replace("channel_id", "channel") in rows["channels"]


def test_limits_of_presence_are_those_of_the_code() -> None:
    rows = {row[0].strip("`"): row[1] for row in table(section(PAGE, "Presence"))}
    assert f"at most {presence.TROUBLES}, of {presence.TROUBLE_CHARACTERS} characters" in rows["troubles"]
    assert f"the {presence.CHANNELS} channels" in rows["channels"]
    assert f"silent for {SILENT_MS // 1000} s is removed" in section(PAGE, "Redis keys")


def test_document_fields_are_those_of_the_fold() -> None:
    found = []
    for name, value in document().items():
        found += [f"metadata.{key}" for key in value] if name == "metadata" else [name]
    assert names(PAGE, "Measurement") == found


def test_types_of_document_fields_are_those_of_the_fold() -> None:
    made = document()
    flat = made | {f"metadata.{name}": value for name, value in made["metadata"].items()}
    for name, kind, *_ in table(section(PAGE, "Measurement")):
        assert WORDS[type(flat[name.strip("`")]).__name__] == kind, name


def test_fields_of_session_metrics_are_those_that_are_kept() -> None:
    hour = rows.document_of(fold.fold(WindowKey(0, "kan-11", "s", "u"), {"a": Detail(1, 2, 3, 4, 9, 1, 1, "he", "en")}))
    kept = sessions.work_out(None, [hour], sessions.LastError(1, "timeout"), sessions.SETTLED_AFTER_MS + 1)
    assert kept is not None
    made = {"source": collection.COLLECTION, **kept.document()}
    assert names(PAGE, "Session metrics") == list(made)
    from_windows = [name for name in made if name not in ("source", "last_error", "settled", "version")]
    assert list(made["settled"]) == from_windows
    for name, kind, *_ in table(section(PAGE, "Session metrics")):
        assert WORDS[type(made[name.strip("`")]).__name__] == kind, name
    assert f"`{mongo_sessions.FIELD}`" in section(PAGE, "Session metrics")


def test_collection_options_are_those_of_the_code() -> None:
    text = " ".join(section(PAGE, "Measurement").split())
    assert f"`{collection.COLLECTION}`" in text
    assert f"`timeField` is `{collection.TIME_FIELD}`, `metaField` is `{collection.META_FIELD}`" in text
    assert f"granularity `{collection.GRANULARITY}`" in text
    days = collection.EXPIRE_AFTER_SECONDS // 86_400
    assert f"deletes it between {days} and {days + 1} days after" in text
    assert all(f"`metadata.{name}`" in text for name in collection.INDEXED)


def test_members_of_a_receipt_are_those_of_the_code() -> None:
    assert names(PAGE, "Receipt") == list(Erasure("", "", 0, 0, 0, 0).receipt())


def test_reading_snippet_takes_the_highest_of_each_window() -> None:
    read: dict[str, Any] = {}
    exec(snippets(PAGE, "python")[0], read)
    one, other = document(), document()
    other["metadata"] |= {"session_id": "other"}
    twins = [{**one, "metadata": one["metadata"] | {"revision": r, "write": w}} for r, w in [(3, 1), (3, 2), (2, 9)]]
    best = read["highest_of_each"]([other, *twins])
    assert sorted((d["metadata"]["session_id"], d["metadata"]["revision"], d["metadata"]["write"]) for d in best) == [
        ("other", 3, 1),
        ("s", 3, 2),
    ]


@pytest.mark.parametrize("q", [0, 0.5, 0.95, 0.99, 1])
def test_histogram_snippet_finds_the_quantile_over_several_hours_within_two_percent(q: float) -> None:
    snippet: dict[str, Any] = {}
    exec(snippets(PAGE, "python")[1], snippet)
    rng = random.Random(7)
    hours = [[int(rng.lognormvariate(14, 1)) for _ in range(count)] for count in (240, 17, 1)] + [[0]]
    histograms = [LatencyHistogram.of(hour) for hour in hours]
    found = snippet["quantile_ms"]([one.to_document() for one in histograms], q)
    merged = LatencyHistogram()
    for one in histograms:
        merged = merged.merge(one)
    assert found * 1000 == pytest.approx(merged.quantile_us(q))
    values = sorted(value for hour in hours for value in hour)
    exact_us = values[max(1, -(-int(q * len(values) * 1e6) // 1_000_000)) - 1]
    assert found * 1000 == pytest.approx(exact_us, rel=0.02)
