"""Dubbing workers: segments of now, late ones up to the last moment, untimely and broken ones, and all over again."""

from __future__ import annotations

from random import Random

from .oracle import kind
from .planning import Event
from .settings import WINDOWING

_REACH_MS = WINDOWING.length_ms + WINDOWING.horizon_ms


class Producers:
    """Draws events.

    Args:
        sessions: how many there are; few, so that windows are contended.
        deadly: whether there are events that end the process which tries to plan them.
    """

    def __init__(self, rng: Random, *, sessions: int, deadly: bool) -> None:
        self._rng = rng
        self._sessions = sessions
        self._deadly = deadly
        self._drawn: list[Event] = []

    def draw(self, added_ms: int, judged_ms: int) -> Event:
        """The next event, to be added at `added_ms`; when somebody reads it, it may be as early as `judged_ms`."""
        while True:
            event = self._draw(added_ms)
            if kind(event, added_ms) == kind(event, judged_ms):
                self._drawn.append(event)
                return event

    def draw_user(self) -> str:
        return f"user-{self._rng.randrange(2)}"

    def _draw(self, now_ms: int) -> Event:
        rng, draw = self._rng, self._rng.random()
        if self._drawn and draw < 0.15:
            return rng.choice(self._drawn)
        if draw < 0.55:
            return self._event(now_ms - rng.randrange(1000))
        if draw < 0.9:
            oldest_ms = WINDOWING.start_of(now_ms - _REACH_MS - 1) + WINDOWING.length_ms
            return self._event(rng.randrange(oldest_ms, now_ms + 1))
        if draw < 0.94:
            return self._event(now_ms - _REACH_MS - rng.randrange(1, 5000))
        if draw < 0.96:
            return self._event(now_ms + WINDOWING.future_ms + rng.randrange(1, 5000))
        return self._event(now_ms, "deadly" if self._deadly and draw < 0.98 else "malformed")

    def _event(self, received_ms: int, flaw: str = "") -> Event:
        session = f"session-{self._rng.randrange(self._sessions)}"
        return Event(f"s{len(self._drawn):02d}", session, self.draw_user(), max(0, received_ms), flaw)
