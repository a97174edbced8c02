from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from streamproc.core.windows import WindowKey
from streamproc.embedded import EmbeddedServer

from .conftest import DUE_MS, GROUP, HOUR_MS, KEYS, NAME, START_MS, WINDOW, WINDOWING, Scripts, UnindexedError

OF_WINDOW = KEYS.window(NAME)
LATE_DUE_MS = DUE_MS + 900_000
FORGETTABLE_MS = WINDOWING.forgettable_at(START_MS)


def dead_letter(entry_id: str, user_hash: str = "", start_ms: int = 0) -> tuple[tuple[Any, ...], str]:
    return (entry_id, "malformed", "channel_id: missing", user_hash, start_ms), f"payload of {entry_id}"


def session(number: int, start_ms: int = START_MS) -> WindowKey:
    return WindowKey(start_ms, f"channel-{number % 3}", f"session-{number}", f"user-{number % 7}")


# Counting


def test_the_first_entry_of_a_window_writes_its_detail_its_indexes_and_its_due_time(shard: Scripts) -> None:
    (entry,) = shard.pending(1)
    answer = shard.commit([(WINDOW, DUE_MS, "", [(entry, "s1", "<s1>")])])
    assert answer == ({"counted": 1}, [], [])
    state = shard.dump()
    assert state.pop(KEYS.stream)["groups"][GROUP][1] == []
    assert state == {
        OF_WINDOW.segments: {"s1": "<s1>"},
        OF_WINDOW.channel: {NAME},
        OF_WINDOW.user: [(NAME, START_MS)],
        KEYS.open: [(NAME, DUE_MS)],
        KEYS.ledger: {"counted": "1"},
    }


def test_a_segment_twice_in_a_batch_counts_once_and_the_first_is_kept(shard: Scripts) -> None:
    first, second, third = shard.pending(3)
    entries = [(first, "s1", "<first>"), (second, "s1", "<second>"), (third, "s2", "<s2>")]
    answer = shard.commit([(WINDOW, DUE_MS, "", entries)])
    assert answer == ({"counted": 2, "duplicates": 1}, [2], [])
    assert shard.segments() == {"s1": "<first>", "s2": "<s2>"}
    assert shard.ledger() == {"counted": "2", "duplicates": "1"}


def test_a_segment_of_an_earlier_batch_is_a_duplicate(shard: Scripts) -> None:
    shard.count("s1")
    before = shard.dump()
    assert shard.count("s1") == ({"duplicates": 1}, [1], [])
    after = shard.dump()
    assert {key for key in before if before[key] != after[key]} == {KEYS.stream, KEYS.ledger}


def test_the_answer_names_the_position_of_what_did_not_count(shard: Scripts) -> None:
    shard.count("a1", window=session(1))
    shard.count("b2", window=session(2))
    ids = shard.pending(5)
    windows = [
        (session(1), DUE_MS, "", [(ids[0], "a1", ""), (ids[1], "a2", "")]),
        (session(2), DUE_MS, "", [(ids[2], "b1", ""), (ids[3], "b2", ""), (ids[4], "b1", "")]),
    ]
    assert shard.commit(windows) == ({"counted": 2, "duplicates": 3}, [1, 4, 5], [])


def test_an_empty_batch_changes_nothing(shard: Scripts) -> None:
    assert shard.commit() == ({}, [], [])
    assert shard.dump() == {}


def test_a_window_that_is_known_to_be_there_needs_no_indexes(shard: Scripts) -> None:
    shard.count("s1")
    first, second = shard.pending(2)
    windows = [(WINDOW, DUE_MS, "", [(first, "s2", "")]), (session(1), DUE_MS, "", [(second, "s1", "")])]
    assert shard.commit(windows, known=[WINDOW]).acknowledged == {"counted": 2}
    assert shard.redis.smembers(KEYS.window(WINDOWING.name(session(1))).channel) == {WINDOWING.name(session(1))}


