"""The dashboard's files, without a browser: nothing from elsewhere, nothing inline, every term is the glossary's."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

ASSETS = {one.name: one.read_text() for one in (files("streamproc.web") / "assets").iterdir()}
GLOSSARY = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text()


def test_every_file_that_is_named_is_there_and_every_file_is_named() -> None:
    named = set(re.findall(r'"(?:/assets|\.)/([\w.-]+)"', "".join(ASSETS.values())))
    assert named | {"index.html"} == set(ASSETS)


def test_nothing_comes_from_elsewhere() -> None:
    for name, text in ASSETS.items():
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, name  # names of the SVG language


def test_nothing_is_inline() -> None:
    page = ASSETS["index.html"]
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\s(style|on\w+)=", page)


def test_every_term_is_the_glossarys() -> None:
    terms = re.findall(r'^  (?:"([\w -]+)"|(\w+)):', ASSETS["terms.js"], re.MULTILINE)
    names = [quoted or plain for quoted, plain in terms]
    assert len(names) > 20
    assert [name for name in names if f"\n| {name} |" not in GLOSSARY] == []


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_a_file_is_short(name: str) -> None:
    lines = ASSETS[name].splitlines()
    assert len(lines) < 250
    assert max(map(len, lines)) <= 120
