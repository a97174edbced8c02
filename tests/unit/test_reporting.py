"""What a worker says it did, from its metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamproc.app.reporting import in_words, totals
from streamproc.core.commits import Reason
from streamproc.metrics import Metrics


@dataclass
class Outcome:
    counted: int = 0
    duplicates: int = 0
    erased: int = 0
    forwarded: int = 0
    lost: int = 0
    dead_reasons: list[Reason] = field(default_factory=list)


def test_nothing_done_has_no_words() -> None:
    assert in_words(totals(Metrics())) == ""


def test_what_was_done_is_told_in_one_line_with_the_reasons_of_dead_letters() -> None:
    metrics = Metrics()
    dead = [Reason.MALFORMED, Reason.TOO_LATE, Reason.MALFORMED]
    metrics.record_commit(Outcome(counted=1240, duplicates=3, dead_reasons=dead), 0)
    metrics.windows_flushed.inc(40)
    assert in_words(totals(metrics)) == (
        "1,240 counted, 3 duplicates, 3 dead letters (2 malformed, 1 too_late), 40 windows stored"
    )
