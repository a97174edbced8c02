"""`streamproc status` and the overview behind it: real workers say how they are, and one look shows all of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest
from pods import Pods, get, kill, leave, outcome, pods, until

from streamproc.answers.overview import overview
from streamproc.answers.overview_results import Overview
from streamproc.app.connections import Connections
from streamproc.app.settings import PREFIX
from streamproc.demo.stage import settings_of
from streamproc.embedded import EmbeddedServer

NOWHERE = "127.0.0.1:1"


class Ended(NamedTuple):
    code: int
    out: str
    said: str


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod.url) as one:
        yield one


async def start(system: Pods, *options: str, **variables: str) -> asyncio.subprocess.Process:
    own = {f"{PREFIX}{name}": value for name, value in variables.items()}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", "status", *options),
        env={**os.environ, **system.variables, **own},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def status(system: Pods, *options: str, **variables: str) -> Ended:
    process = await start(system, *options, **variables)
    out, said = await outcome(process)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), said.decode())


async def look(system: Pods, **variables: str) -> Overview:
    own = {f"{PREFIX}{name}": value for name, value in variables.items()}
    connections = Connections(settings_of({**system.variables, **own}))
    try:
        return await overview(connections)
    finally:
        await connections.close()


async def look_until(system: Pods, holds: Callable[[Overview], bool]) -> Overview:
    seen: Overview | None = None

    async def held() -> bool:
        nonlocal seen
        seen = await look(system)
        return holds(seen)

    await until(held, lambda: f"{seen}\n{system.logs()}")
    assert seen is not None
    return seen


def segment(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "segment_id": f"segment-{number}",
        "channel_id": f"channel-{number % 3}",
        "session_id": f"session-{number % 5}",
        "user_id": "dana-whose-name-is-nobody's-business",
        "received_at": datetime.now(UTC),
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
        **fields,
    }


async def test_where_nothing_runs_the_overview_says_so_and_what_to_do(system: Pods) -> None:
    seen = await look(system)
    assert (seen.verdict, seen.workers, seen.shards, seen.missing_shards) == ("down", [], [], [0])
    assert "streamproc worker" in seen.troubles[0].remedy
    ended = await status(system)
    assert ended.code == 0
    assert "No worker is heard of" in ended.out


async def test_two_workers_appear_and_what_they_counted_adds_up(system: Pods) -> None:
    await asyncio.gather(system.start(), system.start())
    await look_until(system, lambda seen: sum(worker.ready for worker in seen.workers) == 2)
    for number in range(60):
        system.publish(segment(number, error="codec failed" if number % 10 == 0 else None))
    system.add("data", b"{}")
    await system.assert_exact()
    documents = await system.documents()
    seen = await look_until(
        system,
        lambda seen: (
            sum(one.counted for one in seen.workers) == 60
            and sum(one.flushed for one in seen.workers) == len(documents)
            and sum(one.dead_lettered for one in seen.workers) == 1
        ),
    )
    assert sum(one.errors for one in seen.workers) == 6
    (shard,) = seen.shards
    assert (shard.ledger["counted"], shard.ledger["entries_added"], shard.imbalance) == (60, 61, 0)
    assert (shard.pending, shard.open, shard.due, shard.taken, shard.dead_letters) == (0, 0, 0, 0, 1)
    assert seen.flush.last_at is not None
    assert timedelta(0) <= seen.at - seen.flush.last_at < timedelta(minutes=5)
    assert (seen.dead_letters.kept, seen.dead_letters.newest[0].reason) == (1, "malformed")
    assert (seen.verdict, [trouble.what for trouble in seen.troubles]) == ("healthy", ["dead_letters"])


async def test_live_figures_of_all_workers_add_up(system: Pods) -> None:
    await asyncio.gather(system.start(), system.start())
    now = datetime.now(UTC)
    for number in range(60):
        system.publish(segment(number, received_at=now, error="codec failed" if number % 10 == 0 else None))

    def all_counted(seen: Overview) -> bool:
        return sum(window.segments for window in seen.live.windows) == 60

    seen = await look_until(system, all_counted)
    (window,) = seen.live.windows
    assert (window.errors, window.channels, window.start <= now < window.end) == (6, 3, True)
    assert [one.channel_id for one in seen.live.channels] == ["channel-0", "channel-1", "channel-2"]
    for one in seen.live.channels:
        assert (one.segments, one.errors, one.error_rate, one.avg_total_ms) == (20, 2, 0.1, 1200)
        assert one.p50_total_ms is not None
        assert 1000 < one.p50_total_ms <= 1500


async def test_what_a_worker_says_of_itself_names_no_user(system: Pods) -> None:
    await system.start()
    system.publish(*(segment(number) for number in range(5)))
    await look_until(system, lambda seen: sum(one.counted for one in seen.workers) == 5)
    said = b"".join(system.redis.hvals(system.keys.pods))
    assert b"channel-1" in said
    assert b"dana" not in said


async def test_a_killed_worker_turns_silent_and_one_that_leaves_is_gone(system: Pods) -> None:
    first, second, third = [await system.start() for _ in range(3)]
    everyone = await look_until(system, lambda seen: sum(worker.ready for worker in seen.workers) == 3)
    await kill(first)
    seen = await look_until(system, lambda seen: any(worker.silent for worker in seen.workers))
    assert [worker.ready for worker in seen.workers].count(False) == 1
    silent = [worker.name for worker in seen.workers if worker.silent]
    assert [trouble.what for trouble in seen.troubles] == ["silent"]
    assert silent[0] in seen.troubles[0].message
    assert (await leave(second))[0] == 0
    seen = await look(system)
    assert len(seen.workers) == 2
    assert set(silent) < {worker.name for worker in seen.workers} < {worker.name for worker in everyone.workers}
    await kill(third)
    seen = await look_until(system, lambda seen: all(worker.silent for worker in seen.workers))
    assert (seen.verdict, [trouble.what for trouble in seen.troubles]) == ("down", ["workers"])


async def test_a_worker_that_was_silent_for_a_minute_is_not_shown_although_nobody_dropped_it(system: Pods) -> None:
    worker = await system.start()
    seen = await look_until(system, lambda seen: len(seen.workers) == 1)
    await kill(worker)
    system.redis.zadd(system.keys.heard, {seen.workers[0].name: (seen.at.timestamp() - 61) * 1000})
    assert system.redis.hlen(system.keys.pods) == 1
    assert (await look(system)).workers == []


async def test_a_worker_that_cannot_say_how_it_is_counts_all_the_same(system: Pods) -> None:
    system.redis.set(system.keys.pods, "a stranger's")
    worker = await system.start()
    system.publish(*(segment(number) for number in range(20)))
    await system.assert_exact()

    async def not_ready() -> bool:
        code, body = await get(worker, "/readyz")
        return code == 503 and "saying how it is" in body

    await until(not_ready, system.logs)
    seen = await look(system)
    assert seen.redis.up is False
    assert "another type" in seen.redis.trouble
    system.redis.delete(system.keys.pods)
    await look_until(system, lambda seen: [worker.ready for worker in seen.workers] == [True])


async def test_what_another_version_says_is_named_and_hides_nobody(system: Pods) -> None:
    await system.start()
    await look_until(system, lambda seen: [worker.ready for worker in seen.workers] == [True])
    system.redis.hset(system.keys.pods, "of-tomorrow", b'{"version": ["9"]}')
    system.redis.zadd(system.keys.heard, {"of-tomorrow": system.redis.time()[0] * 1000})
    seen = await look(system)
    assert [(worker.ready, worker.version == "unknown") for worker in seen.workers].count((False, True)) == 1
    assert [trouble.what for trouble in seen.troubles] == ["not_ready"]


async def test_every_shard_is_seen(system: Pods) -> None:
    await system.start(SHARDS="3")

    async def three() -> bool:
        return [shard.shard for shard in (await look(system, SHARDS="3")).shards] == [0, 1, 2]

    await until(three, system.logs)
    other = await look(system)
    assert (other.verdict, [trouble.what for trouble in other.troubles]) == ("down", ["layout"])
    assert "shards is 3 there and 1 here" in other.troubles[0].message
    assert (await status(system)).code == 1


async def test_windows_that_are_due_and_not_stored_are_counted(system: Pods) -> None:
    """Of a shard without workers: nobody else takes what is due."""
    system.redis.xgroup_create(system.keys.stream, system.settings.group, "0", mkstream=True)
    now_ms = system.redis.time()[0] * 1000
    system.redis.zadd(system.keys.open, {"first": now_ms - 90_000, "second": now_ms - 10, "third": now_ms + 600_000})
    (shard,) = (await look(system)).shards
    assert (shard.open, shard.due) == (3, 2)
    assert 90 <= shard.overdue_seconds < 300


async def test_status_shows_all_that_matters_on_eighty_columns(system: Pods) -> None:
    await asyncio.gather(system.start(), system.start())
    system.publish(*(segment(number) for number in range(20)))
    await system.assert_exact()
    seen = await look_until(system, lambda seen: sum(one.counted for one in seen.workers) == 20)
    ended = await status(system)
    assert (ended.code, ended.said) == (0, "")
    assert ended.out.startswith("healthy ")
    assert max(map(len, ended.out.splitlines())) <= 80
    text = " ".join(ended.out.split())
    for worker in seen.workers:
        assert f"{worker.name} ready" in text
    assert "20 entries added = 20 counted + 0 duplicates" in text
    assert "lost: balances" in text
    assert "channel-0 7 0 0.0 1,200" in text
    assert "\x1b" not in ended.out


async def test_status_as_json_is_the_overview(system: Pods) -> None:
    await system.start()
    await look_until(system, lambda seen: [worker.ready for worker in seen.workers] == [True])
    ended = await status(system, "--json")
    assert ended.code == 0
    seen = msgspec.json.decode(ended.out, type=Overview)
    assert (seen.verdict, seen.redis.up, seen.mongodb.up, len(seen.workers)) == ("healthy", True, True, 1)
    plain = orjson.loads(ended.out)
    assert list(plain) == list(Overview.__struct_fields__)
    assert plain["at"].endswith("Z")
    assert plain["settings"] == {
        "window_seconds": 2.0,
        "grace_seconds": 0.5,
        "claim_idle_seconds": 1.0,
        "shards": 1,
        "prefix": system.settings.prefix,
    }


async def test_watching_as_json_prints_a_line_for_each_look_until_ctrl_c(system: Pods) -> None:
    process = await start(system, "--json", "--watch", "0.2")
    assert process.stdout is not None
    looks = [msgspec.json.decode(await process.stdout.readline(), type=Overview) for _ in range(3)]
    assert looks[0].at < looks[1].at < looks[2].at
    process.send_signal(signal.SIGINT)
    _, said = await outcome(process)
    assert (process.returncode, "Traceback" in said.decode()) == (130, False)


async def test_a_reader_of_a_watch_may_leave(system: Pods) -> None:
    process = await start(system, "--json", "--watch", "0.2")
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    _, said = await outcome(process)
    assert (process.returncode, said) == (0, b"")


async def test_redis_away_is_told_with_its_remedy_and_exit_code_1(system: Pods) -> None:
    ended = await status(system, REDIS_URL=f"redis://:s3cr3t@{NOWHERE}/0")
    assert ended.code == 1
    assert ended.out.startswith("down, 1 critical ")
    assert f"redis://{NOWHERE}/0" in ended.out
    assert "STREAMPROC_REDIS_URL" in ended.out
    assert "s3cr3t" not in ended.out + ended.said
    as_json = await status(system, "--json", REDIS_URL=f"redis://:s3cr3t@{NOWHERE}/0")
    seen = msgspec.json.decode(as_json.out, type=Overview)
    assert (as_json.code, seen.verdict, seen.redis.up, seen.mongodb.up) == (1, "down", False, True)
    assert "s3cr3t" not in as_json.out


async def test_mongodb_away_is_told_and_everything_else_shown(system: Pods) -> None:
    await system.start()
    await look_until(system, lambda seen: [worker.ready for worker in seen.workers] == [True])
    ended = await status(system, MONGODB_URL=f"mongodb://u:s3cr3t@{NOWHERE}")
    assert ended.code == 0
    assert ended.out.startswith("degraded, 1 critical ")
    assert f"mongodb://{NOWHERE}" in ended.out
    assert "STREAMPROC_MONGODB_URL" in ended.out
    assert " ready " in ended.out
    assert "not ready" not in ended.out
    assert "s3cr3t" not in ended.out + ended.said


async def test_a_watch_too_quick_is_bad_usage(system: Pods) -> None:
    ended = await status(system, "--watch", "0")
    assert (ended.code, "--watch" in ended.said) == (2, True)
