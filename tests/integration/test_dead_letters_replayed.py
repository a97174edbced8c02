"""What becomes of replayed letters where workers run: they count once, the ledger balances, nobody erased returns."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import redis
from pods import Pods, pods, until
from test_dead_letters_command import Ended, dead_letters

from streamproc.core.commits import shard_of
from streamproc.demo.oracle import Kind
from streamproc.embedded import EmbeddedServer, start_valkey
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import survey

SETTINGS = {"ERASURE_KEY": "a key of more than sixteen characters", "FUTURE_TOLERANCE_SECONDS": "1"}


def segment(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "segment_id": name,
        "channel_id": "kan-11",
        "session_id": "session-1",
        "user_id": "dana",
        "received_at": datetime.now(UTC),
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
        **fields,
    }


async def run(system: Pods, *arguments: str, **variables: str) -> Ended:
    own = {f"STREAMPROC_{name}": value for name, value in variables.items()}
    return await asyncio.to_thread(dead_letters, arguments, {**system.variables, **own})


async def refused(system: Pods, count: int) -> list[str]:
    """The ids of the letters, as soon as there are so many."""

    async def there() -> bool:
        return bool(system.redis.xlen(system.keys.dead) == count)

    await until(there, system.logs)
    return [letter_id.decode() for letter_id, _ in system.redis.xrange(system.keys.dead)]


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod.url, **SETTINGS) as system:
        yield system


async def test_what_is_mended_and_replayed_counts_and_the_ledger_balances(system: Pods) -> None:
    await system.start()
    good = [segment(f"s-{n}") for n in range(5)]
    system.publish(*good[:2])
    for one in good[2:]:
        system.add("data", orjson.dumps({**one, "source_language": ""}))
    await refused(system, 3)
    ended = await run(system, "replay", "--reason", "malformed", "--set", "source_language=he")
    assert (ended.code, ended.out) == (0, "replayed 3: malformed 3\n")
    for one in good[2:]:
        system.oracle.record(Kind.GOOD, one)
    seen = await system.assert_exact()
    terms = seen.ledger
    assert (terms.entries_added, terms.counted, terms.dead_lettered, seen.dead) == (8, 5, 3, 0)


async def test_a_letter_that_is_replayed_again_after_a_crash_counts_once(system: Pods) -> None:
    """The crash came between adding to another shard and removing here: the letter is still there."""
    await system.start()
    good = segment("s-1")
    system.add("data", orjson.dumps({**good, "platform": ""}))
    (letter,) = await refused(system, 1)
    kept = system.redis.xrange(system.keys.dead)[0][1]
    assert (await run(system, "replay", letter, "--set", "platform=web")).code == 0
    system.redis.xadd(system.keys.dead, kept)
    assert (await run(system, "replay", "--all", "--set", "platform=web")).code == 0
    system.oracle.record(Kind.GOOD, good)
    terms = (await system.assert_exact()).ledger
    assert (terms.counted, terms.duplicates, terms.dead_lettered) == (1, 1, 1)


async def test_what_is_too_late_is_never_sent_and_the_stored_hour_stays(system: Pods) -> None:
    await system.start()
    old = datetime.now(UTC) - timedelta(hours=1)
    system.publish(segment("s-1"))
    system.add("data", orjson.dumps(segment("late", received_at=old)))
    (letter,) = await refused(system, 1)
    before = (await system.assert_exact()).ledger
    ended = await run(system, "replay", "--all")
    assert ended.code == 1
    assert f"{letter}  refused, too_late: its window ended" in ended.out
    assert (await system.assert_exact()).ledger == before
    assert await refused(system, 1) == [letter]


async def test_future_is_replayed_when_its_time_has_come(system: Pods) -> None:
    await system.start()
    ahead = segment("s-1", received_at=datetime.now(UTC) + timedelta(seconds=4))
    system.add("data", orjson.dumps(ahead))
    (letter,) = await refused(system, 1)
    early = await run(system, "replay", letter)
    assert early.code == 1
    assert "it can be replayed from" in early.out
    codes = []

    async def replayed() -> bool:
        codes.append((await run(system, "replay", letter)).code)
        return codes[-1] == 0

    await until(replayed)
    system.oracle.record(Kind.GOOD, ahead)
    terms = (await system.assert_exact()).ledger
    assert (terms.entries_added, terms.counted, terms.dead_lettered) == (2, 1, 1)


async def test_an_erased_person_does_not_come_back_by_a_letter(system: Pods) -> None:
    await system.start()
    system.publish(segment("other", user_id="noa", session_id="session-2"))
    mended = segment("s-1")
    system.add("data", orjson.dumps({**mended, "platform": ""}))
    (letter,) = await refused(system, 1)
    kept = system.redis.xrange(system.keys.dead)[0][1]
    erased = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", "erase", "--user", "dana", "--json"),
        env={**os.environ, **system.variables},
        stdout=asyncio.subprocess.PIPE,
    )
    receipt = orjson.loads((await erased.communicate())[0])
    assert (receipt["state"], receipt["dead_letters_deleted"]) == ("complete", 1)
    assert (await run(system, "list")).out == "no dead letters\n"
    assert (await run(system, "show", letter)).code == 1
    # Somebody had a copy.
    system.redis.xadd(system.keys.dead, kept)
    assert (await run(system, "replay", "--all", "--set", "platform=web")).code == 0
    seen = await system.assert_exact()
    assert (seen.ledger.erased, seen.ledger.counted, seen.dead) == (1, 1, 0)
    assert [one["metadata"]["user_id"] for one in await system.documents()] == ["noa"]
    entries = system.redis.xrange(system.keys.stream)
    assert not [fields for _, fields in entries if b"dana" in fields[b"data"]]


@pytest.fixture
async def cluster(mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    """Three shards on a cluster of one node, which refuses a script whose keys are of several slots all the same."""
    with start_valkey(extra_args=("--cluster-enabled", "yes")) as server:
        with redis.Redis.from_url(server.url) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until(lambda: _is_up(node))
        async with pods(server.url, mongod.url, SHARDS="3", REDIS_CLUSTER="true", **SETTINGS) as system:
            yield system


async def _is_up(node: Any) -> bool:
    return b"cluster_state:ok" in node.execute_command("CLUSTER", "INFO")


async def test_on_a_cluster_each_letter_counts_in_the_shard_of_its_session(cluster: Pods) -> None:
    await cluster.start()
    strays = set()
    for number in range(9):
        one = segment("s", session_id=f"session-{number}")
        # A consumer cannot tell where a broken entry belongs: its letter is in the shard that it came to.
        stream = ShardKeys(cluster.settings.prefix, number % 3).stream
        cluster.redis.execute_command("XADD", stream, "*", "data", orjson.dumps({**one, "platform": ""}))
        cluster.oracle.record(Kind.GOOD, one)
        strays.add(shard_of(one["session_id"], 3) != number % 3)
    assert strays == {True, False}

    async def all_refused() -> bool:
        return bool((await run(cluster, "list", "--json")).data["totals"] == {"malformed": 9})

    async def all_stored() -> bool:
        return len(await cluster.documents()) == 9

    await until(all_refused, cluster.logs)
    ended = await run(cluster, "replay", "--all", "--set", "platform=web", "--json")
    assert (ended.code, ended.data["replayed"]) == (0, {"malformed": 9})
    await until(all_stored, cluster.logs)
    assert await cluster.differences() == []
    async with connect(cluster.variables["STREAMPROC_REDIS_URL"], cluster=True) as client:
        for number in range(3):
            seen = await survey(Shard(client, number=number, prefix=cluster.settings.prefix))
            assert seen is not None
            assert (seen.ledger.imbalance(), seen.ledger.forwarded, seen.dead) == (0, 0, 0)
