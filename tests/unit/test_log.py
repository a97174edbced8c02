"""The log: what is repeated is held back and told with its number; a line is a line, as text and as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest

from streamproc.cli.log import JsonLines, SeldomHandler, TextLines


class Log:
    """A logger whose clock is the test's, and whose timers run when it says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.stream = StringIO()
        self.handler = SeldomHandler(self.stream, hold_s=30, clock=lambda: self.now_s, later=self._later)
        self.logger = logging.Logger("test")
        self.logger.addHandler(self.handler)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.timers.append((self.now_s + delay_s, call))

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        for due in [timer for timer in self.timers if timer[0] <= self.now_s]:
            self.timers.remove(due)
            due[1]()

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def log() -> Log:
    return Log()


def test_repeats_are_held_back_and_told_once_with_their_number(log: Log) -> None:
    for number in range(18):
        log.logger.warning("%d entries", number)
    assert log.lines == ["0 entries"]
    log.pass_time(29)
    assert log.lines == ["0 entries"]
    log.pass_time(1)
    assert log.lines == ["0 entries", "17 entries (repeated 17 times)"]


def test_a_single_repeat_is_told_late_as_it_is(log: Log) -> None:
    log.logger.info("pass %s", "first")
    log.logger.info("pass %s", "second")
    log.pass_time(30)
    assert log.lines == ["pass first", "pass second"]


def test_what_was_held_back_is_told_by_the_next_record_of_whatever_kind(log: Log) -> None:
    for number in range(3):
        log.logger.info("one %d", number)
        log.logger.info("other %d", number)
    log.now_s += 60
    log.logger.info("something else")
    assert log.lines == ["one 0", "other 0", "one 2 (repeated 2 times)", "other 2 (repeated 2 times)", "something else"]


def test_a_thread_is_not_kept_from_logging_by_one_that_has_logged(log: Log) -> None:
    log.logger.info("first")
    assert log.handler.lock is not None
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(log.handler.lock.acquire, timeout=10).result()


def test_what_comes_again_after_the_time_is_told_at_once(log: Log) -> None:
    log.logger.info("again")
    log.pass_time(30)
    log.logger.info("again")
    assert log.lines == ["again", "again"]


def test_the_log_of_a_flood_grows_with_time_alone(log: Log) -> None:
    for _ in range(10):
        for number in range(1000):
            log.logger.warning("window %d is bad", number)
        log.pass_time(30)
    assert len(log.lines) == 11
    assert log.lines[-1] == "window 999 is bad (repeated 1000 times)"


def test_things_of_different_subject_level_or_words_do_not_hold_each_other_back(log: Log) -> None:
    log.logger.warning("%s: away", "redis", extra={"about": "redis"})
    log.logger.warning("%s: away", "mongodb", extra={"about": "mongodb"})
    log.logger.info("%s: away", "redis", extra={"about": "redis"})
    log.logger.warning("%s: back", "redis", extra={"about": "redis"})
    assert log.lines == ["redis: away", "mongodb: away", "redis: away", "redis: back"]


def test_what_is_to_be_told_each_time_is(log: Log) -> None:
    for _ in range(3):
        log.logger.info("GET /", extra={"each": True})
    assert log.lines == ["GET /"] * 3


def test_what_is_held_back_at_the_end_is_told(log: Log) -> None:
    for _ in range(3):
        log.logger.warning("again")
    log.handler.close()
    assert log.lines == ["again", "again (repeated 2 times)"]


def test_json_is_one_object_a_line_with_time_extras_and_exception(log: Log) -> None:
    log.handler.setFormatter(JsonLines())
    log.logger.warning("two\nlines", extra={"counted": 3})
    try:
        raise ValueError("in\nlines")
    except ValueError:
        log.logger.exception("broken")
    first, second = map(json.loads, log.lines)
    assert first.pop("at").endswith("Z")
    assert first == {"level": "warning", "logger": "test", "message": "two\nlines", "counted": 3}
    assert second["exception"].startswith("Traceback")


def test_a_repeat_keeps_its_extras_and_the_time_it_was_told(log: Log) -> None:
    log.handler.setFormatter(JsonLines())
    for number in range(3):
        log.logger.warning("again", extra={"number": number})
    log.pass_time(30)
    first, second = map(json.loads, log.lines)
    assert (second["number"], second["message"]) == (2, "again (repeated 2 times)")
    assert first["at"] <= second["at"]


def test_text_is_one_line_whatever_is_in_it(log: Log) -> None:
    log.handler.setFormatter(TextLines())
    log.logger.warning("two\nlines")
    (line,) = log.lines
    assert line.endswith("WARNING two lines")
