from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamproc.core import details, events
from streamproc.core.events import Event

# Nothing may pass or fail by the clock of a busy machine.
unhurried = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# What Python holds for printable: no control, format or private characters, no spaces but the one.
letters = st.just(" ") | st.characters(categories=("L", "M", "N", "P", "S"))
identifiers = st.text(letters, min_size=1, max_size=12)
milliseconds = st.floats(0, 3_600_000) | st.integers(0, 3_600_000) | st.sampled_from([0.0005, 0.0015, 3_600_000.0])
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(timezones=st.none() | st.just(UTC) | offsets)
byte_counts = st.integers(0, 2**40)

event_values = st.fixed_dictionaries(
    {
        "segment_id": identifiers,
        "channel_id": identifiers,
        "session_id": identifiers,
        "user_id": identifiers,
        "received_at": moments,
        "extraction_ms": milliseconds,
        "dubbing_ms": milliseconds,
        "reinsertion_ms": milliseconds,
        "source_language": identifiers,
        "target_language": identifiers,
    },
    optional={
        "processing_started_at": st.none() | moments,
        "processing_ended_at": st.none() | moments,
        "total_ms": st.none() | milliseconds,
        "original_bytes": byte_counts,
        "dubbed_bytes": byte_counts,
        "platform": identifiers,
        "error": st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
        "retry_count": st.integers(0, 1000),
    },
)


def detail_of(event: Event) -> details.Detail:
    return events.to_detail(event, events.epoch_us(event.received_at))


@unhurried
@given(event_values)
def test_what_a_publisher_encodes_is_the_same_segment_when_it_is_read(values: dict[str, Any]) -> None:
    event = events.from_mapping(values)
    read, unknown_fields = events.decode(events.encode(event))
    assert unknown_fields == 0
    assert detail_of(read) == detail_of(event)
    names = ("segment_id", "channel_id", "session_id", "user_id")
    assert [getattr(read, name) for name in names] == [values[name] for name in names]
    assert events.encode(read) == events.encode(events.decode(events.encode(read))[0])


@unhurried
@given(event_values)
def test_a_flat_entry_is_the_same_segment_as_its_json(values: dict[str, Any]) -> None:
    event = events.from_mapping(values)
    members = {name: value for name in values if (value := getattr(event, name)) is not None}
    texts = {name: v.isoformat() if isinstance(v, datetime) else str(v) for name, v in members.items()}
    read, unknown_fields = events.decode_fields([part.encode() for pair in texts.items() for part in pair])
    assert unknown_fields == 0
    assert detail_of(read) == detail_of(event)


@unhurried
@given(event_values)
def test_a_stored_detail_is_read_back_unchanged(values: dict[str, Any]) -> None:
    detail = detail_of(events.from_mapping(values))
    assert details.decode_all(stored.encode() for stored in details.encode_all([detail, detail])) == [detail, detail]


@unhurried
@given(moments)
def test_epoch_microseconds_are_exact(moment: datetime) -> None:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    assert timedelta(microseconds=events.epoch_us(moment)) == aware - datetime(1970, 1, 1, tzinfo=UTC)


@unhurried
@given(event_values, milliseconds)
def test_rounding_moves_a_time_by_half_a_microsecond_at_most(values: dict[str, Any], ms: float) -> None:
    detail = detail_of(events.from_mapping({**values, "dubbing_ms": ms}))
    # The product is a float as well: beyond the half there is its own last digit.
    assert abs(Fraction(detail.dubbing_us) - Fraction(ms) * 1000) <= Fraction(1, 2) + Fraction(1, 10**5)
    parts_us = detail.extraction_us + detail.dubbing_us + detail.reinsertion_us
    total_ms = values.get("total_ms")
    assert detail.total_us == (parts_us if total_ms is None else round(total_ms * 1000))
