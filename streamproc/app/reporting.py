"""What a worker tells of itself in the log: that it starts, that it ends, and what it did in each minute between."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from mode import Service

from streamproc import __version__
from streamproc.app.pod import Pod
from streamproc.app.quiet import QuietService
from streamproc.core.commits import Reason
from streamproc.metrics import Metrics

logger = logging.getLogger(__name__)

_EVERY_S: Final = 60.0
_WORDS: Final = {
    "counted": "counted",
    "duplicate": "duplicates",
    "dead_lettered": "dead letters",
    "erased": "erased",
    "forwarded": "forwarded",
    "lost": "lost",
    "stored": "windows stored",
    "revised": "of them again",
    "refused": "windows refused",
    "forgotten": "windows forgotten",
}

Numbers = Mapping[str, int]


def say_start(pod: Pod) -> None:
    settings = pod.settings
    logger.info(
        "streamproc %s starts as %s: %s of %s, windows of %d s stored %g s after their end, %s, %s%s",
        __version__,
        pod.consumer_name,
        "1 shard" if settings.shards == 1 else f"{settings.shards} shards",
        settings.prefix,
        settings.window_seconds,
        settings.grace_seconds,
        pod.redis.what,
        pod.mongodb.what,
        "" if pod.eraser else ", no ERASURE_KEY: nobody can be erased",
        extra={"version": __version__, "consumer": pod.consumer_name, "shards": settings.shards},
    )


def say_end(pod: Pod) -> None:
    numbers = totals(pod.metrics)
    lived_s = time.time() - pod.started_at_ms / 1000
    logger.info(
        "%s ends after %s: %s",
        pod.consumer_name,
        _duration(lived_s),
        in_words(numbers) or "nothing counted, nothing stored",
        extra=_extra(numbers),
    )


class Reporting(QuietService):
    """Says once a minute what this worker did, if it did anything."""

    def __init__(self, pod: Pod, every_s: float = _EVERY_S, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pod = pod
        self._every_s = every_s
        self._period = "minute" if every_s == _EVERY_S else _duration(every_s)

    @Service.task
    async def _report(self) -> None:
        before = totals(self._pod.metrics)
        while not self.should_stop:
            await self.sleep(self._every_s)
            now = totals(self._pod.metrics)
            did = {name: number - before[name] for name, number in now.items()}
            before = now
            words = in_words(did)
            if words and not self.should_stop:  # at the end, all of it is said
                logger.info("in the last %s: %s", self._period, words, extra=_extra(did))


def totals(metrics: Metrics) -> dict[str, int]:
    """What this worker did since it started, by name; dead letters also by reason."""
    outcomes = _by_label(metrics.events)
    reasons = _by_label(metrics.dead_letters)
    windows = {
        "stored": metrics.windows_flushed,
        "revised": metrics.windows_revised,
        "refused": metrics.documents_refused,
        "forgotten": metrics.windows_forgotten,
    }
    return outcomes | {name: _value(counter) for name, counter in windows.items()} | reasons


def in_words(did: Numbers) -> str:
    """Such as ``1,240 counted, 3 dead letters (2 malformed, 1 future)``; '' where nothing was done."""
    parts = []
    for name, words in _WORDS.items():
        if did[name]:
            parts.append(f"{did[name]:,} {words}{_reasons(did) if name == 'dead_lettered' else ''}")
    return ", ".join(parts)


def _reasons(did: Numbers) -> str:
    return f" ({', '.join(f'{did[reason]:,} {reason}' for reason in Reason if did[reason])})"


def _extra(did: Numbers) -> dict[str, int]:
    return {name: number for name, number in did.items() if number}


def _by_label(counter: Any) -> dict[str, int]:
    return {next(iter(sample.labels.values())): int(sample.value) for sample in _samples(counter)}


def _value(counter: Any) -> int:
    return sum(int(sample.value) for sample in _samples(counter))


def _samples(counter: Any) -> list[Any]:
    return [sample for family in counter.collect() for sample in family.samples]


def _duration(seconds: float) -> str:
    """Such as ``3 h 12 min``, ``1 min`` or ``12 s``."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes and not rest_s else f"{round(seconds)} s"
