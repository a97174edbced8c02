"""What every command does first: read the settings, set up the log, and say what failed in a person's words."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from streamproc.app.ending import end
from streamproc.app.explain import SERVER_FAILURES, UNSUITABLE, explain, server_of
from streamproc.app.settings import InvalidSettings, Settings
from streamproc.app.settings_sources import unknown
from streamproc.cli import log
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.redis import connect as redis

logger = logging.getLogger(__name__)

T = TypeVar("T")


class WrongSettings(click.ClickException):
    """Settings are wrong. The message names each."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        head = "a setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
        super().__init__("\n  ".join([f"{head}:", *problems]))


def load_settings(**overrides: Any) -> Settings:
    """The settings, or an error that names what is wrong."""
    try:
        return Settings.load(**overrides)
    except InvalidSettings as error:
        raise WrongSettings(str(error).splitlines()) from None


def set_up_log(settings: Settings) -> None:
    """Log to standard error, and say first what the environment holds that is no setting."""
    log.set_up(as_json=settings.log_format == "json", level=settings.log_level)
    for variable, meant in unknown(Settings.model_fields).items():
        logger.warning(no_setting(variable, meant))


def no_setting(variable: str, meant: str) -> str:
    """What is said of a variable that names no setting: a typo is passed over by nobody."""
    return f"{variable} is no setting" + (f"; did you mean {meant}?" if meant else "; see `streamproc config`")


def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until Ctrl-C. A second Ctrl-C does not wait for the end of what the first one cancelled.

    Unlike `asyncio.run` alone: a driver may answer its cancellation with an error of its own, or swallow it. Whatever
    comes of it then, it was an interruption.

    Raises:
        KeyboardInterrupt
    """
    task = asyncio.run(_run(work))
    if task is None:
        raise KeyboardInterrupt
    return task.result()


async def _run(work: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
    """The work, ended; None if it was interrupted."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()
    hears = threading.current_thread() is threading.main_thread()  # no other thread is told of signals
    if hears:
        loop.add_signal_handler(signal.SIGINT, interrupted.set)
    task, interruption = loop.create_task(work), loop.create_task(interrupted.wait())
    await asyncio.wait([task, interruption], return_when=asyncio.FIRST_COMPLETED)
    if hears:
        loop.remove_signal_handler(signal.SIGINT)
    done = task.done()
    await end([task, interruption])
    if done:
        return task
    if not task.cancelled():
        task.exception()  # of no interest any more: looked at, so that asyncio does not tell of it
    return None


@contextmanager
def explained(settings: Settings, unfinished: str = "") -> Iterator[None]:
    """Turn what a server raises inside into one message with cause and remedy, and exit code 1.

        with explained(settings):
            result = interruptible(_ask(settings))

    Args:
        unfinished: what was not done, for the head of the message, such as "the audit is not complete".
    """
    head = f"{unfinished}: " if unfinished else ""
    try:
        yield
    except UNSUITABLE as error:
        raise click.ClickException(f"{head}{error}") from None
    except SERVER_FAILURES as error:
        raise click.ClickException(f"{head}{_address(settings, error)}: {explain(error)}") from None


def _address(settings: Settings, error: Exception) -> str:
    if server_of(error) == "redis":
        return f"redis at {redis.describe(settings.redis_url.get_secret_value())}"
    if server_of(error) == "archive":
        return f"archive at {settings.archive_url}"
    return f"mongodb at {mongo.describe(settings.mongodb_url.get_secret_value())}"
