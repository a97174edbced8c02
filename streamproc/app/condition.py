"""Something that holds or does not: a server answers, an activity succeeds. Said once when it changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from prometheus_client import Gauge

from streamproc.app.explain import SERVER_FAILURES, explain

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
        self._said = ""
        self._gauge: Gauge | None = None
        self._together: Sequence[Condition] = [self]

    @property
    def holds(self) -> bool:
        return not self.trouble

    @property
    def delay_s(self) -> float:
        """How long to wait before the next try: doubled with every failure, up to a bound."""
        return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(self._failures, 10))

    def show_in(self, gauge: Gauge, together: Sequence[Condition] = ()) -> None:
        """Keep a gauge at 1 while the condition holds, and those shown together with it, else at 0."""
        self._gauge = gauge
        self._together = [self, *together]
        self._show()

    def succeeded(self) -> None:
        if self._failures:
            logger.info("%s: works again", self.what, extra={"about": self.what})
        self._failures = 0
        self._said = ""
        self.trouble = ""
        self._show()

    def failed(self, error: Exception) -> None:
        """Said once for each cause, until it works again."""
        self._failures += 1
        words = str(explain(error) if isinstance(error, (*SERVER_FAILURES, OSError)) else error)
        self.trouble = f"{self.what}: {words}"
        self._show()
        if words != self._said:
            self._said = words
            logger.warning(
                "%s: %s. Trying again until it works; nothing is lost meanwhile",
                self.what,
                words,
                extra={"about": self.what},
            )

    def _show(self) -> None:
        if self._gauge:
            self._gauge.set(all(condition.holds for condition in self._together))
