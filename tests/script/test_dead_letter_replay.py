from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from .conftest import KEYS, Scripts


def add_letter(shard: Scripts, letter_id: str = "*") -> str:
    fields = {"entry_id": "1-1", "reason": "malformed", "detail": "wrong", "payload": "{}", "at": "5"}
    added: str = shard.redis.xadd(KEYS.dead, fields, id=letter_id)
    return added


def replay(shard: Scripts, *letters: tuple[str, str]) -> list[str]:
    """Replay, and replay again, as after a lost reply: that changes nothing."""
    args = [part for letter in letters for part in letter]
    added: list[str] = shard.run("replay", [KEYS.stream, KEYS.dead], *args)
    before = shard.dump()
    assert shard.run("replay", [KEYS.stream, KEYS.dead], *args) == [""] * len(letters)
    assert shard.dump() == before
    return added


def letters(shard: Scripts) -> list[str]:
    return [letter_id for letter_id, _ in shard.redis.xrange(KEYS.dead)]


def test_a_letter_becomes_an_entry_and_is_gone(shard: Scripts) -> None:
    one, other = add_letter(shard), add_letter(shard)
    (entry_id,) = replay(shard, (one, '{"mended": 1}'))
    assert shard.redis.xrange(KEYS.stream) == [(entry_id, {"data": '{"mended": 1}'})]
    assert letters(shard) == [other]


def test_letters_become_entries_in_the_order_given(shard: Scripts) -> None:
    ids = [add_letter(shard) for _ in range(3)]
    added = replay(shard, *((letter_id, str(number)) for number, letter_id in enumerate(ids)))
    assert shard.redis.xrange(KEYS.stream) == [(added[n], {"data": str(n)}) for n in range(3)]


def test_a_letter_that_is_gone_adds_nothing(shard: Scripts) -> None:
    there = add_letter(shard)
    added = replay(shard, ("5-5", "gone"), (there, "there"))
    assert added[0] == ""
    assert shard.redis.xrange(KEYS.stream) == [(added[1], {"data": "there"})]


def test_a_letter_named_twice_is_replayed_once(shard: Scripts) -> None:
    one = add_letter(shard)
    first, second = replay(shard, (one, "a"), (one, "b"))
    assert (second, shard.redis.xlen(KEYS.stream)) == ("", 1)
    assert first


def test_the_ledger_counts_it_as_one_more_entry(shard: Scripts) -> None:
    """The entry that it was stays counted as dead-lettered; the new one is still to be delivered."""
    (entry,) = shard.pending(1)
    shard.commit(dead=[((entry, "malformed", "wrong", "", 0), "{}")])
    (letter,) = letters(shard)
    before = shard.ledger()
    replay(shard, (letter, "{}"))
    assert shard.ledger() == before == {"dead_lettered": "1"}
    assert shard.redis.xinfo_stream(KEYS.stream)["entries-added"] == 2
    assert len(shard.deliver(5)) == 1


@pytest.mark.parametrize("key", [KEYS.stream, KEYS.dead])
def test_a_key_of_the_wrong_type_is_told_and_nothing_is_done(shard: Scripts, key: str) -> None:
    letter = add_letter(shard) if key == KEYS.stream else "5-5"
    shard.redis.set(key, "a stranger's")
    before = shard.dump()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        shard.run("replay", [KEYS.stream, KEYS.dead], letter, "{}")
    assert shard.dump() == before


def test_a_stream_that_takes_no_more_loses_no_letter(shard: Scripts) -> None:
    letter = add_letter(shard)
    shard.redis.xadd(KEYS.stream, {"data": "{}"}, id="18446744073709551615-18446744073709551615")
    with pytest.raises(ResponseError):
        shard.run("replay", [KEYS.stream, KEYS.dead], letter, "{}")
    assert letters(shard) == [letter]


def test_a_full_server_takes_it(shard: Scripts) -> None:
    """As it takes whatever drains a backlog: what is added here is removed there."""
    letter = add_letter(shard)
    shard.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            add_letter(shard)
        assert replay(shard, (letter, "{}")) != [""]
    finally:
        shard.redis.config_set("maxmemory", 0)
