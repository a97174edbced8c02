"""The log: standard error, one line per thing worth knowing, as text or JSON, and repeats held back.

What is said again within `HOLD_S` of the same thing (template and `about`, not the numbers in it) is held back; then
its last record is written once, with how many there were. So the log grows with time, never with events. What is to be
told each time (an access log) says so: ``extra={"each": True}``.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, Final

import orjson

HOLD_S: Final = 30.0

# Faust's own progress, and what drivers say of each retry, are not worth a line: our services say what matters.
_NOISY: Final = ("faust", "mode", "aiohttp", "asyncio", "pymongo")
_STANDARD: Final = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "each"}

Key = tuple[str, int, str, str]


@dataclass(slots=True)
class _Held:
    """What is held back of one thing, until when."""

    until_s: float
    number: int = 0
    last: logging.LogRecord | None = None


class SeldomHandler(logging.StreamHandler[IO[str]]):
    """Writes a record at once, unless the same was written less than `hold_s` ago.

    Args:
        clock: seconds that never run back.
        later: calls a function after so many seconds, so that what is held back is told when nothing else is.
    """

    def __init__(
        self,
        stream: IO[str],
        *,
        hold_s: float = HOLD_S,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__(stream)
        self._hold_s = hold_s
        self._clock = clock
        self._later = later or _in_a_thread
        self._held: dict[Key, _Held] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "each", False):
            super().emit(record)
            return
        self._tell(self._clock())
        held = self._held.get(_key(record))
        if held is None:
            self._held[_key(record)] = _Held(self._clock() + self._hold_s)
            super().emit(record)
            return
        if not held.number:
            self._later(max(0.0, held.until_s - self._clock()), self.tell)
        held.number += 1
        held.last = record

    def tell(self) -> None:
        """Write what was held back long enough."""
        with self._locked():
            self._tell(self._clock())

    def close(self) -> None:
        """Write all that is held back."""
        with self._locked():
            self._tell(float("inf"))
        super().close()

    def _tell(self, now_s: float) -> None:
        for key, held in [item for item in self._held.items() if item[1].until_s <= now_s]:
            del self._held[key]
            if held.last is not None:
                self._held[key] = _Held(now_s + self._hold_s)
                super().emit(_repeated(held.last, held.number))

    def _locked(self) -> Any:
        assert self.lock is not None  # noqa: S101 - for the type checker: every handler has one
        return self.lock


class TextLines(logging.Formatter):
    """``2026-11-22 19:00:00,123 INFO    message``; of an exception what follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        return super().formatMessage(record).replace("\n", " ")


class JsonLines(logging.Formatter):
    """One JSON object per line: `at`, `level`, `logger`, `message`, and what the record was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def set_up(*, as_json: bool, level: str) -> None:
    """Log to standard error."""
    handler = SeldomHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _key(record: logging.LogRecord) -> Key:
    return record.name, record.levelno, str(record.msg), str(getattr(record, "about", ""))


def _repeated(record: logging.LogRecord, number: int) -> logging.LogRecord:
    """The last of several, with its own time and how many were held back; a single one as it was."""
    if number > 1:
        record.msg, record.args = f"{record.getMessage()} (repeated {number} times)", None
    return record


def _in_a_thread(delay_s: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(delay_s, call)
    timer.daemon = True
    timer.start()
