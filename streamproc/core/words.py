"""How numbers, times and names are said to a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Below that a tenth of a second is worth a look.
_TENTHS_S: Final = 9.95
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_NAMED: Final = 3
_WHOLE: Final = 100_000
_UNITS: Final = (("G", 9), ("M", 6), ("k", 3))


def duration(seconds: float) -> str:
    """In the largest unit of which there are at least two: ``0.4 s``, ``45 s``, ``12 min``, ``5 h``, ``3 d``."""
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= _TENTHS_S else f"{round(seconds, 1):g} s"


def listed(names: Iterable[str]) -> str:
    """A few by name, and how many more: ``a, b, c and 4 more``."""
    every = list(names)
    more = len(every) - _NAMED
    return ", ".join(every[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def short(number: int) -> str:
    """A count in at most seven characters: ``99,999``, then three digits or more: ``123k``, ``4.57M``, ``12.3G``."""
    if abs(number) < _WHOLE:
        return f"{number:,}"
    digits = len(str(abs(number)))
    unit, power = next((unit, power) for unit, power in _UNITS if digits > power)
    return f"{number / 10**power:,.{max(0, 2 - (digits - 1 - power))}f}{unit}"
