"""The dead letters of a shard as the commands use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from redis.exceptions import ConnectionError as Away
from redis.exceptions import ResponseError

from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.dead_letters import PAGE, DeadLetterStore, Letter
from streamproc.stores.redis.shard import Shard


class Dead(NamedTuple):
    client: Any
    shard: Shard
    store: DeadLetterStore

    async def add(self, count: int = 1, **fields: str | bytes) -> list[str]:
        given = {"entry_id": "1-1", "reason": "malformed", "detail": "wrong", "payload": "{}", "at": "5", **fields}
        pipeline = self.client.pipeline(transaction=False)
        for _ in range(count):
            pipeline.xadd(self.shard.keys.dead, given)
        return [raw.decode() for raw in await pipeline.execute()]

    async def entries(self, shard: int = 0) -> list[bytes]:
        stream = Shard(self.client, number=shard).keys.stream
        return [flat[1] for _, flat in await self.client.execute_command("XRANGE", stream, "-", "+")]

    async def left(self) -> list[str]:
        return [one.id async for page in self.store.oldest_first(await self.store.newest()) for one in page]


@pytest.fixture
async def dead(redis_url: str) -> AsyncIterator[Dead]:
    client = connect(redis_url)
    shard = Shard(client)
    yield Dead(client, shard, DeadLetterStore(shard))
    await client.aclose()


async def test_a_letter_is_found_by_its_id(dead: Dead) -> None:
    (letter_id,) = await dead.add(entry_id="7-1", payload=b"\xff")
    assert await dead.store.find(letter_id) == Letter(letter_id, 0, "7-1", "malformed", "wrong", b"\xff", 5)
    assert await dead.store.find("1-1") is None


async def test_what_a_stranger_wrote_is_a_letter_all_the_same(dead: Dead) -> None:
    letter_id = (await dead.client.xadd(dead.shard.keys.dead, {"reason": b"\xff", "at": "soon"})).decode()
    added_ms = int(letter_id.partition("-")[0])
    assert await dead.store.find(letter_id) == Letter(letter_id, 0, "", "\\xff", "", b"", added_ms)


async def test_letters_come_in_pages_in_both_directions(dead: Dead) -> None:
    ids = await dead.add(2 * PAGE + 1)
    oldest_first = [page async for page in dead.store.oldest_first(await dead.store.newest())]
    newest_first = [page async for page in dead.store.newest_first()]
    assert [len(page) for page in oldest_first] == [len(page) for page in newest_first] == [PAGE, PAGE, 1]
    assert [one.id for page in oldest_first for one in page] == ids
    assert [one for page in newest_first for one in page] == [one for page in oldest_first for one in page][::-1]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_letters_written_meanwhile_are_not_met(dead: Dead, newest_first: bool) -> None:
    ids = await dead.add(PAGE + 1)
    pages = dead.store.newest_first() if newest_first else dead.store.oldest_first(await dead.store.newest())
    met = []
    async for page in pages:
        met += [one.id for one in page]
        await dead.add()
    assert sorted(met) == sorted(ids)


async def test_without_letters_there_is_no_page(dead: Dead) -> None:
    assert (await dead.store.length(), await dead.store.newest(), await dead.left()) == (0, "", [])
    assert [page async for page in dead.store.newest_first()] == []


async def test_pages_up_to_a_time_hold_all_of_that_millisecond(dead: Dead) -> None:
    for letter_id in ("5-1", "5-2", "6-0"):
        await dead.client.xadd(dead.shard.keys.dead, {"reason": "x"}, id=letter_id)
    assert [one.id async for page in dead.store.oldest_first("5") for one in page] == ["5-1", "5-2"]


async def test_standing_is_redis_time_and_the_ledgers_mark(dead: Dead) -> None:
    before_ms = await dead.shard.now_ms()
    assert (await dead.store.standing()).mark_ms == 0
    await dead.client.hset(dead.shard.keys.ledger, "mark", 3_600_000)
    standing = await dead.store.standing()
    assert standing.mark_ms == 3_600_000
    assert before_ms <= standing.now_ms <= await dead.shard.now_ms()


async def test_a_page_is_replayed_at_once(dead: Dead) -> None:
    ids = await dead.add(PAGE + 1)
    added = await dead.store.replay([(letter_id, b"%d\xff" % n) for n, letter_id in enumerate(ids[:PAGE])])
    assert len(set(added)) == PAGE
    assert await dead.entries() == [b"%d\xff" % n for n in range(PAGE)]
    assert await dead.left() == ids[PAGE:]


async def test_a_letter_of_another_shard_is_added_there_and_removed_here(dead: Dead) -> None:
    (letter_id,) = await dead.add()
    assert await dead.store.replay_elsewhere(letter_id, b"{}", 2)
    assert (await dead.entries(0), await dead.entries(2), await dead.left()) == ([], [b"{}"], [])


class _BreaksDown:
    """A client whose connection breaks at the nth command, before it is sent or before its reply has come."""

    def __init__(self, client: Any, at: int, *, lost_reply: bool) -> None:
        self._client, self._left, self._lost_reply = client, at, lost_reply

    async def execute_command(self, *command: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._lost_reply:
            raise Away
        reply = await self._client.execute_command(*command)
        if self._left == 0:
            raise Away
        return reply


@pytest.mark.parametrize("lost_reply", [False, True])
@pytest.mark.parametrize("at", [1, 2])
async def test_wherever_a_replay_to_another_shard_breaks_down_no_letter_is_lost(
    dead: Dead, at: int, lost_reply: bool
) -> None:
    (letter_id,) = await dead.add()
    broken: Any = _BreaksDown(dead.client, at, lost_reply=lost_reply)
    with pytest.raises(Away):
        await DeadLetterStore(Shard(broken)).replay_elsewhere(letter_id, b"{}", 1)
    added, left = await dead.entries(1), await dead.left()
    assert added or left == [letter_id]
    if left:
        await dead.store.replay_elsewhere(letter_id, b"{}", 1)
    assert await dead.left() == []
    # The same event, more than once at worst: its segment counts once.
    assert set(await dead.entries(1)) == {b"{}"}


async def test_a_stream_of_the_wrong_type_keeps_the_letter(dead: Dead) -> None:
    (letter_id,) = await dead.add()
    await dead.client.set(Shard(dead.client, number=1).keys.stream, "a stranger's")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await dead.store.replay_elsewhere(letter_id, b"{}", 1)
    assert await dead.left() == [letter_id]


async def test_only_letters_that_were_there_are_dropped(dead: Dead) -> None:
    first, second = await dead.add(2)
    assert await dead.store.drop([first, "1-1"]) == 1
    assert await dead.store.drop([first]) == 0
    assert await dead.store.drop([]) == 0
    assert await dead.left() == [second]
