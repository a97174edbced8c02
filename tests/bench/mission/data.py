"""The segments that both options store: the same for the same user and hour, however many users there are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from streamproc.core.details import Detail
from streamproc.core.windows import WindowKey

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Segment(NamedTuple):
    """One segment. Its durations are whole milliseconds, as in the review, so that sums are exact on both sides."""

    segment_id: str
    received_at_ms: int
    extraction_ms: int
    dubbing_ms: int
    reinsertion_ms: int
    original_bytes: int
    dubbed_bytes: int
    target_language: str
    error: str | None
    retry_count: int

    @property
    def total_ms(self) -> int:
        return self.extraction_ms + self.dubbing_ms + self.reinsertion_ms


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is: every user has one session a day, on one channel, all day long.

    Channels and users are as full as they would be with a thousand users, so that a question about one of them finds
    as much as it would then. What is scaled down is how many of them there are.
    """

    users: int
    days: int
    until_ms: int
    users_a_channel: int = 20
    segments_an_hour: int = 240

    @property
    def since_ms(self) -> int:
        return self.until_ms - self.days * DAY_MS

    @property
    def hours(self) -> range:
        """When each hour starts."""
        return range(self.since_ms, self.until_ms, HOUR_MS)

    @property
    def windows(self) -> int:
        return self.users * len(self.hours)

    @property
    def segments(self) -> int:
        return self.windows * self.segments_an_hour

    def keys(self, start_ms: int) -> list[WindowKey]:
        """The windows of one hour, one for each user. Identifiers are 24 hex digits, as those of the review are."""
        return [
            WindowKey(start_ms, self.channel(user), _name("session", user, start_ms // DAY_MS), self.user(user))
            for user in range(self.users)
        ]

    def channel(self, user: int) -> str:
        return _name("channel", user // self.users_a_channel)

    def user(self, user: int) -> str:
        return _name("user", user)


def segments_of(scale: Scale, key: WindowKey) -> list[Segment]:
    """The segments of one window, in order of time."""
    return list(_simulated(random.Random(f"{key.user_id} {key.start_ms}"), key.start_ms, scale.segments_an_hour))


def _simulated(rng: random.Random, start_ms: int, number: int) -> Iterator[Segment]:
    apart_ms = HOUR_MS // number
    first = start_ms % DAY_MS // apart_ms
    for tick in range(number):
        yield Segment(
            segment_id=f"segment-{first + tick:05d}",
            received_at_ms=start_ms + tick * apart_ms + int(rng.random() * apart_ms),
            extraction_ms=round(rng.lognormvariate(0, 0.25) * 45),
            dubbing_ms=round(rng.lognormvariate(0, 0.25) * 1100),
            reinsertion_ms=round(rng.lognormvariate(0, 0.25) * 55),
            original_bytes=1_500_000 + int(rng.random() * 1_000_000),
            dubbed_bytes=1_500_000 + int(rng.random() * 1_000_000),
            target_language="en" if rng.random() < 0.5 else "ru",
            error="dubbing model timed out" if rng.random() < 0.01 else None,
            retry_count=int(rng.random() < 0.02),
        )


def detail_of(segment: Segment) -> Detail:
    """The segment as a window keeps it in Redis."""
    return Detail(
        received_at_us=segment.received_at_ms * 1000,
        extraction_us=segment.extraction_ms * 1000,
        dubbing_us=segment.dubbing_ms * 1000,
        reinsertion_us=segment.reinsertion_ms * 1000,
        total_us=segment.total_ms * 1000,
        original_bytes=segment.original_bytes,
        dubbed_bytes=segment.dubbed_bytes,
        source_language="he",
        target_language=segment.target_language,
        error=segment.error or "",
        retry_count=segment.retry_count,
    )


def date(moment_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=moment_ms)


def _name(kind: str, *numbers: int) -> str:
    return blake2b(f"{kind} {numbers}".encode(), digest_size=12).hexdigest()
