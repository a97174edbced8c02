"""A stream full of events, and what must come of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final
from zlib import crc32

import orjson

_PIPELINE: Final = 1000
_RECENT: Final = 1000


@dataclass(frozen=True, slots=True)
class Load:
    """How many events of how many sessions there are, and how many come twice. A seed makes the same ones again."""

    events: int = 200_000
    sessions: int = 1000
    channels: int = 50
    duplicates: float = 0.01
    seed: int = 1
    #: Sessions take turns, instead of being drawn: no two events next to each other are of one window.
    in_turn: bool = False
    first_session: int = 0


class Truth:
    """What was published, by session: segments, their total time, errors. Shares no code with the product."""

    def __init__(self) -> None:
        self.segments: Counter[str] = Counter()
        self.total_us: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.duplicates = 0

    def record(self, session_id: str, total_us: int, error: str | None) -> None:
        self.segments[session_id] += 1
        self.total_us[session_id] += total_us
        self.errors[session_id] += error is not None

    def wrong(self, documents: list[dict[str, Any]]) -> list[str]:
        """Sessions whose measurement is missing, doubled or different."""
        stored = Counter(document["metadata"]["session_id"] for document in documents)
        wrong = {session for session in self.segments | stored if stored[session] != 1}
        for document in documents:
            session = document["metadata"]["session_id"]
            found = (
                document["segments_processed"],
                round(document["total_processing_time_ms"] * 1000),
                document["error_count"],
            )
            if found != (self.segments[session], self.total_us[session], self.errors[session]):
                wrong.add(session)
        return sorted(wrong)


def payloads(load: Load, hour: datetime, truth: Truth) -> Iterator[bytes]:
    """Events of some 450 bytes, spread over the hour, in random order of their sessions."""
    rng = random.Random(load.seed)
    recent: list[bytes] = []
    step = timedelta(hours=1) / load.events
    for number in range(load.events):
        if recent and rng.random() < load.duplicates:
            truth.duplicates += 1
            yield rng.choice(recent)
            continue
        payload = _payload(rng, load, number, hour + number * step, truth)
        if len(recent) < _RECENT:
            recent.append(payload)
        else:
            recent[number % _RECENT] = payload
        yield payload


def _payload(rng: random.Random, load: Load, number: int, at: datetime, truth: Truth) -> bytes:
    session = load.first_session + (number % load.sessions if load.in_turn else rng.randrange(load.sessions))
    session_id = f"session-{session:08d}"
    dubbing_us, error = rng.randrange(400_000, 2_400_000), "TTS timeout" if rng.random() < 0.02 else None
    truth.record(session_id, 45_250 + dubbing_us + 55_000, error)
    return orjson.dumps(
        {
            "segment_id": f"segment-{number:08d}",
            "channel_id": f"channel-{session % load.channels:03d}",
            "session_id": session_id,
            "user_id": f"user-{session:08d}",
            "received_at": at,
            "processing_started_at": at + timedelta(milliseconds=3),
            "processing_ended_at": at + timedelta(microseconds=100_250 + dubbing_us),
            "extraction_ms": 45.25,
            "dubbing_ms": dubbing_us / 1000,
            "reinsertion_ms": 55,
            "original_bytes": 2_097_152,
            "dubbed_bytes": 2_104_320,
            "source_language": "he",
            "target_language": "en",
            "platform": "web",
            "error": error,
            "retry_count": 0,
        }
    )


def last_hour(now_ms: float) -> datetime:
    """The start of the hour that has ended last: its windows are late, so they are flushed as soon as it is quiet."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


async def preload(redis: Any, streams: Sequence[str], load: Load) -> Truth:
    """Add all events to the streams of as many shards. Returns what must come of them."""
    truth = Truth()
    seconds, _ = await redis.time()
    events = payloads(load, last_hour(seconds * 1000), truth)
    while chunk := list(islice(events, _PIPELINE)):
        pipeline = redis.pipeline(transaction=False)
        for payload in chunk:
            pipeline.execute_command("XADD", streams[_shard(payload, len(streams))], "*", "data", payload)
        await pipeline.execute()
    return truth


def _shard(payload: bytes, shards: int) -> int:
    return crc32(orjson.loads(payload)["session_id"].encode()) % shards if shards > 1 else 0
