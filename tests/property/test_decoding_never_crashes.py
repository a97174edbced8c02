"""Whatever arrives in the stream, reading it ends in an event or in a refusal, never in a crash."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamproc.core import commits, details, events
from streamproc.core.commits import Entry, Planner, Reason, WindowBatch, entry_ms
from streamproc.core.events import Event, InvalidEvent
from streamproc.core.windows import Windowing, WindowKey

# Nothing may pass or fail by the clock of a busy machine.
unhurried = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEN = 1_714_557_600_000  # 2024-05-01T10:00:00Z
WINDOWING = Windowing(length_ms=5_000, grace_ms=1_000, horizon_ms=60_000, quiet_ms=2_000, future_ms=3_000)
VALID: dict[str, Any] = {
    "segment_id": "seg-1",
    "channel_id": "kan-11",
    "session_id": "session-7",
    "user_id": "dana",
    "received_at": "2024-05-01T10:00:00Z",
    "extraction_ms": 1.5,
    "dubbing_ms": 2,
    "reinsertion_ms": 3,
    "source_language": "he",
    "target_language": "en",
    "processing_started_at": "2024-05-01T10:00:01+02:00",
    "total_ms": 7,
    "original_bytes": 5,
    "platform": "ios",
    "error": "timeout",
    "retry_count": 1,
}
PAYLOAD = json.dumps(VALID).encode()

# Text of every kind, half surrogates and numbers of all sizes included: json writes them all.
texts = st.text(st.characters(), max_size=8)
numbers = st.integers() | st.floats() | st.sampled_from([10**30, 2**63, -(2**63), 10**400])
scalars = st.none() | st.booleans() | numbers | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
times = st.sampled_from(
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999999-23:59",
        "9999-12-31T23:59:59.999999-23:59",
        "1970-01-01T00:00:00",
        "2016-12-31T23:59:60Z",
        "2024-05-01 10:00:00.123456789",
    ]
)
names = st.sampled_from(Event.__struct_fields__) | texts
changed_values = st.dictionaries(names, anything | times, max_size=4)
changed_payloads = st.builds(lambda changes: json.dumps({**VALID, **changes}).encode(), changed_values)


@st.composite
def spliced_payloads(draw: st.DrawFn) -> bytes:
    """A valid payload of which a piece is replaced by arbitrary bytes."""
    start = draw(st.integers(0, len(PAYLOAD)))
    end = draw(st.integers(start, min(len(PAYLOAD), start + 12)))
    return (
        PAYLOAD[:start] + draw(st.binary(max_size=6) | st.sampled_from([b"NaN", b"1e999", b"\\ud800"])) + PAYLOAD[end:]
    )


payloads = st.binary(max_size=60) | changed_payloads | spliced_payloads() | st.just(PAYLOAD)
flat_values = (
    st.binary(max_size=10)
    | times.map(str.encode)
    | scalars.map(lambda value: str(value)[:4000].encode(errors="surrogatepass"))
)
flat_names = names.map(lambda name: name.encode(errors="surrogatepass"))


@st.composite
def flat_fields(draw: st.DrawFn) -> list[bytes]:
    """A flat entry: a valid one of which some fields are changed, some added, some left out."""
    pairs = {name.encode(): str(value).encode() for name, value in VALID.items()}
    pairs |= draw(st.dictionaries(flat_names, flat_values, max_size=4))
    for name in draw(st.lists(st.sampled_from(sorted(pairs)), max_size=2)):
        pairs.pop(name, None)
    return [part for pair in pairs.items() for part in pair]


def fit_to_be_written(text: str) -> bool:
    return text.encode().decode() == text


def judge_refusal(error: InvalidEvent) -> None:
    message = str(error)
    assert 0 < len(message) < 1000
    assert fit_to_be_written(message)


@unhurried
@given(payloads)
@example(json.dumps({**VALID, "x": 10**4000}).encode().replace(b'"user_id": "dana"', b'"user_id": ""'))
@example(PAYLOAD.replace(b'"original_bytes": 5', b'"original_bytes": ' + b"9" * 5000))
@example(PAYLOAD.replace(b'"dana"', b'"\\ud800"'))
def test_a_payload_is_an_event_or_a_refusal(payload: bytes) -> None:
    try:
        event, unknown_fields = events.decode(payload)
    except InvalidEvent as error:
        judge_refusal(error)
    else:
        # What was accepted can be stored and named.
        details.encode_all([events.to_detail(event, events.epoch_us(event.received_at))])
        key = WindowKey(TEN, event.channel_id, event.session_id, event.user_id)
        assert WINDOWING.parse_name(WINDOWING.name(key)) == key
        assert unknown_fields >= 0


@unhurried
@given(flat_fields())
def test_a_flat_entry_is_an_event_or_a_refusal(fields: list[bytes]) -> None:
    try:
        event, unknown_fields = events.decode_fields(fields)
    except InvalidEvent as error:
        judge_refusal(error)
    else:
        assert unknown_fields == len(set(fields[::2]) - {name.encode() for name in Event.__struct_fields__})
        assert all(getattr(event, name).isprintable() for name in ("segment_id", "user_id", "platform"))


@unhurried
@given(payloads)
def test_whose_a_payload_is_can_always_be_asked(payload: bytes) -> None:
    user_id, received_at_us = events.subject_of(payload)
    assert user_id is None or fit_to_be_written(user_id)
    assert received_at_us is None or WINDOWING.start_of(received_at_us // 1000) is not None
    with contextlib.suppress(InvalidEvent):
        event, _ = events.decode(payload)
        assert (user_id, received_at_us) == (event.user_id, events.epoch_us(event.received_at))


@unhurried
@given(changed_values)
def test_a_publisher_gets_an_event_that_can_be_sent_or_a_refusal(changes: dict[str, Any]) -> None:
    try:
        event = events.from_mapping({**VALID, **changes})
    except InvalidEvent as error:
        judge_refusal(error)
    else:
        events.decode(events.encode(event))


ids = st.builds(lambda ms, number: b"%d-%d" % (ms, number), st.integers(TEN - 70_000, TEN + 70_000), st.integers(0, 9))
sessions = st.sampled_from(["session-1", "session-2", "session-3", "session-4"])
healthy = st.builds(
    lambda session, second: json.dumps(
        {**VALID, "session_id": session, "received_at": f"2024-05-01T10:00:{second:02}"}
    ),
    sessions,
    st.integers(0, 59),
).map(str.encode)
fields_of_any_kind = st.one_of(
    st.none(),
    st.just([]),
    st.builds(lambda payload: [b"data", payload], healthy),
    st.builds(lambda payload: [b"data", payload], payloads),
    st.builds(lambda payload: [b"trace", b"x", b"data", payload], payloads),
    flat_fields(),
    st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=3).map(
        lambda pairs: [part for pair in pairs for part in pair]
    ),
)
batches = st.lists(st.tuples(ids, fields_of_any_kind), max_size=12)


def added_ms(batch: WindowBatch, now_ms: int) -> list[int]:
    return [min(entry_ms(entry_id), now_ms) for entry_id in batch.entry_ids]


@unhurried
@given(batches, st.integers(TEN - 70_000, TEN + 140_000), st.sampled_from([1, 3]))
def test_every_entry_of_a_batch_ends_in_exactly_one_list(batch: list[Entry], now_ms: int, shards: int) -> None:
    plan = Planner(WINDOWING, shard=0, shards=shards).plan(batch, now_ms)

    placed = [entry_id for window in plan.windows for entry_id in window.entry_ids]
    dead = [letter.entry_id for letter in plan.dead]
    misplaced = [entry.entry_id for entry in plan.misplaced]
    assert Counter([*placed, *dead, *misplaced, *plan.lost]) == Counter(entry_id.decode() for entry_id, _ in batch)
    assert Counter(plan.lost) == Counter(entry_id.decode() for entry_id, fields in batch if not fields)

    assert len({window.key for window in plan.windows}) == len(plan.windows)
    for window in plan.windows:
        assert len(window.entry_ids) == len(window.segment_ids) == len(window.details)
        assert all(WINDOWING.start_of(d.received_at_us // 1000) == window.key.start_ms for d in window.details)
        assert window.due_ms == min(WINDOWING.due_at(window.key.start_ms, ms) for ms in added_ms(window, now_ms))
        assert commits.shard_of(window.key.session_id, shards) == 0
    for letter in plan.dead:
        assert letter.detail
        assert fit_to_be_written(letter.detail)
        assert letter.user_id is None or fit_to_be_written(letter.user_id)
        assert letter.reason in {Reason.MALFORMED, Reason.FUTURE, Reason.TOO_LATE}
    assert all(0 < entry.shard < shards for entry in plan.misplaced)
