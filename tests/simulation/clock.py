"""The one clock of a simulation. Nobody in it looks at another."""

from __future__ import annotations

from typing import Final

#: 2020-01-01 00:00 UTC. Dead letters get ids by the server's own clock, which is later: none is ever trimmed.
START_MS: Final = 1_577_836_800_000


class Clock:
    """Milliseconds since the epoch, moved by the scheduler alone."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        #: The latest that it ever was: no entry has an id above it.
        self.latest_ms = START_MS

    def advance(self, ms: int) -> None:
        assert ms >= 0
        self.advance_to(self.now_ms + ms)

    def advance_to(self, ms: int) -> None:
        """Up to `ms`, and never back."""
        self.now_ms = max(self.now_ms, ms)
        self.latest_ms = max(self.latest_ms, self.now_ms)

    def set_back(self, ms: int) -> None:
        """As an administrator or a time server may do to the machine that Redis runs on."""
        self.now_ms -= ms

    def __str__(self) -> str:
        return f"{(self.now_ms - START_MS) / 1000:9.3f} s"
