"""``python -m tests.chaos.publisher_hour``: an hour of publishing, while Redis is killed and comes back.

Two dubbing workers, one with asyncio, one with threads, each put 100 segments a second into a buffered publisher. Redis
writes all to its disk; it is killed (`kill -9`) as often as asked, evenly spread, and started again after a while. At
the end the stream is read: every segment must be there, those of a session in the order in which they were put, and no
`put` may have taken longer than its publisher was told to wait. Segments that are there twice are allowed: they count
once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import redis

from streamproc.embedded import EmbeddedServer, start_valkey
from streamproc.publisher import BlockingBufferedSegmentPublisher, BufferedSegmentPublisher, PublisherMetrics

_STREAM: Final = "dubbing:{0}:segments"
_SESSIONS: Final = 7
_PAGE: Final = 5000


@dataclass
class Row(PublisherMetrics):
    """What one dubbing worker met, and what is in Redis of it afterwards."""

    form: str
    put: int = 0
    longest_put_s: float = 0.0
    waits: int = 0
    most_waiting: int = 0
    sent_again: int = 0
    arrived: set[int] = field(default_factory=set)
    twice: int = 0
    out_of_order: int = 0
    _newest: dict[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        return self.put - len(self.arrived)

    def waiting(self, segments: int) -> None:
        self.most_waiting = max(self.most_waiting, segments)

    def repeated(self, segments: int) -> None:
        self.sent_again += segments

    def waited_s(self, seconds: float) -> None:
        self.waits += 1

    def was_put(self, seconds: float) -> None:
        self.put += 1
        self.longest_put_s = max(self.longest_put_s, seconds)

    def find(self, session_id: str, number: int) -> None:
        """An entry of the stream, in the stream's order."""
        if number in self.arrived:
            self.twice += 1
            return
        self.arrived.add(number)
        self.out_of_order += number < self._newest.get(session_id, -1)
        self._newest[session_id] = number


@dataclass(frozen=True)
class Course:
    """How long, how fast, and what Redis goes through."""

    seconds: float
    rate: float = 100.0
    kills: int = 2
    away_s: float = 20.0
    wait_up_to_s: float = 1.0


async def run(course: Course, tell: Callable[[str], None]) -> list[Row]:
    """Returns a row for each form. Raises PublishFailed or BufferFull where a publisher did."""
    rows = [Row("asyncio"), Row("threads")]
    with start_valkey(persistent=True) as server:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_with_asyncio(server.url, course, rows[0]))
            tasks.create_task(asyncio.to_thread(_with_threads, server.url, course, rows[1]))
            tasks.create_task(_kill_now_and_then(server, course, tell))
        _look(server.url, rows)
    return rows


async def _with_asyncio(url: str, course: Course, row: Row) -> None:
    async with BufferedSegmentPublisher(url, wait_up_to_s=course.wait_up_to_s, metrics=row) as publisher:
        for due_s, segment in _segments(course, row.form):
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            began_s = time.monotonic()
            await publisher.put(segment)
            row.was_put(time.monotonic() - began_s)


def _with_threads(url: str, course: Course, row: Row) -> None:
    with BlockingBufferedSegmentPublisher(url, wait_up_to_s=course.wait_up_to_s, metrics=row) as publisher:
        for due_s, segment in _segments(course, row.form):
            time.sleep(max(0.0, due_s - time.monotonic()))
            began_s = time.monotonic()
            publisher.put(segment)
            row.was_put(time.monotonic() - began_s)


def _segments(course: Course, form: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """When each is due, and what it is."""
    start_s = time.monotonic()
    for number in range(round(course.seconds * course.rate)):
        yield (
            start_s + number / course.rate,
            {
                "segment_id": str(number),
                "channel_id": "kan-11",
                "session_id": f"{form}-{number % _SESSIONS}",
                "user_id": "u-1",
                "received_at": datetime.now(UTC),
                "extraction_ms": 45,
                "dubbing_ms": 1100,
                "reinsertion_ms": 55,
                "source_language": "he",
                "target_language": "en",
            },
        )


async def _kill_now_and_then(server: EmbeddedServer, course: Course, tell: Callable[[str], None]) -> None:
    for number in range(course.kills):
        await asyncio.sleep(course.seconds / (course.kills + 1))
        os.kill(server.pid, signal.SIGKILL)
        tell(f"Redis killed for the {number + 1}. time")
        await asyncio.sleep(course.away_s)
        await asyncio.to_thread(server.restart)
        tell("Redis is back")


def _look(url: str, rows: list[Row]) -> None:
    """Read the whole stream."""
    row_of = {row.form: row for row in rows}
    after = "-"
    with redis.Redis.from_url(url) as client:
        while page := client.xrange(_STREAM, min=after, count=_PAGE):
            for entry_id, fields in page:
                event = orjson.loads(fields[b"data"])
                row_of[event["session_id"].partition("-")[0]].find(event["session_id"], int(event["segment_id"]))
                after = f"({entry_id.decode()}"


def main() -> int:
    """Exit code 0: nothing lost, order kept, no put longer than told to wait; 1: otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.publisher_hour", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="how long (default: %(default)g)")
    parser.add_argument("--kills", type=int, default=Course.kills, help="of Redis (default: %(default)d)")
    parser.add_argument("--away", type=float, default=Course.away_s, help="seconds, each time (default: %(default)g)")
    options = parser.parse_args()
    course = Course(options.minutes * 60, kills=options.kills, away_s=options.away)
    started_s = time.monotonic()
    rows = asyncio.run(run(course, lambda line: _tell(f"{time.monotonic() - started_s:6.0f} s  {line}")))
    print(f"{'':8}{'put':>10}{'lost':>6}{'out of order':>14}{'sent again':>12}{'twice':>7}", end="")  # noqa: T201
    print(f"{'longest put':>13}{'most waiting':>14}")  # noqa: T201
    for row in rows:
        print(f"{row.form:8}{row.put:>10,}{row.lost:>6}{row.out_of_order:>14}{row.sent_again:>12,}", end="")  # noqa: T201
        print(f"{row.twice:>7,}{row.longest_put_s * 1000:>10.1f} ms{row.most_waiting:>14,}")  # noqa: T201
    print(  # noqa: T201
        f"\n{options.minutes:g} minutes, {course.rate:g} segments a second each; Redis killed {course.kills} times, "
        f"away for {course.away_s:g} s; a put may wait {course.wait_up_to_s:g} s."
    )
    passed = all(not row.lost and not row.out_of_order and row.longest_put_s <= course.wait_up_to_s for row in rows)
    return 0 if passed else 1


def _tell(line: str) -> None:
    """Progress, which is not the result."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
