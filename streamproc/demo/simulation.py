"""Simulated dubbing workers: what they would XADD, with everything that goes wrong in production mixed in.

Time is an argument and randomness comes from the seed, so a simulation can be repeated exactly. Every kind keeps clear
of the bounds that decide about it, so that an entry which reaches Redis some seconds after it was made is still what
it was meant to be: `late` within half the lateness horizon (its repetition within three quarters of it), `too_late`
and `future` a minute and more beyond their bound.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from streamproc.demo import odd_entries
from streamproc.demo.oracle import Kind

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLEAR_OF_BOUND_MS: Final = 60_000
_SHORTEST_HORIZON_MS: Final = 10_000
_LONGEST_REPEAT_MS: Final = 15_000
_LATE_WINDOWS: Final = 4
#: Extraction, dubbing, reinsertion.
_MEDIANS_MS: Final = (45.0, 1100.0, 55.0)
_MEDIAN_BYTES: Final = 2_000_000
_ODD_CHANNELS: Final = ("news:24", "movies{hd}", "100%sport", "ערוץ-12", "кино", "ニュース")
_ODD_SESSIONS: Final = ("live:{}:tv", "{{{}}}", "{}%3A", "צפייה-{}", "séance {}")
_SOURCE_LANGUAGES: Final = ("he", "he", "he", "en")
_LANGUAGES: Final = ("en", "ru", "ar", "fr", "es", "am", "pt-BR")
_PLATFORMS: Final = ("web", "ios", "android", "tv")
_ERRORS: Final = ("dubbing model timed out", "no speech found", "reinsertion failed: codec 'opus' {0x1f}")


class Simulated(NamedTuple):
    """One entry to be added. A well-formed one goes through the publisher; an odd one is sent as its `fields` are."""

    kind: Kind
    event: dict[str, Any]
    fields: tuple[bytes | str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of what there is, as parts of 1. What is left is good.

    `repeated_at_once` is a part of the duplicates; the others come some seconds later.
    """

    late: float = 0.02
    too_late: float = 0.002
    future: float = 0.002
    malformed: float = 0.005
    duplicate: float = 0.02
    flat_fields: float = 0.01
    unknown_fields: float = 0.01
    error: float = 0.02
    retried: float = 0.02
    total_given: float = 0.3
    repeated_at_once: float = 0.5

    def of_kinds(self) -> tuple[list[Kind], list[float]]:
        unusual = {
            Kind.LATE: self.late,
            Kind.TOO_LATE: self.too_late,
            Kind.FUTURE: self.future,
            Kind.MALFORMED: self.malformed,
        }
        return [Kind.GOOD, *unusual], [1 - sum(unusual.values()), *unusual.values()]


