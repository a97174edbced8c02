"""Do the clocks agree? A clock is read over the network, so never more exactly than half the way there and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final, NamedTuple

from streamproc.app.checkup.diagnosis import Check, Diagnosis, red, yellow

_NOTICED_MS: Final = 1000
_SYNCHRONIZE: Final = "Let both machines keep time with NTP (timedatectl, chronyc tracking)"

SKEW = Check(
    "clocks",
    "this machine, Redis and MongoDB agree within a second, and what reading them costs",
    off=yellow("two differ by more than a second", _SYNCHRONIZE),
    far=red(
        "two differ by more than STREAMPROC_FUTURE_TOLERANCE_SECONDS: events become dead letters (future), or late",
        f"{_SYNCHRONIZE}. The producers' machines as well: they stamp the events",
    ),
)
CHECKS: Final = (SKEW,)


class Reading(NamedTuple):
    """A server's clock, and by this machine's clock when it was asked and when the answer was there."""

    sent_ms: float
    server_ms: float
    received_ms: float

    @property
    def ahead_ms(self) -> float:
        """By how much the server's clock is ahead of this machine's, if the way there took as long as that back."""
        return self.server_ms - (self.sent_ms + self.received_ms) / 2

    @property
    def uncertain_ms(self) -> float:
        return (self.received_ms - self.sent_ms) / 2


def check_clocks(readings: Mapping[str, Reading], tolerance_ms: float) -> Iterator[Diagnosis]:
    """A line for each two of this machine and the servers that could be asked."""
    clocks = {"this machine": Reading(0, 0, 0), **readings}
    for (one, first), (other, second) in combinations(clocks.items(), 2):
        apart_ms, uncertain_ms = second.ahead_ms - first.ahead_ms, first.uncertain_ms + second.uncertain_ms
        yield _compare(one, other, apart_ms, uncertain_ms, tolerance_ms)


def _compare(one: str, other: str, ahead_ms: float, uncertain_ms: float, tolerance_ms: float) -> Diagnosis:
    side = "ahead of" if ahead_ms >= 0 else "behind"
    found = f"{other} is {_shown(abs(ahead_ms))} {side} {one}, give or take {_shown(uncertain_ms)}"
    certain_ms = abs(ahead_ms) - uncertain_ms
    if certain_ms > tolerance_ms:
        return SKEW.trouble("far", found)
    return SKEW.trouble("off", found) if certain_ms > _NOTICED_MS else SKEW.ok(found)


def _shown(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < _NOTICED_MS else f"{ms / 1000:.1f} s"
