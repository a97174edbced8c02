"""What a worker does about the archive: it looks, now and then, whether days are overdue, and tells by a metric.

Archiving itself is `streamproc archive run`, which something else starts daily. That it was not started, or that it
fails, must show where everything else shows. An archive that is away keeps no worker from counting; a day of which
nobody can see that it is archived counts as overdue.
"""

from __future__ import annotations

import logging

from streamproc.metrics import Metrics
from streamproc.roles.archive_inspector import ArchiveInspector

logger = logging.getLogger(__name__)


class ArchiveWatch:
    """Keeps `streamproc_archive_overdue_days`."""

    def __init__(self, inspector: ArchiveInspector, metrics: Metrics) -> None:
        self._inspector = inspector
        self._metrics = metrics

    async def run_once(self) -> None:
        """Look once.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: nothing was seen; the gauge stays.
        """
        days, trouble = await self._inspector.overdue(await self._inspector.now_ms())
        self._metrics.archive_overdue_days.set(len(days))
        if trouble:
            logger.warning("the archive cannot be looked at: %s", trouble)
        elif days:
            words = "%d days are not archived, and MongoDB forgets them soon, %s first: run `streamproc archive run`"
            logger.warning(words, len(days), days[0])
