"""`streamproc config` as its user sees it: every setting, none of its secrets, all that is wrong at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from streamproc.app.settings import PREFIX, Settings
from streamproc.cli import config as command
from streamproc.cli.main import cli

SECRETS = {
    f"{PREFIX}REDIS_URL": "redis://dana:s3cr3t@10.0.0.5:6379/0",
    f"{PREFIX}MONGODB_URL": "mongodb://dana:s3cr3t@10.0.0.6:27017/admin?replicaSet=rs",
    f"{PREFIX}API_TOKEN": "s3cr3t" * 4,
    f"{PREFIX}ERASURE_KEY": "s3cr3t" * 4,
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(cli, ["config", *arguments], env=variables)


def test_every_setting_has_its_line_with_value_origin_and_bounds(place: Path) -> None:
    (place / ".env").write_text(f"{PREFIX}GRACE_SECONDS=7\n")
    ended = run(**SECRETS, **{f"{PREFIX}SHARDS": "4"})
    assert ended.exit_code == 0
    lines = {line.split()[0]: line for line in ended.stdout.splitlines() if line}
    assert {name.upper() for name in Settings.model_fields} <= lines.keys()
    assert lines["SHARDS"].split() == ["SHARDS", "*", "4", "environment", "whole,", "1", "to", "1,024"]
    assert lines["GRACE_SECONDS"].split()[1:3] == ["7", str(place / ".env")]
    assert lines["REDIS_URL"].split()[2] == "redis://***@10.0.0.5:6379/0"
    assert lines["ERASURE_KEY"].split()[2] == "set"
    assert "s3cr3t" not in ended.output
    assert "dana" not in ended.output


def test_not_on_a_terminal_the_table_is_plain_and_aligned() -> None:
    head, *rows = run().stdout.split("\n\n")[0].splitlines()
    assert "\x1b" not in "".join(rows)
    assert len(rows) == len(Settings.model_fields)
    for title in ("value", "from", "allowed"):
        column = head.index(title)
        assert {row[column - 1] for row in rows} == {" "}, title
        assert " " not in {row[column] for row in rows}, title


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_the_table_keeps_within_its_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    def terminal(**options: Any) -> Console:
        return Console(force_terminal=True, color_system=None, **{"width": width, **options})

    monkeypatch.setattr(command, "Console", terminal)
    ended = run(**{f"{PREFIX}REDIS_URL": f"redis://{'long' * 30}:6379/0"})
    lines = ended.stdout.splitlines()
    assert max(map(len, lines)) <= width
    shards = next(line for line in lines if line.startswith("SHARDS"))
    assert "whole, 1 to 1,024" in shards
    prefix = next(index for index, line in enumerate(lines) if line.startswith("PREFIX"))
    assert "1 to 64 letters, digits or _ . -" in "".join(lines[prefix : prefix + 2])


def test_all_that_is_wrong_is_named_and_the_rest_still_shown() -> None:
    ended = run(
        **{f"{PREFIX}SHARDS": "0", f"{PREFIX}GRACE_SECONDS": "soon", f"{PREFIX}REDIS_URL": "redis://:s3/cr3t@h"}
    )
    assert ended.exit_code == 2
    assert "WINDOW_SECONDS" in ended.stdout
    assert ended.stderr.startswith("Error: 3 settings are wrong:\n")
    for name in ("SHARDS", "GRACE_SECONDS", "REDIS_URL"):
        assert f"  {PREFIX}{name}: " in ended.stderr
    assert "cr3t" not in ended.output


def test_json_says_the_same() -> None:
    ended = run("--json", **SECRETS, **{f"{PREFIX}SHARDS": "0", f"{PREFIX}SHARTS": "4"})
    assert ended.exit_code == 2
    found = json.loads(ended.stdout)
    assert found["valid"] is False
    assert found["unknown"] == [{"name": f"{PREFIX}SHARTS", "did_you_mean": f"{PREFIX}SHARDS"}]
    of = {one["name"]: one for one in found["settings"]}
    assert of[f"{PREFIX}SHARDS"]["problem"]
    assert (of[f"{PREFIX}SHARDS"]["safe_to_change"], of[f"{PREFIX}LOG_LEVEL"]["safe_to_change"]) == (False, True)
    assert (of[f"{PREFIX}REDIS_URL"]["secret"], of[f"{PREFIX}API_TOKEN"]["value"]) == (True, "set")
    assert "s3cr3t" not in ended.output


def test_a_typo_is_told_when_any_command_starts() -> None:
    variables = {f"{PREFIX}REDIS_ULR": "redis://h", f"{PREFIX}REDIS_URL": "redis://127.0.0.1:1"}
    ended = CliRunner().invoke(cli, ["init"], env=variables)
    assert f"WARNING {PREFIX}REDIS_ULR is no setting; did you mean {PREFIX}REDIS_URL?" in ended.stderr
