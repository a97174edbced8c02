from __future__ import annotations

from dataclasses import replace

import pytest

from streamproc.core.erasure_key import ErasureKey, WrongKey
from streamproc.core.erasures import Erasure, Pass, State, Subject, Subjects, Tally, ask, newest_of_each
from streamproc.core.windows import Windowing

HOUR_MS = 3_600_000
WINDOWING = Windowing()
KEY = ErasureKey("a key for tests")
#: 2026-01-23 10:00 UTC
START_MS = 1_769_162_400_000
RETENTION_MS = 90 * 24 * HOUR_MS


def erasure(now_ms: int = START_MS, user_hash: str = "hash-of-dana", erasure_id: str = "e1") -> Erasure:
    return ask(erasure_id, user_hash, b"sealed", now_ms, WINDOWING, RETENTION_MS)


# The bound


@pytest.mark.parametrize(
    ("minute", "covered_start_ms"),
    [(0, START_MS), (54.99, START_MS), (55, START_MS + HOUR_MS), (59, START_MS + HOUR_MS)],
)
def test_an_erasure_covers_all_that_an_event_of_now_can_fall_in(minute: float, covered_start_ms: int) -> None:
    """Events may be five minutes ahead."""
    one = erasure(START_MS + int(minute * 60_000))
    assert one.covered_start_ms == covered_start_ms
    assert one.covered_until_ms == covered_start_ms + HOUR_MS


def test_it_may_have_to_be_applied_again_for_as_long_as_a_covered_window_could_come_back() -> None:
    one = erasure()
    assert one.keep_until_ms == WINDOWING.forgettable_at(one.covered_start_ms) + RETENTION_MS


def test_of_each_user_the_newest_covers_the_others() -> None:
    old, new = erasure(START_MS), erasure(START_MS + HOUR_MS, erasure_id="e2")
    other = erasure(START_MS - HOUR_MS, user_hash="hash-of-noam", erasure_id="e3")
    assert {one.id for one in newest_of_each([new, old, other])} == {"e2", "e3"}


# Progress


def test_the_second_pass_waits_until_a_flush_that_was_under_way_must_have_ended() -> None:
    one = erasure()
    assert (one.state, one.next_pass(), one.due_at_ms(60_000)) == (State.UNDER_WAY, Pass.FIRST, 0)
    one = replace(one, first_pass_at_ms=START_MS + 5)
    assert (one.state, one.next_pass(), one.due_at_ms(60_000)) == (State.UNDER_WAY, Pass.SECOND, START_MS + 60_005)
    one = replace(one, completed_at_ms=START_MS + 60_010)
    assert (one.state, one.next_pass(), one.due_at_ms(60_000)) == (State.COMPLETE, Pass.AGAIN, 0)


def test_a_layer_that_was_away_makes_it_incomplete_until_it_is_complete() -> None:
    one = replace(erasure(), trouble={"measurements": "AutoReconnect"})
    assert one.state is State.INCOMPLETE
    assert replace(one, completed_at_ms=START_MS).state is State.COMPLETE


def test_the_receipt_says_what_was_erased_where_and_of_whom_only_by_hash() -> None:
    tallies = {
        "first": {"redis_0": {"windows": 2, "segments": 7, "stream_entries": 5}, "measurements": {"documents": 3}},
        "second": {"redis_0": {"dead_letters": 1}, "measurements": {"documents": 1}},
    }
    one = replace(erasure(), tallies=tallies, first_pass_at_ms=START_MS + 1, completed_at_ms=START_MS + 60_123)
    assert one.receipt() == {
        "erasure": "e1",
        "state": "complete",
        "user_hash": "hash-of-dana",
        "covers_windows_until": "2026-01-23T11:00:00.000Z",
        "started_at": "2026-01-23T10:00:00.000Z",
        "ended_at": "2026-01-23T10:01:00.123Z",
        "sessions_deleted": 0,
        "session_ids": [],
        "timeseries_docs_deleted": 4,
        "redis_segments_deleted": 7,
        "redis_windows_deleted": 2,
        "stream_entries_deleted": 5,
        "dead_letters_deleted": 1,
        "archive_rows_deleted": 0,
        "archive_files_rewritten": 0,
        "passes": tallies,
        "trouble": {},
    }


