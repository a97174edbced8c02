"""``streamproc config``: every setting, where it comes from, and what may be done with it."""

from __future__ import annotations

from typing import Any, Final

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.app.settings import PREFIX, Settings
from streamproc.app.settings_described import Described, allowed, default, describe
from streamproc.app.settings_sources import SECRETS, unknown
from streamproc.cli.session import WrongSettings, no_setting

_WIDE: Final = 110
# Of what is not a terminal nobody knows the width: one line for each setting, to be searched.
_UNBOUNDED: Final = 10_000
_NARROW: Final = 32
_FIXED: Final = "*"


@click.command(epilog="Example: STREAMPROC_SHARDS=4 streamproc config")
@click.option("--json", "as_json", is_flag=True, help="Print the settings as one JSON object.")
def config(as_json: bool) -> int:
    """Show every setting, its value, where that comes from, and what is allowed. Asks no server.

    Passwords and keys are not shown. Exit code 2 if a setting is wrong: each is named.
    """
    settings = describe({})
    strangers = unknown(Settings.model_fields)
    wrong = [one.problem for one in settings if one.problem]
    if as_json:
        click.echo(orjson.dumps(_data(settings, strangers), option=orjson.OPT_INDENT_2))
    else:
        _print(settings, strangers)
    if wrong:
        raise WrongSettings(wrong)
    return 0


def _data(settings: list[Described], strangers: dict[str, str]) -> dict[str, Any]:
    return {
        "valid": not any(one.problem for one in settings),
        "settings": [
            {
                "name": one.variable,
                "value": one.value,
                "origin": one.origin,
                "default": default(one.name),
                "allowed": allowed(one.name),
                "secret": one.name in SECRETS,
                "safe_to_change": not one.change,
                "why_not": one.change,
                "problem": one.problem,
            }
            for one in settings
        ],
        "unknown": [{"name": name, "did_you_mean": meant} for name, meant in strangers.items()],
    }


def _print(settings: list[Described], strangers: dict[str, str]) -> None:
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(width=_UNBOUNDED, highlight=False)
    with console.capture() as table:
        console.print(_table(settings, wide=console.width >= _WIDE))
    click.echo("\n".join(line.rstrip() for line in table.get().splitlines()))
    click.echo(f"\nEach is an environment variable or a line of .env, with {PREFIX} before it.")
    click.echo(f"{_FIXED} not safe to change while there is data (docs/settings.md says why)")
    for name, meant in strangers.items():
        click.echo(no_setting(name, meant))


def _table(settings: list[Described], *, wide: bool) -> Table:
    """Four columns; where there is not the room, what is allowed stands below the value."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", min_width=0 if wide else _NARROW)
    table.add_column("from", overflow="fold")
    if wide:
        table.add_column("allowed")
    for one in settings:
        name = Text(f"{one.name.upper()} {_FIXED if one.change else ''}")
        value = Text(one.value, style="red" if one.problem else "")
        origin = Text(one.origin, style="dim" if one.origin == "default" else "")
        bounds = allowed(one.name)
        if wide:
            table.add_row(name, value, origin, Text(bounds, style="dim"))
        else:
            table.add_row(name, _with_bounds(value, bounds), origin)
    return table


def _with_bounds(value: Text, bounds: str) -> Text:
    """Value and bounds in one cell, on one line where there is room."""
    if bounds == "text":
        return value
    between = "  " if len(value) + 2 + len(bounds) <= _NARROW else "\n"
    return Text.assemble(value, between, (bounds, "dim"))