def test_windows_that_are_new_after_all_are_named_and_nothing_is_done(shard: Scripts) -> None:
    shard.count("s1", window=session(1))
    ids = shard.pending(3)
    before = shard.dump()
    windows = [
        (window, DUE_MS, "", [(entry, "s2", "")])
        for window, entry in zip([WINDOW, session(1), session(2)], ids, strict=True)
    ]
    with pytest.raises(UnindexedError) as needed:
        shard.commit(windows, known=[WINDOW, session(1), session(2)])
    assert needed.value.args == ([1, 3],)
    assert shard.dump() == before


def test_of_a_window_that_is_refused_no_indexes_are_needed(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.erased, {"hash-of-dana": START_MS})
    (entry,) = shard.pending(1)
    answer = shard.commit([(WINDOW, DUE_MS, "hash-of-dana", [(entry, "s1", "")])], known=[WINDOW])
    assert answer.acknowledged == {"erased": 1}


# Where windows stand


def test_a_late_entry_moves_its_window_from_closed_to_open(shard: Scripts) -> None:
    shard.count("s1")
    shard.redis.zrem(KEYS.open, NAME)
    shard.redis.zadd(KEYS.closed, {NAME: FORGETTABLE_MS, "another": 5})
    shard.count("s2", due_ms=LATE_DUE_MS)
    assert shard.open() == {NAME: LATE_DUE_MS}
    assert shard.closed() == {"another": 5}


def test_a_duplicate_leaves_its_window_closed(shard: Scripts) -> None:
    shard.count("s1")
    shard.redis.zrem(KEYS.open, NAME)
    shard.redis.zadd(KEYS.closed, {NAME: FORGETTABLE_MS})
    shard.count("s1", due_ms=LATE_DUE_MS)
    assert shard.open() == {}
    assert shard.closed() == {NAME: FORGETTABLE_MS}


def test_a_trickle_of_late_entries_does_not_postpone_a_window(shard: Scripts) -> None:
    shard.count("s1", due_ms=LATE_DUE_MS)
    shard.count("s2", due_ms=LATE_DUE_MS + 1)
    assert shard.open() == {NAME: LATE_DUE_MS}


def test_a_window_that_grows_while_it_is_taken_is_open_as_well(shard: Scripts) -> None:
    shard.count("s1")
    shard.redis.zrem(KEYS.open, NAME)
    shard.redis.zadd(KEYS.taken, {NAME: 9})
    shard.count("s2", due_ms=LATE_DUE_MS)
    assert shard.open() == {NAME: LATE_DUE_MS}
    assert shard.taken() == {NAME: 9}


# Refusing


@pytest.mark.parametrize(
    ("erased_up_to_ms", "outcome"),
    [
        pytest.param(START_MS - HOUR_MS, "counted", id="an earlier window was the last erased"),
        pytest.param(START_MS, "erased", id="this window was the last erased"),
        pytest.param(START_MS + HOUR_MS, "erased", id="a later window was the last erased"),
    ],
)
def test_an_erased_user_is_refused_in_the_windows_that_the_erasure_covers(
    shard: Scripts, erased_up_to_ms: int, outcome: str
) -> None:
    shard.redis.zadd(KEYS.erased, {"hash-of-dana": erased_up_to_ms, "hash-of-another": START_MS * 2})
    ids = shard.pending(2)
    answer = shard.commit([(WINDOW, DUE_MS, "hash-of-dana", [(ids[0], "s1", ""), (ids[1], "s2", "")])])
    assert answer.acknowledged == {outcome: 2}
    assert shard.ledger() == {outcome: "2"}
    assert shard.redis.exists(OF_WINDOW.segments, OF_WINDOW.channel, OF_WINDOW.user, KEYS.open) == (
        4 if outcome == "counted" else 0
    )


def test_without_an_erasure_key_nobody_is_recognised_as_erased(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.erased, {"hash-of-dana": START_MS * 2})
    assert shard.count("s1").acknowledged == {"counted": 1}


@pytest.mark.parametrize(
    ("mark_ms", "outcome"),
    [
        pytest.param(START_MS, "counted", id="the mark is at the window's start"),
        pytest.param(START_MS + HOUR_MS, "duplicates", id="the mark is at the window's end"),
    ],
)
def test_whatever_comes_for_a_forgotten_window_is_a_duplicate(shard: Scripts, mark_ms: int, outcome: str) -> None:
    shard.redis.hset(KEYS.ledger, "mark", mark_ms)
    assert shard.count("s1", "s2").acknowledged == {outcome: 2}
    assert bool(shard.segments()) is (outcome == "counted")