def test_sessions_are_named_by_their_hashes_each_once_however_often_they_were_erased() -> None:
    tallies: dict[str, dict[str, Tally]] = {
        "first": {"sessions": {"sessions": ["hash-b", "hash-a"]}, "archive": {"archive_rows": 3, "archive_files": 1}},
        "second": {"sessions": {"sessions": []}},
        "again": {"sessions": {"sessions": ["hash-b"]}},
    }
    receipt = replace(erasure(), tallies=tallies).receipt()
    assert (receipt["sessions_deleted"], receipt["session_ids"]) == (2, ["hash-a", "hash-b"])
    assert (receipt["archive_rows_deleted"], receipt["archive_files_rewritten"]) == (3, 1)
    assert [layers["sessions"] for layers in receipt["passes"].values()] == [{"sessions": n} for n in (2, 0, 1)]


# Whose a payload is


def find(
    payload: str | bytes, added_ms: int = START_MS + 2 * HOUR_MS, users: tuple[str, ...] = ("noam", "dana")
) -> str | None:
    """The user who is found to be covered, of an erasure asked for at START_MS."""
    subjects = [Subject(user, "", START_MS, START_MS) for user in users]
    position = Subjects(subjects, WINDOWING).find(payload if isinstance(payload, bytes) else payload.encode(), added_ms)
    return None if position is None else users[position]


@pytest.mark.parametrize(
    "payload",
    [
        '{"user_id":"dana","received_at":"2026-01-23T10:59:59.999Z"}',
        '{"user_id":"d\\u0061na","received_at":"2026-01-23T10:00:00Z"}',
        '{"received_at":"2020-01-01T00:00:00","user_id":"dana","other":{"a":[1]}}',
        '{"user_id":"dana"}',
        '{"user_id":"dana","received_at":null}',
        '{"user_id":"dana","received_at":"yesterday"}',
        '{"user_id":"dana","received_at":12345678901234567890}',
        '{"user_id":"dana","dubbing_ms":NaN}',
        '{"user_id":"dana","received_at":"2026-01-23T10:00:00Z","cut of',
    ],
)
def test_a_payload_of_the_user_is_covered_by_its_window_or_where_that_cannot_be_read(payload: str) -> None:
    assert find(payload) == "dana"


@pytest.mark.parametrize(
    "payload",
    [
        '{"user_id":"dana","received_at":"2026-01-23T11:00:00Z"}',
        '{"user_id":"roni","received_at":"2026-01-23T10:00:00Z"}',
        '{"user_id":"roni","error":"dana called"}',
        '{"session_id":"dana"}x',
    ],
)
def test_a_later_window_and_other_users_are_not_covered(payload: str) -> None:
    assert find(payload, users=("noam",) if payload.endswith("x") else ("noam", "dana")) is None


def test_what_had_been_added_before_the_request_is_covered_whatever_its_window() -> None:
    """A dead letter of an event in the far future is in no window."""
    payload = '{"user_id":"dana","received_at":"2099-01-01T00:00:00Z"}'
    assert (find(payload, START_MS), find(payload, START_MS + 1)) == ("dana", None)


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b"dana", "dana"),
        (b"user=dana;", "dana"),
        (b'["dana"]', "dana"),
        (b"\xff dana \xff", "dana"),
        (b'{"user_id": 5, "viewer": "dana"}', "dana"),
        (b"danam, dana-2 and _dana", None),
        (b"jordana", None),
        (b"", None),
    ],
)
def test_a_payload_of_nobody_known_belongs_to_whom_it_names(payload: bytes, found: str | None) -> None:
    assert find(payload) == found


def test_the_user_s_id_is_not_shown() -> None:
    assert "dana" not in repr(Subject("dana", "hash", 1, 2))


# The key


def test_a_sealed_id_opens_under_the_same_key_and_for_the_same_hash_alone() -> None:
    sealed = KEY.seal("dana", b"n" * 12)
    assert b"dana" not in sealed
    assert KEY.unseal(sealed, KEY.hash("dana")) == "dana"
    for key, user_hash in [(ErasureKey("another key"), KEY.hash("dana")), (KEY, KEY.hash("noam"))]:
        with pytest.raises(WrongKey, match="STREAMPROC_ERASURE_KEY"):
            key.unseal(sealed, user_hash)


def test_a_sealed_id_that_was_cut_off_does_not_open() -> None:
    with pytest.raises(WrongKey):
        KEY.unseal(KEY.seal("dana", b"n" * 12)[:20], KEY.hash("dana"))


def test_hash_and_fingerprint_tell_keys_apart_and_do_not_tell_the_key() -> None:
    other = ErasureKey("another key")
    assert KEY.hash("dana") != other.hash("dana")
    assert KEY.fingerprint != other.fingerprint
    assert KEY.fingerprint == ErasureKey("a key for tests").fingerprint
    assert "a key for tests" not in repr(KEY)


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ValueError, match="not empty"):
        ErasureKey("")
