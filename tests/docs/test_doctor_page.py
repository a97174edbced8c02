"""docs/doctor.md says what the code looks at, and its example is what the command prints."""

from __future__ import annotations

import re

from doctor_page import PAGE, with_tables
from pages import snippets

from streamproc.app.checkup.diagnosis import Verdict
from streamproc.app.checkup.examination import SUBJECTS

_LINE = re.compile(r"  [+!x?] (\w+) +(.{13}) \S")


def test_tables_are_those_of_the_code() -> None:
    assert PAGE.read_text() == with_tables(PAGE.read_text()), "run `python -m tests.docs.doctor_page`"


def example() -> list[str]:
    _, text = snippets("docs/doctor.md", "text")  # the first is of --queries
    return text.splitlines()


def test_every_line_of_the_example_is_of_a_check_that_exists() -> None:
    names = {check.name for checks in SUBJECTS.values() for check in checks}
    lines = [match for line in example() if (match := _LINE.match(line))]
    assert len(lines) > 20
    for line in lines:
        assert line[1] in set(Verdict)
        assert line[2].strip() in names


def test_every_remedy_of_the_example_is_one_of_the_code() -> None:
    remedies = {
        trouble.remedy.partition("{")[0]
        for checks in SUBJECTS.values()
        for check in checks
        for trouble in check.troubles.values()
        if not trouble.remedy.startswith("{")
    }
    shown = [line.partition("-> ")[2] for line in example() if "-> " in line]
    ours = [one for one in shown if not one.startswith("Upgrade")]  # of a known bug: they are in a table of their own
    assert len(ours) > 3
    for remedy in ours:
        assert any(remedy.startswith(one) for one in remedies if one), remedy


def test_the_count_at_the_end_of_the_example_is_right() -> None:
    counted = [sum(line.startswith(f"  {mark} ") for line in example()) for mark in "+!x"]
    assert example()[-1] == "{} green, {} yellow, {} red".format(*counted)
