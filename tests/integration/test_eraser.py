"""The eraser on real servers: a person goes everywhere at once, and nobody else is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from erasing import HOUR_MS, LATER, Erasing
from one_shard import WINDOWING, OneShard, one_shard, segment, until

from streamproc.core.commits import Reason
from streamproc.core.erasures import Pass
from streamproc.core.sessions import LastError
from streamproc.embedded import EmbeddedServer
from streamproc.stores.redis.behind import BehindSessions
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.erasure import ShardErasure
from streamproc.stores.redis.shard import Shard


@pytest.fixture
async def shard(valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str) -> AsyncIterator[OneShard]:
    async with one_shard(valkey.url, mongod.url, mongo_database_name) as one:
        yield one


@pytest.fixture
def erasing(shard: OneShard) -> Erasing:
    return Erasing(shard)


async def test_everything_covered_goes_and_the_receipt_says_how_much(erasing: Erasing) -> None:
    shard = erasing.shard
    erasing.add("a", "b", "c")
    erasing.add("d", session="s-2")
    shard.publish(segment("x", "s-1", user_id="noam"), segment("y", "s-9", user_id="noam"))
    await shard.consume_all()
    await erasing.flush_all()
    erasing.add("e", session="s-3")  # counted, and not stored yet
    erasing.add_raw(b'{"user_id":"dana"}')  # a dead letter
    await shard.consume_all()
    receipt = (await erasing.erase()).receipt()
    assert receipt["state"] == "complete"
    assert receipt["user_hash"] == shard.shard.user_hash("dana")
    assert {name: number for name, number in receipt.items() if name.endswith("_deleted")} == {
        "timeseries_docs_deleted": 2,
        "redis_segments_deleted": 5,
        "redis_windows_deleted": 3,
        "stream_entries_deleted": 6,
        "dead_letters_deleted": 1,
        "sessions_deleted": 0,
        "archive_rows_deleted": 0,
    }
    assert receipt["passes"]["second"] == {"redis_0": {"segments": 0, "windows": 0}, "measurements": {"documents": 0}}
    assert await erasing.traces() == []
    assert await erasing.others() == []
    assert await erasing.ledger() == {"counted": 7, "dead_lettered": 1}


async def test_the_last_errors_of_a_person_that_no_document_holds_yet_go_and_those_of_others_stay(
    erasing: Erasing,
) -> None:
    shard = erasing.shard
    odd = "s:{%}"
    erasing.add("a")
    erasing.add("b", session=odd)
    await shard.consume_all()
    behind = BehindSessions(shard.shard)
    await behind.note({name: LastError(1, "dana's microphone") for name in ("s-1", odd, "s-9")})
    await erasing.erase()
    taken = (await behind.take(10, 1000)).sessions
    assert taken == {"s-1": None, odd: None, "s-9": LastError(1, "dana's microphone")}


async def test_erased_twice_nothing_is_found_the_second_time(erasing: Erasing) -> None:
    erasing.add("a")
    await erasing.shard.consume_all()
    first, second = await erasing.erase(), await erasing.erase()
    assert first.id != second.id
    assert (first.total("segments"), first.total("stream_entries")) == (1, 1)
    assert not any(number for name, number in second.receipt().items() if name.endswith("_deleted"))


async def test_later_windows_of_the_person_count_and_stay(erasing: Erasing) -> None:
    erasing.add("a", "b")
    erasing.add("c", start=LATER)
    await erasing.shard.consume_all()
    await erasing.erase()
    erasing.add("d", start=LATER)
    erasing.add("e")
    await erasing.shard.consume_all()
    await erasing.flush_all()
    assert (erasing.segments(), erasing.segments(start=LATER)) == ([], ["c", "d"])
    assert (await erasing.revisions(), await erasing.revisions(LATER)) == ([], [2])
    assert await erasing.ledger() == {"counted": 4, "erased": 1}


async def test_the_bound_is_fixed_when_it_is_asked_for(erasing: Erasing) -> None:
    erasure = await erasing.eraser.request("dana")
    erasing.add("c", start=LATER)
    await erasing.shard.consume_all()
    erasing.clock.now_ms += HOUR_MS
    await erasing.finish(erasure)
    assert erasing.segments(start=LATER) == ["c"]


async def test_a_dead_letter_of_a_far_future_goes_if_it_had_been_added_before(erasing: Erasing) -> None:
    shard = erasing.shard
    erasing.clock.now_ms = shard.now_ms()
    early = erasing.add("a", received_at="2037-01-01T00:00:00Z")
    await until(lambda: shard.now_ms() > int(early[0].partition("-")[0]))
    erasing.clock.now_ms = shard.now_ms()
    erasure = await erasing.eraser.request("dana")
    await until(lambda: shard.now_ms() > erasing.clock.now_ms)
    late = erasing.add("b", received_at="2037-01-01T00:00:00Z")
    await shard.consume_all()
    assert [letter["reason"] for letter in shard.dead()] == [Reason.FUTURE] * 2
    await erasing.finish(erasure)
    assert [letter["entry_id"] for letter in shard.dead()] == late


async def test_names_that_a_stranger_wrote_into_the_index_hold_nothing_up(erasing: Erasing) -> None:
    erasing.add("a")
    await erasing.shard.consume_all()
    erasing.shard.redis.zadd(erasing.shard.keys.user("dana"), {"no window": 1, b"\xff:a:b:c": 2})
    await erasing.erase()
    assert await erasing.traces() == []


async def test_every_shard_is_erased_up_to_the_latest_of_their_clocks(erasing: Erasing) -> None:
    shard = erasing.shard
    other = Shard(shard.client, number=1, erasure_key="key")
    await EntryStream(other, shard.client, "nobody").ensure_group()

    class Ahead(ShardErasure):
        async def now_ms(self) -> int:
            return erasing.clock.now_ms + HOUR_MS

    eraser = erasing.with_stores(others=[Ahead(other, WINDOWING)])
    # As a commit to that shard would have left it.
    window = other.keys.window(WINDOWING.name(erasing.window(start=LATER)))
    shard.redis.hset(window.segments, "a", "[]")
    shard.redis.zadd(window.user, {WINDOWING.name(erasing.window(start=LATER)): LATER.timestamp() * 1000})
    erasing.add("b", start=LATER)
    await shard.consume_all()
    erasure = await eraser.advance(await eraser.request("dana"))
    assert erasure.covered_start_ms == LATER.timestamp() * 1000
    tallies = erasure.tallies[Pass.FIRST]
    assert [tallies[layer]["segments"] for layer in ("redis_0", "redis_1")] == [1, 1]
    assert await erasing.traces() == []


# Proofs


async def test_a_look_finds_what_is_left_in_any_layer(erasing: Erasing) -> None:
    erasure, shard = await erasing.erase(), erasing.shard
    assert await erasing.eraser.look(erasure, "dana") == {}
    shard.redis.zrem(shard.keys.erased, shard.shard.user_hash("dana"))
    erasing.add("a", "b")
    erasing.add("c", start=LATER)
    erasing.add_raw(b"dana")
    await shard.consume_all()
    await erasing.flush_all()
    shard.redis.delete(shard.keys.user("dana"))  # it does not go by the index
    erasing.add("undelivered")
    assert await erasing.eraser.look(erasure, "dana") == {
        "redis_0": {"windows": 1, "segments": 2, "names": 2, "stream_entries": 4, "dead_letters": 1},
        "measurements": {"documents": 1},
    }
    assert await erasing.eraser.look(erasure, "noam") == {}


@pytest.mark.parametrize("others", [3, 300])
async def test_the_cost_is_that_of_the_person_s_windows_however_many_others_there_are(
    erasing: Erasing, others: int
) -> None:
    shard = erasing.shard
    shard.publish(*(segment("x", f"s-{n}", user_id=f"other-{n}") for n in range(others)))
    for session in ("s-1", "s-2", "s-3"):
        erasing.add("a", "b", session=session)
    await shard.consume_all()
    await erasing.flush_all()
    shard.redis.xtrim(shard.keys.stream, maxlen=0)
    erasure = await erasing.eraser.request("dana")
    before = _commands(shard)
    await erasing.finish(erasure)
    assert _commands(shard) - before == _COST


#: Of two passes: a script that marks, a look into the index, a page of windows with the last errors of their sessions,
#: another look, the stream, dead letters; with every script the commands in it (checks 3 x 5 + 3 x 2, marks,
#: removals 3 x 6); and a word for who remembers.
_COST = 1 + 2 * (1 + 1 + 2) + 3 + (5 + 1) * 2 + (5 + 1 + 3 * 2 + 3 * 6)


def _commands(shard: OneShard) -> int:
    """Commands that Redis has carried out, those of scripts among them."""
    stats = shard.redis.info("commandstats")
    return sum(stat["calls"] for name, stat in stats.items() if name != "cmdstat_info")


async def test_messages_do_not_name_the_person(erasing: Erasing, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="streamproc")
    erasing.add("a")
    await erasing.shard.consume_all()
    await erasing.flush_all()
    erasure = await erasing.erase()
    erasing.shard.redis.flushall()
    await erasing.shard.stream("nobody").ensure_group()
    erasing.add("a")
    await erasing.shard.consume_all()
    await erasing.eraser.run_once()
    assert erasure.id in caplog.text
    assert "erased again" in caplog.text
    assert "dana" not in caplog.text + repr(erasure) + str(erasure.receipt())
    assert WINDOWING.name(erasing.window()) not in caplog.text
