"""A server that this process depends on: whether it answers, said once when it changes, and how long to wait."""

from __future__ import annotations

import logging
from typing import Final

from prometheus_client import Gauge

logger = logging.getLogger(__name__)

_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 5.0


class Dependency:
    """Redis or MongoDB, as seen by this process. Unknown until the first answer."""

    def __init__(self, name: str, address: str, gauge: Gauge) -> None:
        self.name = name
        self._address = address
        self._up_metric = gauge.labels(name)
        self._up_metric.set(0)
        self._failures = 0
        self.trouble = f"{name} at {address} has not answered yet"

    @property
    def is_up(self) -> bool:
        return not self.trouble

    @property
    def delay_s(self) -> float:
        """How long to wait before the next try: doubled with every failure, up to a bound."""
        return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(self._failures, 10))

    def succeeded(self) -> None:
        """It answered."""
        if self._failures:
            logger.info("%s at %s answers again", self.name, self._address)
        self._failures = 0
        self.trouble = ""
        self._up_metric.set(1)

    def failed(self, error: Exception) -> None:
        """It did not answer, or refused. Said once, until it answers again."""
        self._failures += 1
        self.trouble = f"{self.name} at {self._address}: {type(error).__name__}: {error}"
        self._up_metric.set(0)
        if self._failures == 1:
            logger.warning("%s. Waiting for it; nothing is lost meanwhile", self.trouble)
