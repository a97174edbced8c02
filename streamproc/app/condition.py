"""Something that holds or does not: a server answers, an activity succeeds. Said once when it changes."""

from __future__ import annotations

import logging
from typing import Final

from prometheus_client import Gauge

logger = logging.getLogger(__name__)

_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 5.0


class Condition:
    """One condition of a worker's readiness.

    Args:
        what: the subject of its messages, such as ``redis at 10.0.0.5:6379``.
        trouble: what is wrong from the beginning; '' for a condition that holds until it fails.
    """

    def __init__(self, what: str, trouble: str = "") -> None:
        self.what = what
        self.trouble = trouble
        self._failures = 0
        self._gauge: Gauge | None = None

    @property
    def holds(self) -> bool:
        return not self.trouble

    @property
    def delay_s(self) -> float:
        """How long to wait before the next try: doubled with every failure, up to a bound."""
        return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(self._failures, 10))

    def show_in(self, gauge: Gauge) -> None:
        """Keep a gauge at 1 while the condition holds, else at 0."""
        self._gauge = gauge
        gauge.set(self.holds)

    def succeeded(self) -> None:
        if self._failures:
            logger.info("%s: works again", self.what)
        self._failures = 0
        self.trouble = ""
        if self._gauge:
            self._gauge.set(1)

    def failed(self, error: Exception) -> None:
        """Said once, until it works again."""
        self._failures += 1
        self.trouble = f"{self.what}: {type(error).__name__}: {error}"
        if self._gauge:
            self._gauge.set(0)
        if self._failures == 1:
            logger.warning("%s. Trying again until it works; nothing is lost meanwhile", self.trouble)
