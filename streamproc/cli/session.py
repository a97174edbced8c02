"""What every command does first: read the settings, set up the log, and say what failed in a person's words."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from streamproc.app.explain import SERVER_FAILURES, UNSUITABLE, explain, server_of
from streamproc.app.settings import InvalidSettings, Settings
from streamproc.app.settings_sources import unknown
from streamproc.cli import log
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.redis import connect as redis

logger = logging.getLogger(__name__)


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


@contextmanager
def explained(settings: Settings, unfinished: str = "") -> Iterator[None]:
    """Turn what a server raises inside into one message with cause and remedy, and exit code 1.

        with explained(settings):
            result = asyncio.run(_ask(settings))

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
    return f"mongodb at {mongo.describe(settings.mongodb_url.get_secret_value())}"
