"""The worker as a process, on real servers: what it serves, what it stores, how it leaves, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pods import Pods, get, leave, metrics, outcome, pods, troubles, until

from streamproc.embedded import EmbeddedServer, start_valkey
from streamproc.stores.mongo.collection import COLLECTION

#: With these a closed window is stored within 15 s, also after a kill.
PROMISED = {
    "WINDOW_SECONDS": "5",
    "GRACE_SECONDS": "1",
    "CLAIM_IDLE_SECONDS": "2",
    "LATE_QUIET_SECONDS": "1",
    "FLUSH_VISIBILITY_SECONDS": "2",
}


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod.url) as one:
        yield one


def segment(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "segment_id": name,
        "channel_id": "kan-11",
        "session_id": "session-7",
        "user_id": "dana",
        "received_at": datetime.now(UTC),
        "extraction_ms": 45.25,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
        **fields,
    }


def as_json(**fields: Any) -> bytes:
    """A segment as other people's workers write it: what json.dumps makes of it."""
    return json.dumps(segment("odd", **fields), default=str).encode()


async def become_ready(worker: Any) -> None:
    async def ready() -> bool:
        return (await get(worker, "/readyz"))[0] == 200

    await until(ready)


async def test_a_worker_serves_its_state_and_its_metrics_are_right(system: Pods) -> None:
    worker = await system.start()
    assert await get(worker, "/healthz") == (200, '{"status":"alive"}')
    await become_ready(worker)
    assert await get(worker, "/readyz") == (200, '{"status":"ready"}')
    first = segment("a", error="codec failed")
    system.publish(first, segment("b"), first)
    system.add("data", b"{}")
    seen = await system.assert_exact()
    assert seen.ledger.counted == 2

    async def observed() -> bool:
        return (await metrics(worker))["streamproc_ledger_entries", (("shard", "0"), ("term", "counted"))] == 2

    await until(observed)
    found = await metrics(worker)
    shard = (("shard", "0"),)
    expected = {
        ("streamproc_events_total", (("outcome", "counted"),)): 2,
        ("streamproc_events_total", (("outcome", "duplicate"),)): 1,
        ("streamproc_events_total", (("outcome", "dead_lettered"),)): 1,
        ("streamproc_dead_letters_total", (("reason", "malformed"),)): 1,
        ("streamproc_lag_entries", shard): 0,
        ("streamproc_lag_seconds", shard): 0,
        ("streamproc_lag_known", shard): 1,
        ("streamproc_pending_entries", shard): 0,
        ("streamproc_windows_flushed_total", ()): len(await system.documents()),
        ("streamproc_flush_failures_total", ()): 0,
        ("streamproc_windows_shrunk_total", ()): 0,
        ("streamproc_windows_diverged_total", ()): 0,
        ("streamproc_ledger_imbalance", shard): 0,
        ("streamproc_entries_lost_total", ()): 0,
        ("streamproc_ledger_entries", (("shard", "0"), ("term", "entries_added"))): 4,
        ("streamproc_channel_segments_total", (("channel", "kan-11"),)): 2,
        ("streamproc_channel_errors_total", (("channel", "kan-11"),)): 1,
        ("streamproc_channel_latency_seconds_count", (("channel", "kan-11"),)): 2,
        ("streamproc_dependency_up", (("dependency", "redis"),)): 1,
        ("streamproc_dependency_up", (("dependency", "mongodb"),)): 1,
        ("streamproc_ready", ()): 1,
        ("streamproc_setting_seconds", (("setting", "window"),)): 2,
        ("streamproc_overdue_seconds", shard): 0,
        ("streamproc_replicas", shard): 0,
        ("streamproc_redis_memory_limit_bytes", shard): 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert troubles(worker) == []


async def test_a_closed_window_is_stored_within_15_seconds(valkey: EmbeddedServer, mongod: EmbeddedServer) -> None:
    async with pods(valkey.url, mongod.url, **PROMISED) as system:
        await system.start()
        published = segment("a")
        system.publish(published)

        async def stored() -> bool:
            return await system.differences() == []

        end = published["received_at"] + timedelta(seconds=5)
        await until(stored, patience_s=15 + (end - datetime.now(UTC)).total_seconds())


#: Name: the entry's fields, the reason of its dead letter, and what a person must find in its detail.
MALFORMED: dict[str, tuple[tuple[bytes | str, ...], str, str]] = {
    "cut off": (("data", b'{"segment_id": "a", "chann'), "malformed", "not valid JSON"),
    "empty": (("data", b""), "malformed", "not valid JSON"),
    "a list": (("data", b"[1, 2]"), "malformed", "expected `object`"),
    "null": (("data", b"null"), "malformed", "expected `object`"),
    "no text": (("data", b"\xff\xfe\x00"), "malformed", "`data`"),
    "nested without end": (("data", b'{"a":' * 100_000), "malformed", "nested too deeply"),
    "a megabyte of nothing": (("data", b"x" * 1_000_000), "malformed", "not valid JSON"),
    "a megabyte of a name": (("data", as_json(segment_id="x" * 1_000_000)), "malformed", "segment_id"),
    "wrong type": (("data", as_json(segment_id=7)), "malformed", "segment_id: expected `str`"),
    "a number as text": (("data", as_json(extraction_ms="fast")), "malformed", "extraction_ms"),
    "NaN": (("data", as_json(dubbing_ms=float("nan"))), "malformed", "not valid JSON"),
    "infinity": (("data", as_json(dubbing_ms=float("inf"))), "malformed", "not valid JSON"),
    "too many milliseconds": (("data", as_json(dubbing_ms=1e300)), "malformed", "dubbing_ms"),
    "too many bytes": (("data", as_json(original_bytes=10**400)), "malformed", "original_bytes"),
    "negative": (("data", as_json(reinsertion_ms=-1)), "malformed", "reinsertion_ms"),
    "nobody": (("data", as_json(user_id="")), "malformed", "user_id"),
    "unprintable": (("data", as_json(channel_id="a\x00b")), "malformed", "channel_id must consist of printable"),
    "half a character": (("data", as_json(session_id="\ud800")), "malformed", ""),
    "no time": (("data", as_json(received_at="yesterday")), "malformed", "received_at"),
    "2100": (("data", as_json(received_at="2100-01-01T00:00:00Z")), "future", "after the entry was added"),
    "9999": (("data", as_json(received_at="9999-12-31T23:59:59Z")), "future", "after the entry was added"),
    "1970": (("data", as_json(received_at="1970-01-01T00:00:00Z")), "too_late", "after its window's end"),
    "year 1": (("data", as_json(received_at="0001-01-01T00:00:00Z")), "too_late", "after its window's end"),
    "a stranger's fields": (("hello", "world"), "malformed", "missing required field"),
    "a flat one with a wrong number": (("segment_id", "a", "extraction_ms", "fast"), "malformed", ""),
}


def odd_but_valid() -> list[tuple[dict[str, Any], tuple[bytes | str, ...]]]:
    """What looks wrong and is not: the segment that it is, and the entry."""
    now = datetime.now(UTC)
    flat = segment("flat", session_id="flat", received_at=now)
    no_offset = segment("no-offset", received_at=now)
    twice = segment("last", session_id="twice", received_at=now)
    large = segment("large", session_id="large", received_at=now)
    named = [
        segment("%:{}", session_id=name, channel_id=name, user_id=name, received_at=now)
        for name in ("a:b", "{1}", "100%", "%3A", "ערוץ 12", "ニュース", "🎬", "x" * 128)
    ]
    return [
        (flat, tuple(str(part) for item in flat.items() for part in item)),
        (no_offset, ("data", json.dumps({**no_offset, "received_at": now.replace(tzinfo=None).isoformat()}))),
        (twice, ("data", b'{"segment_id": "first", ' + json.dumps(twice, default=str).encode()[1:])),
        (large, ("data", json.dumps({**large, "thumbnail": "x" * 1_000_000}, default=str))),
        *((one, ("data", json.dumps(one, default=str))) for one in named),
        *((one, ("note", "before", "data", json.dumps(one, default=str))) for one in [segment("late field")]),
    ]


async def test_bad_input_stops_nothing_and_is_explained_and_good_input_beside_it_is_counted(system: Pods) -> None:
    worker = await system.start()
    sent: dict[str, str] = {}
    for name, (fields, _, _) in MALFORMED.items():
        sent[system.add(*fields)] = name
        system.publish(segment(f"beside {name}"))
    for one, fields in odd_but_valid():
        system.add(*fields)
        system.oracle.record("good", one)  # type: ignore[arg-type]
    seen = await system.assert_exact()
    assert seen.ledger.counted == system.oracle.segments
    assert seen.watermark_ms == seen.now_ms
    letters = {sent[letter["entry_id"]]: (letter["reason"], letter["detail"]) for letter in system.dead()}
    assert letters.keys() == MALFORMED.keys()
    for name, (_, reason, words) in MALFORMED.items():
        assert letters[name][0] == reason, (name, letters[name])
        assert words in letters[name][1], (name, letters[name])
        assert letters[name][1].isprintable(), name
        assert 10 < len(letters[name][1]) < 300, name
    assert seen.ledger.dead_lettered == len(MALFORMED)
    assert troubles(worker) == []


async def test_sigterm_under_load_commits_what_is_in_hand_and_leaves(system: Pods) -> None:
    first, second = await system.start(), await system.start()
    async with system.load(800):

        async def both_count() -> bool:
            counts = [
                (await metrics(worker))["streamproc_events_total", (("outcome", "counted"),)]
                for worker in (first, second)
            ]
            return min(counts) > 100

        await until(both_count)
        code, _ = await leave(first)
        (left,) = system.consumers()
        pending = system.redis.xinfo_consumers(system.keys.stream, system.settings.group)
        assert (code, [info["name"].decode() for info in pending]) == (0, [left])
        assert troubles(first) == []
    await system.assert_exact()
    assert system.redis.xpending(system.keys.stream, system.settings.group)["pending"] == 0


async def test_a_worker_leaves_in_time_even_if_redis_is_frozen(mongod: EmbeddedServer) -> None:
    with start_valkey() as frozen:
        async with pods(frozen.url, mongod.url) as system:
            worker = await system.start()
            await become_ready(worker)
            system.publish(segment("a"))
            os.kill(frozen.pid, signal.SIGSTOP)
            try:
                code, log = await leave(worker)
            finally:
                os.kill(frozen.pid, signal.SIGCONT)
            assert code == 0
            assert "Traceback" not in log
            await system.start()
            await system.assert_exact()


async def test_a_password_is_never_told(mongod: EmbeddedServer) -> None:
    secret = "s3cr3t/w0rd"
    mongodb_url = mongod.url.replace("mongodb://", "mongodb://dana:s3cr3t%2Fw0rd@")
    with start_valkey() as guarded:
        async with pods(guarded.url, mongod.url) as system:
            system.redis.config_set("requirepass", secret)
            right = guarded.url.replace("redis://", "redis://:s3cr3t%2Fw0rd@")
            counts = await system.start(REDIS_URL=right, MONGODB_URL=mongodb_url, LOG_FORMAT="json")
            refused = await system.start(REDIS_URL=guarded.url.replace("redis://", "redis://:wr0ng@"))
            said = []
            for worker, servers in ((counts, ["mongodb"]), (refused, ["redis"])):

                async def explained(worker: Any = worker, servers: list[str] = servers) -> bool:
                    trouble = json.loads((await get(worker, "/readyz"))[1]).get("trouble", [])
                    return [one.split()[0] for one in trouble] == servers and "not answered yet" not in trouble[0]

                await until(explained, system.logs)
                said += [(await get(worker, page))[1] for page in ("/readyz", "/metrics", "/healthz")]
                code, log = await leave(worker)
                assert code == 0
                said.append(log)
            assert all(json.loads(line)["message"] for line in said[3].splitlines())
            text = "\n".join(said)
            assert guarded.url.removeprefix("redis://") in text
            assert not [word for word in ("s3cr3t", "w0rd", "wr0ng") if word in text]


async def run_to_its_end(system: Pods, *arguments: str) -> tuple[int, str]:
    """Run a worker that must not run. Returns its exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproc", "worker", "--port", "0", *arguments),
        env={**os.environ, **system.variables},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await outcome(process)
    assert process.returncode is not None
    return process.returncode, said.decode()


def assert_refused(code: int, said: str, *words: str) -> None:
    """Exit code 1, and one line that says what is wrong and what to do."""
    complaints = [line for line in said.splitlines() if " INFO " not in line]
    assert (code, len(complaints)) == (1, 1), said
    assert not [word for word in words if word not in complaints[0]], said


async def test_a_worker_whose_layout_differs_says_so_and_ends(system: Pods) -> None:
    system.redis.hset(system.keys.layout, mapping={"shards": 4, "window_ms": 2000, "format_version": 1})
    code, said = await run_to_its_end(system)
    assert_refused(code, said, "shards is 4 there and 1 here", "SHARDS", "PREFIX")


async def test_a_worker_that_finds_another_collection_says_so_and_ends(system: Pods) -> None:
    await system.database.create_collection(COLLECTION)
    code, said = await run_to_its_end(system)
    assert_refused(code, said, "expected 'timeseries'", "STREAMPROC_MONGODB_DATABASE")


async def test_a_worker_whose_port_is_taken_says_so_and_ends(system: Pods) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = await run_to_its_end(system, "--port", port)
    assert_refused(code, said, f"port {port}", "in use", "STREAMPROC_WEB_PORT")


async def test_a_worker_on_a_server_that_is_too_old_says_so_and_ends(system: Pods) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Redis 6.2, as far as a worker gets with it."""
        info = b"# Server\r\nredis_version:6.2.14\r\n"
        while line := await reader.readline():
            if line.strip().upper() == b"INFO":
                writer.write(b"$%d\r\n%s\r\n" % (len(info), info))
            elif line.startswith(b"*") and line.strip() != b"*2":
                writer.write(b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as old:
        port = old.sockets[0].getsockname()[1]
        system.variables["STREAMPROC_REDIS_URL"] = f"redis://127.0.0.1:{port}"
        code, said = await run_to_its_end(system)
    assert_refused(code, said, "redis 6.2.14 is too old", "7.0 or newer")
