"""Dubbing workers: segments of now, of hours ago, from the future, broken ones, and all of them over again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson

from streamproc.core.windows import Windowing

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHANNELS = ("kan-11", "news:24")
_LANGUAGES = ("en", "ru", "ar")


class Producers:
    """Draws events. Each has a segment id of its own, unless it is a repetition.

    Args:
        sessions: how many there are; few, so that windows are contended.
        margin_ms: how far beyond the bound events are that are too late or from the future, and how far from it those
            that are repeated: a clock that is set back may judge those in between either way.
    """

    def __init__(self, rng: Random, windowing: Windowing, *, sessions: int, margin_ms: int = 0) -> None:
        self._rng = rng
        self._windowing = windowing
        self._sessions = sessions
        self._margin_ms = margin_ms
        self._drawn: list[dict[str, Any]] = []

    def draw(self, now_ms: int) -> dict[str, Any]:
        """The next event, to be added at `now_ms` or, where the clock has been set back, somewhat before."""
        draw = self._rng.random()
        if self._drawn and draw < 0.15 and self._is_certain(again := self._rng.choice(self._drawn), now_ms):
            return again
        if draw < 0.55:
            return self._event(now_ms - self._rng.randrange(1000))
        if draw < 0.9:
            return self._event(self._late_ms(now_ms))
        if draw < 0.95:
            return self._event(now_ms - self._reach_ms() - self._margin_ms - self._rng.randrange(1, 5000))
        if draw < 0.97:
            return self._event(now_ms + self._windowing.future_ms + self._margin_ms + self._rng.randrange(1, 5000))
        return self._event(now_ms) | {"session_id": ""}

    def draw_user(self) -> str:
        return f"user-{self._rng.randrange(2)}"

    def _is_certain(self, event: dict[str, Any], now_ms: int) -> bool:
        """Whether the event is judged alike by each clock that `now_ms`, or a time up to the margin before, may be."""
        received_ms = (event["received_at"] - _EPOCH) // timedelta(milliseconds=1)
        too_late_ms = self._windowing.late_until(self._windowing.start_of(received_ms)) + 1
        welcome_ms = received_ms - self._windowing.future_ms + 1
        in_doubt = range(now_ms - self._margin_ms + 1, now_ms + 1)
        return too_late_ms not in in_doubt and welcome_ms not in in_doubt

    def _late_ms(self, now_ms: int) -> int:
        """In a window that has ended, and still takes late events: up to the very last that does."""
        oldest_start_ms = self._windowing.start_of(now_ms - self._reach_ms() - 1) + self._windowing.length_ms
        return self._rng.randrange(oldest_start_ms, now_ms)

    def _reach_ms(self) -> int:
        return self._windowing.length_ms + self._windowing.horizon_ms

    def _event(self, received_ms: int) -> dict[str, Any]:
        rng = self._rng
        session = rng.randrange(self._sessions)
        event = {
            "segment_id": f"segment-{len(self._drawn):03d}",
            "channel_id": _CHANNELS[session % len(_CHANNELS)],
            "session_id": f"session-{session}",
            "user_id": self.draw_user(),
            "received_at": _EPOCH + timedelta(milliseconds=received_ms, microseconds=rng.randrange(1000)),
            "extraction_ms": rng.randrange(100_000) / 1024,
            "dubbing_ms": rng.uniform(500, 2000),
            "reinsertion_ms": rng.randrange(100),
            "original_bytes": rng.randrange(1 << 21),
            "dubbed_bytes": rng.randrange(1 << 21),
            "source_language": "he",
            "target_language": rng.choice(_LANGUAGES),
            "error": rng.choice(("", "", "no speech found")),
            "retry_count": rng.randrange(3),
        }
        self._drawn.append(event)
        return event


def as_entry(event: dict[str, Any]) -> tuple[str, bytes]:
    """The fields of its stream entry."""
    return "data", orjson.dumps(event)