class _Session:
    """One viewer: one channel, one user, one pair of languages, segments by number."""

    def __init__(self, number: int, seed: int, channel_id: str, rng: random.Random) -> None:
        plain = f"{seed}-{number:04d}"
        odd = number % 8 == 0
        self.session_id = _ODD_SESSIONS[number // 8 % len(_ODD_SESSIONS)].format(plain) if odd else f"session-{plain}"
        self.user_id = f"user:{plain}@tv" if odd else f"user-{plain}"
        self.channel_id = channel_id
        self.source_language = rng.choice(_SOURCE_LANGUAGES)
        self.target_language = rng.choice([code for code in _LANGUAGES if code != self.source_language])
        self.platform = rng.choice(_PLATFORMS)
        self.segments = 0

    def next_segment_id(self, received_at_us: int) -> str:
        """Holds the time, so that a simulation run again with its seed publishes new segments."""
        self.segments += 1
        return f"{received_at_us // 1000}-{self.segments:05d}"


class Simulation:
    """What simulated dubbing workers publish.

    Args:
        seed: the same seed, asked at the same times, gives the same entries. It is part of every session's id.
        sessions, channels: how many there are. Each session is on one channel.
        window_ms, grace_ms, horizon_ms, future_ms: as the workers are set; `horizon_ms` at least 10 s, since what
            takes that long to reach Redis could otherwise not be told from `too_late`.
    """

    def __init__(
        self,
        seed: int,
        *,
        sessions: int = 200,
        channels: int = 20,
        window_ms: int = 3_600_000,
        grace_ms: int = 120_000,
        horizon_ms: int = 86_400_000,
        future_ms: int = 300_000,
        shares: Shares | None = None,
    ) -> None:
        if horizon_ms < _SHORTEST_HORIZON_MS:
            raise ValueError(f"horizon_ms must be at least {_SHORTEST_HORIZON_MS} for a simulation, got {horizon_ms}")
        self._rng = random.Random(seed)
        self._window_ms, self._grace_ms, self._horizon_ms, self._future_ms = window_ms, grace_ms, horizon_ms, future_ms
        self._shares = shares or Shares()
        self._kinds, self._weights = self._shares.of_kinds()
        self._sessions = [_Session(i, seed, _channel_id(i % channels), self._rng) for i in range(sessions)]
        self._repeats: list[tuple[int, int, Simulated]] = []
        self._repeats_made = 0

    @property
    def session_ids(self) -> list[str]:
        return [session.session_id for session in self._sessions]

    def batch(self, now_ms: int, count: int) -> list[Simulated]:
        """The entries of this moment: `count` new ones, and repetitions, of some of these and of earlier ones."""
        batch = []
        while self._repeats and self._repeats[0][0] <= now_ms:
            batch.append(heapq.heappop(self._repeats)[2])
        for _ in range(count):
            entry = self._entry(now_ms)
            batch.append(entry)
            if entry.kind in (Kind.GOOD, Kind.LATE) and self._rng.random() < self._shares.duplicate:
                batch += self._repeat(entry, now_ms)
        return batch

    def _entry(self, now_ms: int) -> Simulated:
        kind = self._rng.choices(self._kinds, self._weights)[0]
        received_at_us = self._received_at_us(kind, now_ms)
        if received_at_us is None:
            kind, received_at_us = Kind.GOOD, self._just_now_us(now_ms)
        event = self._event(self._rng.choice(self._sessions), received_at_us)
        return Simulated(kind, event, self._odd_fields(kind, event))

    def _repeat(self, entry: Simulated, now_ms: int) -> list[Simulated]:
        """The same entry once more: half of the times at once, else some seconds later."""
        repeat = entry._replace(kind=Kind.DUPLICATE)
        if self._rng.random() < self._shares.repeated_at_once:
            return [repeat]
        due_ms = now_ms + self._rng.randrange(1000, min(_LONGEST_REPEAT_MS, self._horizon_ms // 4) + 1)
        self._repeats_made += 1  # the heap must never compare two entries
        heapq.heappush(self._repeats, (due_ms, self._repeats_made, repeat))
        return []

    def _received_at_us(self, kind: Kind, now_ms: int) -> int | None:
        """An event time that makes the event what it is to be; None where there is no such time just now."""
        spread_us = self._rng.randrange(3_600_000_000)
        if kind is Kind.LATE:
            return self._in_closed_window_us(now_ms)
        if kind is Kind.TOO_LATE:
            bound_ms = now_ms - self._horizon_ms - self._window_ms - _CLEAR_OF_BOUND_MS
            return bound_ms * 1000 - spread_us
        if kind is Kind.FUTURE:
            return (now_ms + self._future_ms + _CLEAR_OF_BOUND_MS) * 1000 + spread_us
        return self._just_now_us(now_ms)

    def _just_now_us(self, now_ms: int) -> int:
        return now_ms * 1000 - self._rng.randrange(1_000_000)

    def _in_closed_window_us(self, now_ms: int) -> int | None:
        current_ms = now_ms - now_ms % self._window_ms
        ends_ms = [current_ms - i * self._window_ms for i in range(_LATE_WINDOWS)]
        closed = [end for end in ends_ms if self._grace_ms <= now_ms - end <= self._horizon_ms // 2]
        if not closed:
            return None
        return self._rng.choice(closed) * 1000 - 1 - self._rng.randrange(self._window_ms * 1000)

    def _event(self, session: _Session, received_at_us: int) -> dict[str, Any]:
        rng, shares = self._rng, self._shares
        received_at = _EPOCH + timedelta(microseconds=received_at_us)
        extraction_ms, dubbing_ms, reinsertion_ms = (median * rng.lognormvariate(0, 0.25) for median in _MEDIANS_MS)
        failed = rng.random() < shares.error
        original_bytes = int(_MEDIAN_BYTES * rng.lognormvariate(0, 0.15))
        event: dict[str, Any] = {
            "segment_id": session.next_segment_id(received_at_us),
            "channel_id": session.channel_id,
            "session_id": session.session_id,
            "user_id": session.user_id,
            "received_at": received_at,
            "extraction_ms": extraction_ms,
            "dubbing_ms": dubbing_ms,
            "reinsertion_ms": reinsertion_ms,
            "original_bytes": original_bytes,
            "dubbed_bytes": 0 if failed else int(original_bytes * rng.uniform(0.95, 1.1)),
            "source_language": session.source_language,
            "target_language": session.target_language,
            "platform": session.platform,
            "retry_count": rng.choice((1, 1, 2, 3)) if failed or rng.random() < shares.retried else 0,
        }
        if failed:
            event["error"] = rng.choice(_ERRORS)
        if rng.random() < shares.total_given:  # some workers time the whole themselves, waiting included
            total_ms = extraction_ms + dubbing_ms + reinsertion_ms + rng.expovariate(1 / 20)
            event["total_ms"] = total_ms
            event["processing_started_at"] = received_at
            event["processing_ended_at"] = received_at + timedelta(milliseconds=total_ms)
        return event

    def _odd_fields(self, kind: Kind, event: dict[str, Any]) -> tuple[bytes | str, ...] | None:
        if kind is Kind.MALFORMED:
            return odd_entries.malformed(event, self._rng)
        draw = self._rng.random()
        if draw < self._shares.flat_fields:
            return odd_entries.flat(event)
        if draw < self._shares.flat_fields + self._shares.unknown_fields:
            return odd_entries.with_unknown_fields(event)
        return None


def _channel_id(number: int) -> str:
    return _ODD_CHANNELS[number] if number < len(_ODD_CHANNELS) else f"channel-{number:02d}"