def test_an_erased_user_below_the_mark_is_erased_not_a_duplicate(shard: Scripts) -> None:
    shard.redis.hset(KEYS.ledger, "mark", START_MS + HOUR_MS)
    shard.redis.zadd(KEYS.erased, {"hash-of-dana": START_MS})
    (entry,) = shard.pending(1)
    assert shard.commit([(WINDOW, DUE_MS, "hash-of-dana", [(entry, "s1", "")])]).acknowledged == {"erased": 1}


# Dead letters, forwarded and lost entries


def test_a_dead_letter_is_written_once_with_its_reason_and_payload(shard: Scripts) -> None:
    (entry,) = shard.pending(1)
    before_ms = shard.now_ms()
    assert shard.commit(dead=[dead_letter(entry)]) == ({"dead_lettered": 1}, [], [1])
    ((_, letter),) = shard.redis.xrange(KEYS.dead)
    assert before_ms <= int(letter.pop("at")) <= shard.now_ms()
    assert letter == {
        "entry_id": entry,
        "reason": "malformed",
        "detail": "channel_id: missing",
        "payload": f"payload of {entry}",
    }
    assert shard.ledger() == {"dead_lettered": "1"}


def test_no_dead_letter_is_written_for_an_entry_that_somebody_else_acknowledged(shard: Scripts) -> None:
    ids = shard.pending(3)
    shard.redis.xack(KEYS.stream, GROUP, ids[1])
    assert shard.commit(dead=[dead_letter(i) for i in ids]) == ({"dead_lettered": 2}, [], [1, 3])
    letters = [(letter["entry_id"], letter["payload"]) for _, letter in shard.redis.xrange(KEYS.dead)]
    assert letters == [(ids[0], f"payload of {ids[0]}"), (ids[2], f"payload of {ids[2]}")]


def test_no_dead_letter_of_an_erased_user_is_written(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.erased, {"hash-of-dana": START_MS})
    covered, unreadable_time, later = shard.pending(3)
    letters = [
        dead_letter(covered, "hash-of-dana", START_MS),
        dead_letter(unreadable_time, "hash-of-dana", 0),
        dead_letter(later, "hash-of-dana", START_MS + HOUR_MS),
    ]
    assert shard.commit(dead=letters) == ({"dead_lettered": 1, "erased": 2}, [], [3])
    assert [letter["entry_id"] for _, letter in shard.redis.xrange(KEYS.dead)] == [later]


def test_forwarded_and_lost_entries_are_acknowledged_and_counted(shard: Scripts) -> None:
    ids = shard.pending(3)
    assert shard.commit(forwarded=ids[:1], lost=ids[1:]).acknowledged == {"forwarded": 1, "lost": 2}
    assert shard.ledger() == {"forwarded": "1", "lost": "2"}
    assert shard.redis.xpending(KEYS.stream, GROUP)["pending"] == 0


def test_the_ledger_counts_only_what_this_commit_acknowledged(shard: Scripts) -> None:
    ids = shard.pending(6)
    shard.redis.xack(KEYS.stream, GROUP, *ids[::2])
    answer = shard.commit(
        [(WINDOW, DUE_MS, "", [(ids[0], "s1", ""), (ids[1], "s2", "")])], forwarded=ids[2:4], lost=ids[4:]
    )
    assert answer.acknowledged == {"counted": 1, "forwarded": 1, "lost": 1}
    assert shard.ledger() == {"counted": "1", "forwarded": "1", "lost": "1"}
    assert set(shard.segments()) == {"s1", "s2"}


def test_without_a_group_segments_count_and_the_ledger_does_not(shard: Scripts) -> None:
    ids = shard.pending(1)
    shard.redis.xgroup_destroy(KEYS.stream, GROUP)
    assert shard.commit([(WINDOW, DUE_MS, "", [(ids[0], "s1", "")])]) == ({}, [], [])
    assert set(shard.segments()) == {"s1"}
    assert shard.ledger() == {}


