"""``streamproc doctor``: what is wrong with servers, data and settings, and what to do about it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Final

import click
import orjson
from rich.console import Console

from streamproc.app.checkup.diagnosis import Diagnosis, Section, Verdict
from streamproc.app.checkup.examination import examine
from streamproc.cli import query_test
from streamproc.cli.session import interruptible, load_settings, set_up_log

_COLOURS: Final = {Verdict.GREEN: "green", Verdict.YELLOW: "yellow", Verdict.RED: "red", Verdict.UNKNOWN: "cyan"}
_MARKS: Final = {Verdict.GREEN: "+", Verdict.YELLOW: "!", Verdict.RED: "x", Verdict.UNKNOWN: "?"}
_NAME_WIDTH: Final = 13
_INDENT: Final = " " * (_NAME_WIDTH + 13)
#: Wide enough for any line, where nobody sees where it ends.
_NO_TERMINAL: Final = 100_000


@click.command(epilog="Example: streamproc doctor --json")
@click.option("--queries", is_flag=True, help="Ask every question on what is stored, and show how it is answered.")
@click.option("--json", "as_json", is_flag=True, help="Print the diagnoses as one JSON list.")
def doctor(queries: bool, as_json: bool) -> int:
    """Check Redis, MongoDB, what is stored, the clocks and the settings: a line each, and what to do.

    Changes nothing on the servers, and is safe at any time. Exit code 1 if anything is red; with --queries, if a
    question goes by no index, or is not answered whole.
    """
    settings = load_settings()
    set_up_log(settings)
    if queries:
        return query_test.run(settings, as_json=as_json)
    with Console(stderr=True).status("looking"):
        sections = interruptible(examine(settings))
    if as_json:
        click.echo(orjson.dumps([_data(section, one) for section in sections for one in section.diagnoses]))
    else:
        _print(sections)
    return 1 if _counts(sections)[Verdict.RED] else 0


def _data(section: Section, diagnosis: Diagnosis) -> dict[str, str]:
    return {"subject": section.subject, **diagnosis._asdict()}


def _counts(sections: Sequence[Section]) -> Counter[Verdict]:
    return Counter(diagnosis.verdict for section in sections for diagnosis in section.diagnoses)


def _print(sections: Sequence[Section]) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _NO_TERMINAL
    for section in sections:
        click.echo(click.style(section.subject, bold=True))
        for diagnosis in section.diagnoses:
            click.echo(_line(diagnosis, width))
        click.echo()
    counts = _counts(sections)
    shown = [verdict for verdict in Verdict if verdict is not Verdict.UNKNOWN or counts[verdict]]
    click.echo(", ".join(f"{counts[verdict]} {verdict}" for verdict in shown))


def _line(diagnosis: Diagnosis, width: int) -> str:
    """Mark, verdict, name and what was found; the remedy below."""
    mark = click.style(f"{_MARKS[diagnosis.verdict]} {diagnosis.verdict:7}", fg=_COLOURS[diagnosis.verdict])
    lines = _wrapped(diagnosis.found, width)
    if diagnosis.remedy:
        lines += _wrapped(f"-> {diagnosis.remedy}", width)
    return f"  {mark} {diagnosis.check:{_NAME_WIDTH}} " + f"\n{_INDENT}".join(lines)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(40, width - len(_INDENT)), break_long_words=False, break_on_hyphens=False)
