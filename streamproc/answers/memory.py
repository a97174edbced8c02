"""Remembering for a minute, so that a dashboard which asks the same again and again is cheap.

And not beyond an erasure: of sums that hold an erased person nothing is left as soon as the erasure has gone through.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

KEPT_S: Final = 60.0

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Memory(Generic[_Key, _Value]):
    """At most `most` values, each for `KEPT_S`; the longest remembered makes room.

    Args:
        clock: seconds, which only grow.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._values: dict[_Key, tuple[float, _Value]] = {}
        self._erasure: object = None

    def renew(self, erasure: object) -> None:
        """Forget everything, unless this is still the last erasure."""
        if erasure != self._erasure:
            self._values.clear()
            self._erasure = erasure

    def get(self, key: _Key) -> _Value | None:
        self._make_room()
        found = self._values.get(key)
        return None if found is None else found[1]

    def keys(self) -> list[_Key]:
        """What is remembered."""
        self._make_room()
        return list(self._values)

    def put(self, key: _Key, value: _Value, erasure: object = None) -> None:
        """Remember from now on. `erasure`: which was the last when the value was read; it is not remembered if there
        has been another.
        """
        if erasure != self._erasure:
            return
        self._values.pop(key, None)
        self._values[key] = self._clock(), value
        self._make_room()

    def replace(self, key: _Key, value: _Value, erasure: object = None) -> None:
        """As `put`, but not longer than what it replaces; nothing if that is forgotten."""
        if key in self._values and erasure == self._erasure:
            self._values[key] = self._values[key][0], value

    def forget(self, key: _Key) -> None:
        """Fine if nothing is remembered."""
        self._values.pop(key, None)

    def _make_room(self) -> None:
        """The first is the oldest: a dict keeps the order of insertion."""
        until_s = self._clock() - KEPT_S
        while self._values:
            oldest, (since_s, _) = next(iter(self._values.items()))
            if since_s > until_s and len(self._values) <= self._most:
                return
            del self._values[oldest]
