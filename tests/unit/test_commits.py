"""What becomes of each entry of a batch, judged from the entry alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamproc.core import commits
from streamproc.core.commits import (
    DeadLetter,
    Entry,
    Misplaced,
    Plan,
    Planner,
    Reason,
    WindowBatch,
    payload_of,
    shard_of,
)
from streamproc.core.windows import Windowing, WindowKey

HOUR_MS = 3_600_000
TEN = 1_714_557_600_000  # 2024-05-01T10:00:00Z
WINDOWING = Windowing()
WINDOW = WindowKey(TEN, "kan-11", "session-7", "dana")
HALF_PAST = TEN + HOUR_MS // 2


def at(ms: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat()


def values(**changes: Any) -> dict[str, Any]:
    return {
        "segment_id": "seg-1",
        "channel_id": "kan-11",
        "session_id": "session-7",
        "user_id": "dana",
        "received_at": at(HALF_PAST),
        "extraction_ms": 1,
        "dubbing_ms": 2,
        "reinsertion_ms": 3,
        "source_language": "he",
        "target_language": "en",
        **changes,
    }


def payload(**changes: Any) -> bytes:
    return json.dumps(values(**changes)).encode()


def entry_id(added_ms: int, number: int = 0) -> str:
    return f"{added_ms}-{number}"


def entry(added_ms: int = HALF_PAST, number: int = 0, **changes: Any) -> Entry:
    return entry_id(added_ms, number).encode(), [b"data", payload(**changes)]


def flat(**changes: Any) -> list[bytes]:
    return [str(part).encode() for pair in values(**changes).items() for part in pair]


def plan(*entries: Entry, now_ms: int | None = None, planner: Planner | None = None) -> Plan:
    """Plan entries, with Redis' time at the last one's id unless it is given."""
    if now_ms is None:
        now_ms = max(commits.entry_ms(one.decode()) for one, _ in entries)
    return (planner or Planner(WINDOWING)).plan(entries, now_ms)


def only_letter(found: Plan) -> DeadLetter:
    assert (found.windows, found.misplaced, found.lost) == ([], [], [])
    (letter,) = found.dead
    return letter


def test_an_empty_batch_is_an_empty_plan() -> None:
    assert Planner(WINDOWING).plan([], HALF_PAST) == Plan()


def test_entries_of_one_window_are_grouped_in_the_order_read() -> None:
    found = plan(entry(HALF_PAST, 1, segment_id="b"), entry(HALF_PAST, 2, segment_id="a", dubbing_ms=7))
    (window,) = found.windows
    assert window.key == WINDOW
    assert window.entry_ids == [entry_id(HALF_PAST, 1), entry_id(HALF_PAST, 2)]
    assert window.segment_ids == ["b", "a"]
    assert [detail.dubbing_us for detail in window.details] == [2_000, 7_000]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"channel_id": "other"}, WINDOW._replace(channel_id="other")),
        ({"session_id": "other"}, WINDOW._replace(session_id="other")),
        ({"user_id": "other"}, WINDOW._replace(user_id="other")),
        ({"received_at": at(TEN - 0.001)}, WINDOW._replace(start_ms=TEN - HOUR_MS)),
    ],
)
def test_another_hour_channel_session_or_user_is_another_window(changes: dict[str, Any], key: WindowKey) -> None:
    found = plan(entry(), entry(**changes), entry(number=2))
    assert [window.key for window in found.windows] == [WINDOW, key]
    assert [len(window.details) for window in found.windows] == [2, 1]


def test_a_segment_seen_twice_in_a_batch_is_left_to_the_window_to_judge() -> None:
    assert plan(entry(number=1), entry(number=2)).windows[0].segment_ids == ["seg-1", "seg-1"]


def test_a_batch_is_due_at_the_earliest_that_one_of_its_entries_asks_for() -> None:
    end = TEN + HOUR_MS
    late, later = end + HOUR_MS, end + 2 * HOUR_MS
    for entries in [(entry(late), entry(later)), (entry(later), entry(late))]:
        assert plan(*entries).windows[0].due_ms == late + WINDOWING.quiet_ms
    assert plan(entry(later), entry(HALF_PAST)).windows[0].due_ms == end + WINDOWING.grace_ms


@pytest.mark.parametrize("before_ms", [0, 1, 300_000])
def test_an_event_up_to_the_tolerance_ahead_of_its_entry_counts(before_ms: int) -> None:
    assert len(plan(entry(HALF_PAST - before_ms)).windows) == 1


@pytest.mark.parametrize("ahead_ms", [300_000.001, 300_001, 10 * HOUR_MS])
def test_an_event_further_ahead_of_its_entry_is_future(ahead_ms: float) -> None:
    received_at = at(HALF_PAST + ahead_ms)
    letter = only_letter(plan(entry(HALF_PAST, received_at=received_at), now_ms=HALF_PAST + HOUR_MS))
    assert letter.reason is Reason.FUTURE
    assert letter.detail == f"received_at {received_at} is more than 300 s after the entry was added"
    assert letter.user_id == "dana"
    assert letter.start_ms == WINDOWING.start_of(int(HALF_PAST + ahead_ms))


FORGETTABLE = TEN + HOUR_MS + WINDOWING.horizon_ms


def test_an_event_added_at_the_end_of_the_horizon_counts() -> None:
    assert plan(entry(FORGETTABLE)).windows[0].due_ms == FORGETTABLE + WINDOWING.quiet_ms


def test_an_event_added_after_the_horizon_is_too_late() -> None:
    letter = only_letter(plan(entry(FORGETTABLE + 1)))
    assert letter == DeadLetter(
        entry_id(FORGETTABLE + 1),
        Reason.TOO_LATE,
        f"received_at {at(HALF_PAST)}: added 86400.001 s after its window's end, allowed 86400 s",
        payload(),
        "dana",
        TEN,
    )


def test_an_entry_that_waited_for_days_is_not_late() -> None:
    found = plan(entry(HALF_PAST), now_ms=FORGETTABLE + 100 * WINDOWING.horizon_ms)
    assert found.windows[0].due_ms == TEN + HOUR_MS + WINDOWING.grace_ms


def test_an_entry_whose_id_is_ahead_of_redis_time_was_added_at_redis_time() -> None:
    ahead = HALF_PAST + 10 * WINDOWING.horizon_ms
    assert len(plan(entry(ahead), now_ms=HALF_PAST).windows) == 1
    assert len(plan(entry(ahead), now_ms=HALF_PAST - 300_000).windows) == 1
    assert only_letter(plan(entry(ahead), now_ms=HALF_PAST - 300_001)).reason is Reason.FUTURE
    assert only_letter(plan(entry(ahead), now_ms=FORGETTABLE + 1)).reason is Reason.TOO_LATE
    late_ms = TEN + 2 * HOUR_MS
    assert plan(entry(ahead), now_ms=late_ms).windows[0].due_ms == late_ms + WINDOWING.quiet_ms


@pytest.mark.parametrize(
    ("received_at", "reason"),
    [
        ("1970-01-01T00:00:00Z", Reason.TOO_LATE),
        ("0001-01-01T00:00:00+23:59", Reason.TOO_LATE),
        ("2100-01-01T00:00:00Z", Reason.FUTURE),
        ("9999-12-31T23:59:59.999999-23:59", Reason.FUTURE),
    ],
)
def test_a_time_far_away_is_a_dead_letter(received_at: str, reason: Reason) -> None:
    letter = only_letter(plan(entry(received_at=received_at)))
    assert letter.reason is reason
    assert letter.user_id == "dana"


@pytest.mark.parametrize("fields", [None, [], ()])
def test_an_entry_without_fields_was_deleted_by_a_stranger_and_is_lost(fields: Sequence[bytes] | None) -> None:
    found = plan((b"5-1", fields), entry())
    assert found.lost == ["5-1"]
    assert len(found.windows) == 1
    assert (found.dead, found.misplaced) == ([], [])


def test_the_shard_of_a_session_is_its_crc_32_modulo_the_shards() -> None:
    # zlib's CRC-32 of "123456789" is the check value of the algorithm: 0xCBF43926.
    assert shard_of("123456789", 2**32) == 0xCBF43926
    assert shard_of("123456789", 1) == 0
    assert shard_of("דנה", 1000) == 0x73BF0831 % 1000
    assert {shard_of(f"session-{i}", 4) for i in range(100)} == {0, 1, 2, 3}


def test_an_entry_of_another_shard_is_misplaced_with_all_its_fields() -> None:
    home = shard_of("session-7", 4)
    away = (home + 1) % 4
    fields = [b"trace", b"x", b"data", payload(later="unknown")]
    found = plan((entry_id(HALF_PAST).encode(), fields), planner=Planner(WINDOWING, shard=away, shards=4))
    assert found.misplaced == [Misplaced(entry_id(HALF_PAST), home, fields)]
    assert (found.windows, found.dead, found.lost) == ([], [], [])
    # Where it belongs they are counted, once.
    assert found.unknown_fields == 0
    assert len(plan(entry(), planner=Planner(WINDOWING, shard=home, shards=4)).windows) == 1


def test_a_malformed_entry_is_a_dead_letter_wherever_it_lies() -> None:
    planner = Planner(WINDOWING, shard=1, shards=4)
    assert only_letter(plan(entry(session_id=""), planner=planner)).reason is Reason.MALFORMED


def test_unknown_fields_are_counted_over_the_batch() -> None:
    found = plan(entry(a=1), entry(b=2, c=3), (entry_id(HALF_PAST, 3).encode(), flat(d=4)))
    assert found.unknown_fields == 4
    assert len(found.windows[0].details) == 3


def test_a_malformed_entry_stops_no_other() -> None:
    found = plan(entry(number=1), entry(number=2, dubbing_ms=-1), entry(number=3))
    assert len(found.windows[0].details) == 2
    assert found.dead == [
        DeadLetter(
            entry_id(HALF_PAST, 2),
            Reason.MALFORMED,
            "dubbing_ms: expected `float` >= 0.0, got -1",
            payload(dubbing_ms=-1),
            "dana",
            TEN,
        )
    ]


@pytest.mark.parametrize(
    ("fields", "kept", "user_id", "start_ms"),
    [
        ([b"data", b"\xff\xfe"], b"\xff\xfe", None, 0),
        ([b"data", b""], b"", None, 0),
        ([b"data", b'{"user_id": "noa"}'], b'{"user_id": "noa"}', "noa", 0),
        ([b"trace", b"x", b"data", b"{}"], b"{}", None, 0),
        ([b"data", payload().replace(b": 2,", b": NaN,")], payload().replace(b": 2,", b": NaN,"), "dana", TEN),
        ([b"user_id", b"noa"], b'{"user_id":"noa"}', "noa", 0),
        ([b"user_id", b"noa", b"user_id", b"dana"], b'{"user_id":"dana"}', "dana", 0),
        ([b"user_id", b"n\xffa", b"\xfe", b"1"], b'{"user_id":"n\\\\xffa","\\\\xfe":"1"}', "n\\xffa", 0),
        ([b"received_at", at(HALF_PAST).encode()], f'{{"received_at":"{at(HALF_PAST)}"}}'.encode(), None, TEN),
        ([b"", b""], b'{"":""}', None, 0),
    ],
    ids=repr,
)
def test_a_dead_letter_keeps_what_came_and_whose_it_is_as_far_as_it_can_be_read(
    fields: list[bytes], kept: bytes, user_id: str | None, start_ms: int
) -> None:
    letter = only_letter(plan((entry_id(HALF_PAST).encode(), fields)))
    assert (letter.reason, letter.payload) == (Reason.MALFORMED, kept)
    assert (letter.user_id, letter.start_ms) == (user_id, start_ms)
    assert letter.detail


def test_a_flat_entry_counts_like_one_with_data() -> None:
    by_fields = plan((entry_id(HALF_PAST).encode(), flat())).windows[0]
    by_data = plan(entry()).windows[0]
    for name in WindowBatch.__slots__:
        assert getattr(by_fields, name) == getattr(by_data, name)


@pytest.mark.parametrize(
    "fields",
    [
        [b"data", payload(), b"trace", b"abc"],
        [b"trace", b"abc", b"data", payload()],
        [b"user_id", b"noa", b"data", payload()],
        [b"data", payload(), b"data", payload(user_id="noa")],
        [b"trace", b"data", b"data", payload()],
    ],
)
def test_where_there_is_data_other_fields_of_the_entry_mean_nothing(fields: list[bytes]) -> None:
    found = plan((entry_id(HALF_PAST).encode(), fields))
    assert [window.key for window in found.windows] == [WINDOW]
    assert payload_of(fields) == payload()


def test_a_value_that_reads_data_is_no_field_of_that_name() -> None:
    found = plan((entry_id(HALF_PAST).encode(), flat(platform="data")))
    assert found.windows[0].details[0].platform == "data"


@pytest.mark.parametrize(
    ("fields", "kept", "start_ms"),
    [([b"data", payload()], payload(), TEN), (flat(), None, TEN), (None, b"{}", 0), ([], b"{}", 0)],
    ids=["data", "flat", "deleted", "empty"],
)
def test_a_poisonous_entry_keeps_user_and_window(fields: list[bytes] | None, kept: bytes | None, start_ms: int) -> None:
    letter = commits.poison((b"5-1", fields), "killed its consumer", WINDOWING)
    assert (letter.entry_id, letter.reason, letter.detail) == ("5-1", Reason.POISON, "killed its consumer")
    assert letter.payload == (kept or payload_of(flat()))
    assert (letter.user_id, letter.start_ms) == ("dana" if start_ms else None, start_ms)


def test_an_entry_was_added_at_the_milliseconds_of_its_id() -> None:
    assert commits.entry_ms("1714557600000-12") == TEN
    assert commits.entry_ms("0-1") == 0
