"""The command ``streamproc``. One file per command; what they share is here: exit codes and errors for people.

Exit code 0: done; 1: failed; 2: bad usage or settings; 130: interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from streamproc import __version__

_COMMANDS: Final = (
    "archive",
    "audit",
    "config",
    "dead-letters",
    "demo",
    "doctor",
    "erase",
    "hourly",
    "init",
    "publish",
    "segments",
    "sessions",
    "status",
    "trends",
    "user",
    "web",
    "worker",
)


class _LazyGroup(click.Group):
    """Loads a command's module when it is called: `--help` and `publish` need not wait for Faust."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"streamproc.cli.{name}"), name)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamproc")
def cli() -> None:
    """Exact hourly measurements from a Redis stream of dubbed video segments.

    Settings are environment variables with the prefix STREAMPROC_, or a .env file.
    """


def main() -> NoReturn:
    """Run the command line, and turn what a person can mend into one clear message."""
    try:
        result: Any = cli(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read this has had enough: `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    sys.exit(result if isinstance(result, int) else 0)
