"""Reads README and docs: their snippets, inline code, links and tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text()


def fenced(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block."""
    return _FENCED.findall(text)


def snippets(name: str, language: str) -> list[str]:
    """The fenced blocks of one language on a page, in order."""
    return [content for found, content in fenced(read(name)) if found == language]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCED.sub("", text)


def inline_code(text: str) -> list[str]:
    """What stands between backticks, blocks left out."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(text))]


def commands(text: str) -> list[str]:
    """Lines that a reader may type: of shell blocks, and inline."""
    blocks = [line for language, content in fenced(text) if language == "sh" for line in content.splitlines()]
    return blocks + inline_code(text)


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(name: str, heading: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", read(name), re.MULTILINE | re.DOTALL)
    assert match, f"{name} has no heading {heading!r}"
    return match[1]


def table(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without heads, backticks left in."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    rules = [number for number, row in enumerate(rows) if set("".join(row)) <= set("-| ")]
    heads = {number - 1 for number in rules}
    return [row for number, row in enumerate(rows) if number not in heads and number not in rules]


def names(name: str, heading: str, column: int = 0) -> list[str]:
    """The names in one column of the table under a heading, without backticks."""
    return [row[column].strip("`") for row in table(section(name, heading))]