@pytest.mark.parametrize("outcome", ["counted", "duplicates", "erased", "dead_lettered", "forwarded", "lost"])
def test_a_suspect_is_cleared_whatever_becomes_of_it(shard: Scripts, outcome: str) -> None:
    shard.count("known")
    shard.redis.zadd(KEYS.erased, {"hash-of-dana": START_MS})
    (entry,) = shard.pending(1)
    shard.redis.hset(KEYS.suspects, mapping={entry: "alice", "1-1": "bob"})
    plans: dict[str, dict[str, Any]] = {
        "counted": {"windows": [(WINDOW, DUE_MS, "", [(entry, "s1", "")])]},
        "duplicates": {"windows": [(WINDOW, DUE_MS, "", [(entry, "known", "")])]},
        "erased": {"windows": [(WINDOW, DUE_MS, "hash-of-dana", [(entry, "s1", "")])]},
        "dead_lettered": {"dead": [dead_letter(entry)]},
        "forwarded": {"forwarded": [entry]},
        "lost": {"lost": [entry]},
    }
    assert shard.commit(**plans[outcome]).acknowledged == {outcome: 1}
    assert shard.redis.hgetall(KEYS.suspects) == {"1-1": "bob"}


# Limits and trouble


def test_a_thousand_entries_of_one_window_are_one_commit(shard: Scripts) -> None:
    segments = [f"s{number}" for number in range(1000)]
    assert shard.count(*segments).acknowledged == {"counted": 1000}
    assert shard.segments() == {segment: f"<{segment}>" for segment in segments}


def test_a_thousand_entries_in_four_hundred_windows_are_one_commit(shard: Scripts) -> None:
    ids = shard.pending(1000)
    windows = [(session(w), DUE_MS + w, "", [(ids[e], f"s{e}", "") for e in range(w, 1000, 400)]) for w in range(400)]
    assert shard.commit(windows).acknowledged == {"counted": 1000}
    assert shard.open() == {WINDOWING.name(session(w)): DUE_MS + w for w in range(400)}
    assert sum(len(shard.segments(session(w))) for w in range(400)) == 1000


@pytest.mark.parametrize(
    "key",
    [
        *(KEYS.stream, KEYS.open, KEYS.closed, KEYS.ledger, KEYS.dead, KEYS.erased, KEYS.suspects),
        *(OF_WINDOW.segments, OF_WINDOW.channel, OF_WINDOW.user),
    ],
)
def test_a_key_of_the_wrong_type_fails_the_commit_before_anything_is_written(shard: Scripts, key: str) -> None:
    ids = shard.pending(3)
    shard.redis.delete(key)
    shard.redis.set(key, "a stranger's")
    before = shard.dump()
    windows = [
        (session(1), DUE_MS, "", [(ids[0], "s1", "")]),
        (WINDOW, DUE_MS, "", [(ids[1], "s2", "")]),
    ]
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        shard.commit(windows, dead=[dead_letter(ids[2])])
    assert shard.dump() == before


@pytest.fixture
def own_shard(redis_server: EmbeddedServer) -> Iterator[Scripts]:
    """A shard on a server of its own, to be reconfigured."""
    with EmbeddedServer(redis_server.program) as server:
        scripted = Scripts(server.start().url)
        yield scripted
        scripted.close()


def test_with_memory_full_producers_are_refused_and_the_backlog_still_drains(own_shard: Scripts) -> None:
    ids = own_shard.pending(20)
    own_shard.redis.config_set("maxmemory-policy", "noeviction")
    own_shard.redis.config_set("maxmemory", "1mb")
    with pytest.raises(redis.OutOfMemoryError):
        own_shard.add("*")
    windows = [(session(1), DUE_MS, "", [(i, i, "x" * 1000) for i in ids[:-1]])]
    assert own_shard.commit(windows, dead=[dead_letter(ids[-1])]).acknowledged == {"counted": 19, "dead_lettered": 1}
    assert len(own_shard.segments(session(1))) == 19
