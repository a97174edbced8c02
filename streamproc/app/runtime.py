"""The Faust app of a worker: agents, services, timers, HTTP pages and life cycle, without Kafka (docs/adr/0003).

What Faust 0.15 needs to run so: a transport that goes nowhere, a boot strategy without Kafka, flow control resumed by
hand (else every `put` waits for a rebalance that never comes), no directories, and a supervisor that crashes the app
when an agent fails (the default one restarts the agent and drops its item in silence).
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import faust
from aiohttp.web import TCPSite
from faust.app.base import BootStrategy
from faust.web.drivers.aiohttp import Web
from mode.supervisors import CrashingSupervisor

from streamproc.app import transport
from streamproc.app.explain import UNSUITABLE
from streamproc.app.garbage import collect_seldom
from streamproc.app.intake import Committing, Intake
from streamproc.app.pages import CannotListen, add_pages
from streamproc.app.pod import Pod, ShardRoles
from streamproc.app.reporting import Reporting, say_end, say_start
from streamproc.app.services import Preparing, erasing, services_of, telling, watching_archive
from streamproc.stores.redis.entries import Batch

logger = logging.getLogger(__name__)

# Faust tells of every service that starts and stops; what a person needs is said by ours.
_quiet = logging.getLogger("faust.app")


class _WithoutKafka(BootStrategy):
    enable_kafka = False


# Their messages say all that a person needs.
_EXPLAINED = (*UNSUITABLE, CannotListen)


class _Web(Web):
    """Faust's HTTP server, on the port that our settings name: Faust's own refuse 0, "any free one"."""

    logger = _quiet

    def _create_site(self) -> TCPSite:
        settings = self.app.pod.settings
        return TCPSite(self._runner, settings.web_host, settings.web_port)

    async def start_server(self) -> None:
        settings = self.app.pod.settings
        try:
            await super().start_server()
        except OSError as error:
            raise CannotListen(settings, error) from None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return int(self._runner.addresses[0][1])


class WorkerApp(faust.App):
    """A worker's app. An app starts once: make a new one to start again."""

    BootStrategy = _WithoutKafka
    logger = _quiet

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        super().__init__("streamproc", broker=transport.BROKER, web_enabled=True, autodiscover=False)
        add_pages(self, pod)
        self.service(Preparing(pod))
        self.service(telling(pod))
        self.service(Reporting(pod))
        if pod.eraser:
            self.service(erasing(pod, pod.eraser))
        if pod.archive_watch:
            self.service(watching_archive(pod, pod.archive_watch))
        # Faust stops services in the reverse order: intakes first, while everything they need still runs.
        for roles in pod.shards:
            for service in services_of(pod, roles):
                self.service(service)
        for roles in pod.shards:
            self._add_intake(roles)

    def _add_intake(self, roles: ShardRoles) -> None:
        """One channel, one agent and one intake of a shard."""
        channel = self.channel(maxsize=1)
        intake = Intake(self.pod, roles, lambda batch: channel.put(value=batch))
        committing = Committing(roles.consumer, intake)

        async def commit_batches(batches: faust.StreamT[Batch]) -> None:
            async for batch in batches:
                await committing.handle(batch)

        self.agent(channel, name=f"commit-batches-{roles.shard.number}", supervisor_strategy=CrashingSupervisor)(
            commit_batches
        )
        self.service(intake)

    async def on_start(self) -> None:
        await super().on_start()
        self.flow_control.resume()

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await self.pod.close()

    def _new_web(self) -> _Web:
        return _Web(self)

    def _create_directories(self) -> None:
        """None are needed: Faust would make some for tables."""


class _Worker(faust.Worker):
    """Faust's worker, which handles signals and the order of shutdown; silent on the terminal."""

    async def on_startup_finished(self) -> None:
        """Say that this process serves, and where: one JSON line on standard output."""
        print(json.dumps({"event": "ready", "port": self.app.web.port}), flush=True)  # noqa: T201


def run(pod: Pod, loop: Any) -> int:
    """Run a worker until SIGTERM or SIGINT. Returns the exit code."""
    app = WorkerApp(pod)
    collect_seldom()
    worker = _Worker(app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False)
    worker.spinner = None
    say_start(pod)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_tells_of_no_crash)
    try:
        worker.execute_from_commandline()
    except SystemExit as exit_:
        if exit_.code:
            _tell_of_crash(exit_.__context__)
        say_end(pod)
        return exit_.code if isinstance(exit_.code, int) else 1
    finally:
        sys.stdout.flush()
    return 0


def _tells_of_no_crash(record: logging.LogRecord) -> bool:
    """Faust tells of a crash three times over; `_tell_of_crash` does once."""
    return not any(words in str(record.msg) for words in ("Crashed reason=", "Error: %r", "experienced a crash"))


def _tell_of_crash(reason: BaseException | None) -> None:
    if isinstance(reason, _EXPLAINED):
        logger.error("this worker must not run: %s", reason)
    else:
        words = "the worker crashed, which is a bug: please report it. Its entries and windows go to other workers"
        logger.error(words, exc_info=reason)
