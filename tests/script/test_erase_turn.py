"""Whose turn it is to apply all erasures again; and the two scripts that are a line each."""

from __future__ import annotations

from streamproc.embedded import start_valkey

from .conftest import KEYS, Scripts

TURN = KEYS.turn("erased")
LEASE_MS = 300_000


def take(shard: Scripts) -> str:
    return str(shard.run("erase_turn", [TURN], LEASE_MS, ""))


def end(shard: Scripts, turn: str, next_ms: int = 3_600_000) -> None:
    shard.run("erase_turn", [TURN], next_ms, turn)


def test_one_pod_takes_the_turn_and_no_other_does_for_as_long_as_it_may_take(shard: Scripts) -> None:
    turn = take(shard)
    assert turn == shard.redis.info("replication")["master_replid"]
    assert take(shard) == ""
    assert 0 < shard.redis.pttl(TURN) <= LEASE_MS


def test_when_it_is_done_the_next_turn_is_an_hour_later(shard: Scripts) -> None:
    end(shard, take(shard))
    assert take(shard) == ""
    assert shard.redis.pttl(TURN) > LEASE_MS


def test_a_pod_that_died_at_it_is_replaced(shard: Scripts) -> None:
    take(shard)
    shard.redis.delete(TURN)  # its time is up
    assert take(shard)


def test_an_emptied_redis_is_noticed_even_in_the_middle_of_it(shard: Scripts) -> None:
    turn = take(shard)
    shard.redis.flushall()
    end(shard, turn)
    assert take(shard)
    end(shard, turn)
    shard.redis.flushall()
    assert take(shard)


def test_another_redis_is_noticed_even_in_the_middle_of_it(shard: Scripts) -> None:
    turn = take(shard)
    shard.redis.set(TURN, "0" * 40, keepttl=True)  # as it was copied from elsewhere
    end(shard, turn)
    assert take(shard) == turn
    end(shard, "0" * 40)
    assert 0 < shard.redis.pttl(TURN) <= LEASE_MS


def test_a_redis_that_came_back_with_its_data_counts_as_another() -> None:
    with start_valkey(persistent=True) as server:
        shard = Scripts(server.url)
        turn = take(shard)
        end(shard, turn)
        shard.close()
        server.restart()
        shard = Scripts(server.url)
        assert shard.redis.get(TURN) == turn
        assert take(shard) not in ("", turn)
        shard.close()


def test_tombstones_are_forgotten_from_the_oldest_on(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.erased, {"a": 1000, "b": 2000, "c": 3000})
    assert shard.run("erase_forget", [KEYS.erased], 2000) == 1
    assert shard.redis.zrange(KEYS.erased, 0, -1) == ["b", "c"]
    assert shard.run("erase_forget", [KEYS.erased], 2000) == 0


def test_the_first_pod_with_an_erasure_key_writes_its_fingerprint_down(shard: Scripts) -> None:
    shard.redis.hset(KEYS.layout, "shards", "1")
    assert shard.run("agree_key", [KEYS.layout], "ours") == "ours"
    assert shard.run("agree_key", [KEYS.layout], "another") == "ours"
    assert shard.redis.hgetall(KEYS.layout) == {"shards": "1", "erasure_key": "ours"}
