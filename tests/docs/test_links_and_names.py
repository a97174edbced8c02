"""Whatever a page names exists: links, make targets, commands, settings, metrics, files, functions."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from functools import reduce
from importlib import import_module
from pathlib import Path

import click
import pytest
from generate import metrics_page
from pages import PAGES, ROOT, anchors, commands, inline_code, links, names, read, section, table

from streamproc.app.settings import PREFIX, Settings
from streamproc.cli.main import cli

every_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(read("README.md"))}
    assert set(PAGES) - linked == {ROOT / "README.md"}


@every_page
def test_every_make_target_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for command in commands(page.read_text()):
        if match := re.match(r"make ([a-z-]+)", command):
            assert match[1] in targets, command


@every_page
def test_every_command_and_option_named_exists(page: Path) -> None:
    for words in _command_lines(page):
        name, *arguments = (word for word in words if word != "--help")
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, words
        with suppress(click.MissingParameter):  # a page may name a command without all that it needs
            command.make_context(name, arguments)


def _command_lines(page: Path) -> list[list[str]]:
    """What follows the word `streamproc`, or stands in ARGS of `make demo`, in what a reader may type."""
    found = []
    for line in commands(page.read_text()):
        if match := re.match(r'make demo ARGS="(.*)"', line):
            found.append(["demo", *shlex.split(match[1])])
        elif match := re.match(r"(?:\.venv/bin/)?streamproc ([a-z-]+.*)", line):
            alone = re.split(r" (?:[|&]|\d?>)", match[1])[0]  # of a pipeline, or in the background
            found.append(shlex.split(alone, comments=True))
    return found


def test_commands_are_found_on_the_pages_at_all() -> None:
    assert [words for words in _command_lines(ROOT / "README.md") if words[0] == "worker"]


def test_every_command_is_in_the_readme() -> None:
    documented = {name.removeprefix("streamproc ") for name in names("README.md", "Run") if "streamproc " in name}
    assert documented == set(cli.list_commands(click.Context(cli)))


@every_page
def test_every_setting_named_exists(page: Path) -> None:
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", page.read_text())):
        assert name in settings or name.removesuffix("_FILE") in settings, name


def test_defaults_in_the_readme_are_those_of_the_settings() -> None:
    full = {row[0]: row[1] for row in table(read("docs/settings.md"))}
    rows = [row for row in table(section("README.md", "Run")) if row[0].startswith(f"`{PREFIX}")]
    assert rows
    for name, default, *_ in rows:
        assert full[name] == default, name


@every_page
def test_every_metric_named_exists(page: Path) -> None:
    scraped = {row[0].strip("`") for row in table(metrics_page())}
    for code in inline_code(page.read_text()):
        if match := re.match(r"streamproc_\w+", code):
            assert match[0] in scraped, code


@every_page
def test_every_file_named_exists(page: Path) -> None:
    for code in inline_code(page.read_text()):
        if re.fullmatch(r"(streamproc|tests|docs|k8s)/[\w./-]*", code):
            assert (ROOT / code).exists(), code
        elif match := re.fullmatch(r"kubectl apply -k (\S+)", code):
            assert (ROOT / match[1] / "kustomization.yaml").exists(), code


def test_every_package_is_on_the_map() -> None:
    floors = {row[1].strip("`") for row in table(section("README.md", "Map of the code"))}
    packages = {path.parent.relative_to(ROOT) for path in (ROOT / "streamproc").rglob("__init__.py")}
    leaves = {path for path in packages if not any(path in other.parents for other in packages)}
    assert {f"{path}/" for path in leaves} <= floors


def test_every_function_on_the_walk_exists() -> None:
    places = [row[0] for heading in ("Published", "Counted", "Closed", "Forgotten") for row in _walk(heading)]
    assert len(places) > 20
    for place in places:
        path, name = re.fullmatch(r"`([\w/.]+)` `([\w.]+)`", place).groups()  # type: ignore[union-attr]
        module = import_module(f"streamproc/{path}".removesuffix(".py").replace("/", "."))
        reduce(getattr, name.split("."), module)


def test_every_script_on_the_walk_exists() -> None:
    scripts = re.findall(r"stores/redis/lua/[\w.]+\.lua", read("docs/architecture.md"))
    assert scripts
    assert all((ROOT / "streamproc" / script).exists() for script in scripts)


def _walk(heading: str) -> list[list[str]]:
    return table(section("docs/architecture.md", heading))


def test_every_term_of_the_glossary_is_there_once_and_in_order() -> None:
    terms = names("docs/glossary.md", "Glossary")
    assert terms == sorted(set(terms))


def test_pages_that_the_code_refers_to_exist() -> None:
    sources = [path for path in (ROOT / "streamproc").rglob("*") if path.suffix in (".py", ".lua")]
    for source in sources:
        for page in re.findall(r"(?<![\w/])docs/[\w./-]*\w", source.read_text()):
            assert (ROOT / page).exists() or list(ROOT.glob(f"{page}-*.md")), f"{source}: {page}"
