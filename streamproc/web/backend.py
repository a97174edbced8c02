"""What answers are made from: the questions, the sampled overview, the erasures; and whether they can be made."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

from streamproc.answers.overview import overview
from streamproc.answers.overview_results import Overview, ServerState
from streamproc.answers.service import DubbingMetricsService
from streamproc.app.connections import Connections
from streamproc.app.settings import Settings
from streamproc.stores.redis import failures as redis
from streamproc.web.erasures import Erasures
from streamproc.web.measuring import WebMetrics
from streamproc.web.sampler import Sampler

logger = logging.getLogger(__name__)

# Well above the longest that a look takes, at servers that take connections and do not answer.
_STUCK_S: Final = 60.0


class Backend:
    """Made from settings; opens no connection before it is asked."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = WebMetrics()
        self.connections = Connections(settings)
        self.service = DubbingMetricsService(self.connections.redis, self.connections.database, settings)
        self.erasures = Erasures(self.connections)
        self.sampler = Sampler(self._look)
        self._up: dict[str, bool] = {}

    @property
    def troubles(self) -> list[str]:
        """What is away, for people. Questions are answered as long as one of the servers is there."""
        seen = self.sampler.last
        if seen is None:
            return ["neither redis nor mongodb has been asked yet"]
        stuck = [f"nobody has looked for {self.sampler.age_s:.0f} s"] if self.sampler.age_s > _STUCK_S else []
        return stuck + [_in_words(name, server) for name, server in _servers(seen).items() if not server.up]

    @property
    def ready(self) -> bool:
        """Whether any question can be answered."""
        seen = self.sampler.last
        return seen is not None and self.sampler.age_s <= _STUCK_S and (seen.redis.up or seen.mongodb.up)

    async def close(self) -> None:
        await self.connections.close()

    async def _look(self) -> Overview:
        """Raises LayoutMismatch: this process must not run."""
        # Where Redis is away the overview says so, better than this could.
        with suppress(*redis.FAILURES):
            await self.connections.check_layout()
        seen = await overview(self.connections)
        for name, server in _servers(seen).items():
            self._tell(name, server)
        return seen

    def _tell(self, name: str, server: ServerState) -> None:
        """Show on /metrics whether a server answers, and say in the log when that changes."""
        self.metrics.dependency_up.labels(name).set(server.up)
        if self._up.get(name) == server.up:
            return
        if server.up:
            logger.info("%s at %s: answers", name, server.address, extra={"about": name})
        else:
            words = "%s. Answers say what is missing meanwhile"
            logger.warning(words, _in_words(name, server), extra={"about": name})
        self._up[name] = server.up


def _servers(seen: Overview) -> dict[str, ServerState]:
    return {"redis": seen.redis, "mongodb": seen.mongodb}


def _in_words(name: str, server: ServerState) -> str:
    return f"{name} at {server.address}: {server.trouble}. {server.remedy}"
