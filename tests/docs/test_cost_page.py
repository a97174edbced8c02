"""docs/cost.md says what `make bench-mission` measured last, and nothing else."""

from __future__ import annotations

import re

from bench.mission import page, report

#: Figures of the prose that nobody measured: the review's version, what the command needs, and the form of an id.
_NOT_MEASURED = {"2.1", "5", "24"}


def test_every_table_is_as_the_generator_writes_it() -> None:
    text = page.PAGE.read_text()
    tables = report.tables(page.recorded())
    assert page.blocks(text) == [table.name for table in tables]
    assert text == page.filled(text, tables), "run `make bench-mission ARGS='--recorded --markdown'`"


def test_every_figure_of_the_prose_is_in_a_table_too() -> None:
    prose = set(_figures(page.prose(page.PAGE.read_text())))
    in_tables = {figure for table in report.tables(page.recorded()) for figure in _figures(table.as_markdown())}
    assert prose - in_tables <= _NOT_MEASURED


def _figures(text: str) -> list[str]:
    return re.findall(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?", text)
