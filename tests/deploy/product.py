"""Asks the product itself whether what a deployment file says to it exists: settings and commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from unittest import mock

import click

from streamproc.app.settings import Settings
from streamproc.app.settings_sources import SECRETS
from streamproc.cli.main import cli

SETTINGS = frozenset(f"STREAMPROC_{field.upper()}" for field in Settings.model_fields)
FILES = frozenset(f"STREAMPROC_{name.upper()}_FILE" for name in SECRETS)


def check_settings(environment: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> None:
    """Fails unless each of these variables is a setting, and together they are values it takes.

    Args:
        secrets: what the files hold that variables ..._FILE name, by path.
    """
    assert environment.keys() <= SETTINGS | FILES
    values = {
        name.removesuffix("_FILE"): (secrets or {})[value] if name in FILES else value
        for name, value in environment.items()
    }
    no_file = mock.patch("streamproc.app.settings_sources.DOTENV", os.devnull)
    with mock.patch.dict(os.environ, values, clear=True), no_file:
        Settings.load()


def check_command(command_line: Iterable[str]) -> None:
    """Fails unless the command line exists: command, options and arguments. Runs nothing."""
    name, *arguments = command_line
    command = cli.get_command(click.Context(cli), name)
    if isinstance(command, click.Group):
        group, (name, *arguments) = command, arguments
        command = group.get_command(click.Context(group), name)
    assert command, f"streamproc has no command {name}"
    command.make_context(name, arguments)
