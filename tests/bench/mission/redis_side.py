"""The hourly job of the review against our flush, on the same hour; and what a segment takes in Redis."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import bson
import orjson
import redis.asyncio

from streamproc.metrics import Metrics
from streamproc.roles.flusher import Flusher, FlushPolicy
from streamproc.stores.mongo.collection import COLLECTION, ensure_collection
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.windows import WindowStore

from .. import memory
from .load import Database
from .redis_erasure import measure_erasure
from .results import Job, RedisSide

_SLOW_US: Final = 100
_REMEMBERED: Final = 100_000
#: So many windows are enough to say what a segment takes.
_WEIGHED: Final = 100

#: How far apart the mean latency may be: the review rounds three means to two digits and adds them up.
_ROUNDING_MS: Final = 0.02


class RedisBench:
    """An hour in both layouts on one server, one after the other."""

    def __init__(self, redis_url: str, database: Database, segments_an_hour: int) -> None:
        self._client: Any = connect(redis_url)
        self._texts: Any = redis.asyncio.Redis.from_url(redis_url, decode_responses=True, protocol=2)
        self._database = database
        self._segments_an_hour = segments_an_hour
        self._disagreeing = 0
        self._review_document_bytes = 0.0

    async def measure(self, sizes: list[int]) -> RedisSide:
        """Both jobs at each size, in windows."""
        jobs = [await self._both(windows) for windows in sizes]
        weighed = min(_WEIGHED, sizes[-1])
        events = memory.events_of(weighed * self._segments_an_hour, weighed)

        async def weigh(write: memory.Write) -> float:
            return (await memory.bytes_of(self._client, write, events, memory.USUAL))[0]

        of_review, ours = (list(side) for side in zip(*jobs, strict=True))
        measured = RedisSide(
            review=of_review,
            ours=ours,
            erasure=await measure_erasure(self._client, self._texts, sizes[0] * self._segments_an_hour, sizes[0]),
            disagreeing_windows=self._disagreeing,
            review_segment_bytes=await weigh(memory.mission),
            our_segment_bytes=await weigh(memory.ours),
            stream_entry_bytes=await weigh(memory.stream),
            review_document_bytes=self._review_document_bytes,
        )
        await self._client.aclose()
        await self._texts.aclose()
        return measured

    async def _both(self, windows: int) -> tuple[Job, Job]:
        events = await asyncio.to_thread(memory.events_of, windows * self._segments_an_hour, windows)
        hour = datetime.fromisoformat(orjson.loads(events[0])["received_at"]).replace(minute=0, second=0, microsecond=0)

        await self._empty()
        await memory.mission(self._client, events)
        theirs = await self._timed(len(events), windows, lambda: self._review_job(hour))
        of_theirs = await self._stored()
        self._review_document_bytes = sum(len(bson.encode(one)) for one in of_theirs.values()) / len(of_theirs)

        await self._empty()
        await EntryStream(Shard(self._client), self._client, "bench").ensure_group()
        await memory.ours(self._client, events)
        ours = await self._timed(len(events), windows, self._flush)
        self._disagreeing += disagreeing(of_theirs, await self._stored())
        return theirs, ours

    async def _empty(self) -> None:
        await self._client.execute_command("FLUSHALL", "SYNC")
        await self._database.client.drop_database(self._database)
        await ensure_collection(self._database)

    async def _timed(self, segments: int, windows: int, job: Callable[[], Awaitable[None]]) -> Job:
        """Seconds for whoever waits for the job; the rest by the server's own account."""
        for name, value in {"slowlog-log-slower-than": _SLOW_US, "slowlog-max-len": _REMEMBERED}.items():
            await self._client.execute_command("CONFIG", "SET", name, value)
        await self._client.execute_command("SLOWLOG", "RESET")
        cpu_s = await self._cpu_s()
        begun_s = time.perf_counter()
        await job()
        seconds = time.perf_counter() - begun_s
        cpu_s = await self._cpu_s() - cpu_s
        # An entry: id, when, microseconds, the command's words, and who asked.
        slow = await self._client.execute_command("SLOWLOG", "GET", -1)
        longest_ms: dict[str, float] = {}
        for _, _, took_us, words, *_ in slow:
            command = words[0].decode()
            longest_ms[command] = max(longest_ms.get(command, 0.0), took_us / 1000)
        return Job(segments, windows, seconds, cpu_s, longest_ms)

    async def _cpu_s(self) -> float:
        used = await self._texts.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])

    async def _review_job(self, hour: datetime) -> None:
        """As the review has it, mended where it would not run: it takes the hour that has just begun, and calls `int`
        on the text of an error, which fails on the first segment, error or not (``int("")``).
        """
        segment_keys = await self._texts.keys(f"dubbing:segment:{hour:%Y%m%d%H}:*")
        groups: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
        for key in segment_keys:
            segment = await self._texts.hgetall(key)
            groups[segment["channel_id"], segment["session_id"], segment["user_id"]].append(segment)
        for identity, segments in groups.items():
            await self._database[COLLECTION].insert_one(_review_document(hour, identity, segments))
        await self._texts.delete(*segment_keys)

    async def _flush(self) -> None:
        store, windows = MeasurementStore(self._database), WindowStore(Shard(self._client), memory.WINDOWING)
        flusher = Flusher(windows, store, memory.WINDOWING, Metrics(), FlushPolicy())
        while await flusher.run_once():
            pass

    async def _stored(self) -> dict[str, dict[str, Any]]:
        found = self._database[COLLECTION].find()
        return {document["metadata"]["session_id"]: document async for document in found}


def _review_document(hour: datetime, identity: tuple[str, str, str], segments: list[dict[str, str]]) -> dict[str, Any]:
    means = {
        f"avg_{part}_ms": sum(float(one[f"{part}_ms"]) for one in segments) / len(segments)
        for part in ("extraction", "dubbing", "reinsertion")
    }
    return {
        "timestamp": hour,
        "metadata": {
            **dict(zip(("channel_id", "session_id", "user_id"), identity, strict=True)),
            "platform": segments[0]["platform"],
        },
        "segments_processed": len(segments),
        **{name: round(mean, 2) for name, mean in means.items()},
        "avg_total_ms": round(sum(means.values()), 2),
        "total_original_bytes": sum(int(one["original_bytes"]) for one in segments),
        "total_dubbed_bytes": sum(int(one["dubbed_bytes"]) for one in segments),
        "error_count": sum(bool(one["error"]) for one in segments),
        "retry_count": sum(int(one["retry_count"]) for one in segments),
        "source_languages": dict(Counter(one["source_language"] for one in segments)),
        "target_languages": dict(Counter(one["target_language"] for one in segments)),
    }


def disagreeing(theirs: dict[str, dict[str, Any]], ours: dict[str, dict[str, Any]]) -> int:
    """How many windows the two jobs made different measurements of."""
    names = ("segments_processed", "total_original_bytes", "total_dubbed_bytes", "error_count", "retry_count")

    def differ(session: str) -> bool:
        if session not in theirs or session not in ours:
            return True
        a, b = theirs[session], ours[session]
        far = abs(a["avg_total_ms"] - b["avg_total_ms"]) > _ROUNDING_MS
        return far or any(a[name] != b[name] for name in names)

    return sum(map(differ, theirs.keys() | ours.keys()))
