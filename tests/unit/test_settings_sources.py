"""Where settings are found, which place wins, and what is said of a variable that names none."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.app.settings import InvalidSettings, Settings
from streamproc.app.settings_described import NOT_SAFE_TO_CHANGE, Described, describe
from streamproc.app.settings_sources import PREFIX, unknown
from streamproc.demo.stage import settings_of

TOKEN = "a token of some length"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def described(name: str, **overrides: object) -> Described:
    (one,) = [one for one in describe(overrides) if one.name == name]
    return one


def test_the_environment_wins_over_a_line_of_the_file_and_that_over_the_default(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (described("shards").value, described("shards").origin) == ("1", "default")
    (place / ".env").write_text(f"{PREFIX}SHARDS=2\n")
    assert (described("shards").value, described("shards").origin) == ("2", str(place / ".env"))
    assert Settings.load().shards == 2
    monkeypatch.setenv(f"{PREFIX}SHARDS", "3")
    assert (described("shards").value, described("shards").origin) == ("3", "environment")
    assert Settings.load().shards == 3
    assert (described("shards", shards=4).value, described("shards", shards=4).origin) == ("4", "command line")


@pytest.mark.parametrize("named_in", ["environment", ".env"])
def test_a_secret_may_stand_in_a_file_that_a_variable_names(
    place: Path, monkeypatch: pytest.MonkeyPatch, named_in: str
) -> None:
    secret = place / "token"
    secret.write_text(f"{TOKEN}\n")
    if named_in == ".env":
        (place / ".env").write_text(f"{PREFIX}API_TOKEN_FILE={secret}\n")
    else:
        monkeypatch.setenv(f"{PREFIX}API_TOKEN_FILE", str(secret))
    assert Settings.load().api_token.get_secret_value() == TOKEN
    assert (described("api_token").value, described("api_token").origin) == ("set", f"file {secret}")


def test_every_wrong_setting_is_told_at_once_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}REDIS_URL_FILE", "/no/such/file")
    monkeypatch.setenv(f"{PREFIX}SHARDS", "0")
    monkeypatch.setenv(f"{PREFIX}GRACE_SECONDS", "soon")
    with pytest.raises(InvalidSettings) as raised:
        Settings.load()
    told = str(raised.value).splitlines()
    assert [line.split(":")[0].split("=")[0] for line in told] == [
        f"{PREFIX}{name}" for name in ("REDIS_URL_FILE", "SHARDS", "GRACE_SECONDS")
    ]
    assert described("shards").problem == told[1]


def test_a_port_that_kubernetes_put_there_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}WEB_PORT", "tcp://10.0.0.1:8080")
    with pytest.raises(InvalidSettings, match="enableServiceLinks: false"):
        Settings.load()


def test_a_typo_is_named_with_what_was_meant(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}REDIS_ULR", "redis://h")
    monkeypatch.setenv(f"{PREFIX}COLOUR", "blue")
    (place / ".env").write_text(f"{PREFIX}API_TOKN_FILE=/run/token\nANOTHER_PROGRAM=1\n")
    assert unknown(Settings.model_fields) == {
        f"{PREFIX}REDIS_ULR": f"{PREFIX}REDIS_URL",
        f"{PREFIX}COLOUR": "",
        f"{PREFIX}API_TOKN_FILE": f"{PREFIX}API_TOKEN_FILE",
    }


def test_what_kubernetes_adds_is_nobodys_typo(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "METRICS_SERVICE_HOST": "10.0.0.1",
        "METRICS_SERVICE_PORT": "8080",
        "METRICS_SERVICE_PORT_HTTP": "8080",
        "METRICS_PORT": "tcp://10.0.0.1:8080",
        "METRICS_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "METRICS_PORT_8080_TCP_ADDR": "10.0.0.1",
        "METRICS_PORT_8080_TCP_PROTO": "tcp",
    }.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    assert unknown(Settings.model_fields) == {}


@pytest.mark.parametrize(
    ("name", "url", "shown"),
    [
        ("redis_url", "rediss://dana:s3cr3t@h:1/2?ssl_ca_certs=/x", "rediss://***@h:1/2"),
        ("redis_url", "redis://h/0", "redis://h/0"),
        ("redis_url", "redis://:s3/cr3t@h", "malformed, not shown"),
        ("mongodb_url", "mongodb://dana:s3cr3t@h:1,k:2/admin?replicaSet=x", "mongodb://***@h:1,k:2/admin"),
        ("mongodb_url", "mongodb://u:s3/cr3t@h", "malformed, not shown"),
    ],
)
def test_of_an_address_no_password_is_shown(monkeypatch: pytest.MonkeyPatch, name: str, url: str, shown: str) -> None:
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", url)
    assert described(name).value == shown
    assert "cr3t" not in str(describe({}))


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        ("REDIS_URL", "redis://h/0?ssl_cert_reqs=none", "an option after the ?"),
        ("REDIS_URL", "redis://h/0?socket_timeout=soon", "an option after the ?"),
        ("MONGODB_URL", "mongodb://h/?tlss=true", "an option after the ?"),
        ("MONGODB_URL", "mongodb://h/?tls=true&tlsCAFile=/no/such/file", "/no/such/file: No such file"),
    ],
)
def test_an_option_of_an_address_that_no_client_takes_is_refused_beforehand(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, words: str
) -> None:
    monkeypatch.setenv(f"{PREFIX}{name}", url)
    with pytest.raises(InvalidSettings, match=f"{PREFIX}{name}: ") as raised:
        Settings.load()
    assert words in str(raised.value)


def test_what_is_not_safe_to_change_are_settings() -> None:
    assert Settings.model_fields.keys() >= NOT_SAFE_TO_CHANGE.keys()
    assert NOT_SAFE_TO_CHANGE.keys() >= {"shards", "window_seconds", "prefix"}


@pytest.mark.parametrize("name", ["dubbing_metrics_ts", "erasures", "system.users", "a$b", ""])
def test_a_collection_that_cannot_hold_sessions_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"{PREFIX}SESSIONS_COLLECTION", name)
    with pytest.raises(InvalidSettings, match=f"{PREFIX}SESSIONS_COLLECTION: "):
        Settings.load()


def test_a_variable_that_is_no_setting_ends_no_demo() -> None:
    assert settings_of({"STREAMPROC_PREFIX": "demo-1", "STREAMPROC_SOMETHING_ELSE": "1"}).prefix == "demo-1"
