"""The tables of docs/doctor.md, from the code. ``python -m tests.docs.doctor_page`` writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from streamproc.app.checkup.diagnosis import Check
from streamproc.app.checkup.examination import SUBJECTS
from streamproc.app.checkup.known_bugs import KNOWN_BUGS

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


def tables() -> dict[str, str]:
    """The table under each heading."""
    checks = {subject: _checks_table(checks) for subject, checks in SUBJECTS.items()}
    return {**checks, "Known bugs": _bugs_table()}


def with_tables(page: str) -> str:
    """A page with its tables replaced by those of the code."""
    for heading, table in tables().items():
        page, count = re.subn(rf"(\n## {heading}\n.*?\n)\|.*?\n(?=\n|\Z)", _put(table), page, count=1, flags=re.DOTALL)
        if not count:
            raise ValueError(f"docs/doctor.md has no table under {heading!r}")
    return page


def _put(table: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{match[1]}{table}\n"


def _checks_table(checks: Iterable[Check]) -> str:
    return _table(("check", "green", "else", "when", "what to do"), (row for check in checks for row in _rows(check)))


def _rows(check: Check) -> Iterator[Sequence[str]]:
    name, asks = check.name, check.asks
    for trouble in check.troubles.values():
        remedy = "as the line says" if trouble.remedy == "{remedy}" else trouble.remedy
        yield name, asks, trouble.verdict, trouble.when, remedy.replace("{{", "{").replace("}}", "}")
        name, asks = "", ""


def _bugs_table() -> str:
    rows = (
        (
            f"[{bug.ticket}]({bug.source})",
            "; ".join(f"{one.product} {one.since} to before {one.fixed}" for one in bug.affected)
            + (f"; only with {bug.only}" if bug.only else ""),
            bug.verdict,
            bug.breaks,
            bug.remedy or "nothing",
        )
        for bug in KNOWN_BUGS
    )
    return _table(("ticket", "versions", "shown", "what breaks", "what to do"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in (head, ["---"] * len(head), *rows))
    return "\n".join(lines)


def _cell(text: str) -> str:
    """As it is to be read: nothing in it is a tag or a column."""
    return text.replace("<", "\\<").replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
