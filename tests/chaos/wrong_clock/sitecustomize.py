"""Python loads this before a program when its directory is on PYTHONPATH: the wall clock is then wrong.

CLOCK_SHIFT_SECONDS says by how much. Everything that asks Python for the time of day is told so: `time.time`,
`time.time_ns`, `time.localtime`, `time.gmtime`, `datetime.now`, `datetime.utcnow`, `date.today`.
"""

import ctypes
import datetime
import gc
import os
import time
from collections.abc import Callable

_SHIFT_S = float(os.environ["CLOCK_SHIFT_SECONDS"])
_time, _time_ns = time.time, time.time_ns
_datetime = datetime.datetime
_now = _datetime.now


class _BrokenDown:
    """`time.localtime` or `time.gmtime`. No function: as an attribute of a class (logging has one) it must not bind."""

    def __init__(self, original: Callable[[float], time.struct_time]) -> None:
        self._original = original

    def __call__(self, seconds: float | None = None) -> time.struct_time:
        return self._original(time.time() if seconds is None else seconds)


def _replace(owner: type, name: str, method: object) -> None:
    """Replace a method of a class that is written in C: its dictionary is reachable, though not by assignment."""
    gc.get_referents(owner.__dict__)[0][name] = classmethod(method)  # type: ignore[arg-type]
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))


time.time = lambda: _time() + _SHIFT_S
time.time_ns = lambda: _time_ns() + int(_SHIFT_S * 1e9)
time.localtime = _BrokenDown(time.localtime)  # type: ignore[assignment]
time.gmtime = _BrokenDown(time.gmtime)  # type: ignore[assignment]
_shift = datetime.timedelta(seconds=_SHIFT_S)
_replace(_datetime, "now", lambda _class, tz=None: _now(tz) + _shift)
_replace(_datetime, "utcnow", lambda _class: _now(datetime.UTC).replace(tzinfo=None) + _shift)
_replace(datetime.date, "today", lambda _class: (_now() + _shift).date())
