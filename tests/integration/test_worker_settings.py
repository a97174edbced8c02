"""A wrong setting ends the worker before it starts: exit code 2, the setting, and what is allowed; never a secret."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streamproc.app.settings import PREFIX
from streamproc.cli.main import cli

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "too short": ({"WINDOW_SECONDS": "0"}, "greater than or equal to 1, got '0'"),
    "no number": ({"GRACE_SECONDS": "soon"}, "valid number"),
    "NaN": ({"LATE_QUIET_SECONDS": "nan"}, "got 'nan'"),
    "too many": ({"SHARDS": "5000"}, "less than or equal to 1024"),
    "no choice": ({"LOG_FORMAT": "xml"}, "'text' or 'json'"),
    "structure in the prefix": ({"PREFIX": "a:b"}, "got 'a:b'"),
    "no database name": ({"MONGODB_DATABASE": "a.b"}, "got 'a.b'"),
    "no scheme": ({"REDIS_URL": "127.0.0.1:6379"}, "redis://[user:password@]host"),
    "no host": ({"REDIS_URL": "redis:///0"}, "redis://[user:password@]host"),
    "no port": ({"REDIS_URL": "redis://:s3cr3t@h:port"}, "redis://[user:password@]host"),
    "a slash in the password": ({"REDIS_URL": "redis://:s3/cr3t@h"}, "percent-encode"),
    "another scheme": ({"MONGODB_URL": "mongo://u:s3cr3t@h"}, "mongodb://[user:password@]host"),
    "a slash in the other password": ({"MONGODB_URL": "mongodb://u:s3/cr3t@h"}, "percent-encode"),
    "no such file": ({"REDIS_URL_FILE": "/no/such/file"}, "cannot be read"),
}


@pytest.mark.parametrize(("variables", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_refused_by_name(variables: dict[str, str], words: str) -> None:
    (name,) = variables
    result = CliRunner().invoke(cli, ["worker"], env={f"{PREFIX}{name}": variables[name]})
    assert result.exit_code == 2
    assert f"{PREFIX}{name}" in result.output
    assert words in result.output
    assert "cr3t" not in result.output


def test_every_wrong_setting_is_named_at_once() -> None:
    result = CliRunner().invoke(cli, ["worker"], env={f"{PREFIX}SHARDS": "0", f"{PREFIX}WINDOW_SECONDS": "-1"})
    assert [f"{PREFIX}{name}" in result.output for name in ("SHARDS", "WINDOW_SECONDS")] == [True, True]


def test_a_port_that_is_none_is_bad_usage() -> None:
    result = CliRunner().invoke(cli, ["worker", "--port", "70000"])
    assert (result.exit_code, "--port" in result.output) == (2, True)
