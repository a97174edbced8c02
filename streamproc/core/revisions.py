"""Which of several measurements of one window is right, and what a flusher does about the others.

A window only grows, so the number of its segments is its revision: more segments supersede fewer, always, without
clocks (docs/adr/0002). Of twins with as many segments the later write wins. A write number is unique to one insert
and grows with time, so that a reader and a delete can tell twins apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from streamproc.core.windows import WindowKey

_RANDOM_BITS = 20


class Stored(NamedTuple):
    """What is known of one stored measurement."""

    key: WindowKey
    revision: int
    write: int
    digest: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a flush of one window does. `obsolete` may be deleted once a higher measurement is known to be stored."""

    insert: bool
    obsolete: list[Stored]
    #: Redis holds fewer segments than were stored: it lost data, and what is stored is kept.
    shrunk: bool = False
    #: As many segments as were stored, but others: Redis was rolled back and filled again.
    diverged: bool = False


def highest(stored: Iterable[Stored]) -> Stored | None:
    """The one that counts: highest revision, then highest write."""
    return max(stored, key=_rank, default=None)


def decide(revision: int, digest: str, stored: list[Stored]) -> Decision:
    """Compare a window's size and digest with what is stored of it."""
    best = highest(stored)
    if best is None or revision > best.revision:
        return Decision(insert=True, obsolete=list(stored))
    if revision == best.revision and digest != best.digest:
        return Decision(insert=True, obsolete=list(stored), diverged=True)
    lower = [one for one in stored if _rank(one) < _rank(best)]
    return Decision(insert=False, obsolete=lower, shrunk=revision < best.revision)


def write_number(now_ms: int, random_bits: int, stored: Iterable[Stored] = ()) -> int:
    """A number for one insert: milliseconds and 20 random bits, and above every write stored of the window.

    The clock alone would not do: after a failover it may lag behind the one that numbered the last write. Then the
    millisecond after that write counts; the random bits stay, for two flushers may see the same last write.
    """
    last_ms = max((one.write >> _RANDOM_BITS for one in stored), default=-1)
    return (max(now_ms, last_ms + 1) << _RANDOM_BITS) | (random_bits & ((1 << _RANDOM_BITS) - 1))


def _rank(stored: Stored) -> tuple[int, int]:
    return stored.revision, stored.write
