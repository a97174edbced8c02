"""Settings: environment variables with the prefix STREAMPROC_, a ``.env`` file, or ``..._FILE`` for a secret.

Nothing below this floor knows them: roles are given policies, which are made here.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streamproc.core.windows import Windowing
from streamproc.roles.consumer import ConsumePolicy
from streamproc.roles.eraser import ErasePolicy
from streamproc.roles.flusher import FlushPolicy
from streamproc.roles.janitor import KeepPolicy
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.mongo.collection import EXPIRE_AFTER_SECONDS

PREFIX: Final = "STREAMPROC_"
_KEY_CHARACTERS: Final = 16
MAKE_KEY: Final = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
_SECRETS: Final = ("redis_url", "mongodb_url", "api_token", "erasure_key")

Seconds = Annotated[float, Field(gt=0, le=365 * 86_400)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
# https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
DatabaseName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9_-]+$")]


class InvalidSettings(ValueError):
    """A setting has a wrong value. The message names each, what it is and what is allowed, never a secret."""


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads ``STREAMPROC_<SECRET>_FILE``: the path of a file that holds the secret, as orchestrators mount them."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable) if field_name in _SECRETS else None
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text().strip(), field_name, False
        except OSError as error:
            raise InvalidSettings(f"{variable}={path}: cannot be read: {error.strerror}") from None

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(None, name)[0] for name in _SECRETS}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """All settings of a process. Read them with `load`, which words what is wrong."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis or Valkey; rediss:// for TLS."
    )
    redis_cluster: bool = Field(False, description="Whether `redis_url` names a node of a cluster.")
    mongodb_url: SecretStr = Field(SecretStr("mongodb://127.0.0.1:27017"), description="MongoDB 5.0.5 or newer.")
    mongodb_database: DatabaseName = Field("dubbing", description="Database of the measurements.")
    prefix: Name = Field("dubbing", description="First part of every Redis key.")
    shards: int = Field(1, ge=1, le=1024, description="Number of streams. Fixed for the life of the data.")
    group: Name = Field("streamproc", description="Consumer group.")
    consumer: Name = Field(
        default_factory=socket.gethostname,
        description="Prefix of the consumer's name; a random suffix is always added.",
    )
    window_seconds: int = Field(3600, ge=1, le=86_400, description="Window length. Fixed for the life of the data.")
    grace_seconds: Seconds = Field(120, description="How long after its end a window waits before it is flushed.")
    late_horizon_seconds: Seconds = Field(
        86_400, description="How long after its end a window still takes late events."
    )
    late_quiet_seconds: Seconds = Field(30, description="How long a window that took a late event waits for more.")
    future_tolerance_seconds: Seconds = Field(300, description="How far ahead of its entry an event's time may lie.")
    stream_retention_seconds: Seconds = Field(3600, description="How long read entries stay in the stream.")
    commit_max_events: int = Field(1000, ge=1, le=1000, description="The most entries in one commit.")
    commit_interval_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        0.5, description="How long to gather entries for a commit that is not full."
    )
    claim_idle_seconds: Seconds = Field(
        60, description="How long an entry is left pending before another pod takes it."
    )
    flush_visibility_seconds: Seconds = Field(60, description="How long a flusher has before its windows go back.")
    sweep_seconds: Seconds = Field(3600, description="How often superseded measurements are looked for.")
    poison_deliveries: int = Field(5, ge=2, le=1000, description="From how many deliveries an entry is tried alone.")
    dead_letter_retention_seconds: Seconds = Field(604_800, description="How long dead letters are kept.")
    web_host: str = Field("127.0.0.1", min_length=1, description="Address that the HTTP server listens on.")
    web_port: int = Field(8080, ge=0, le=65_535, description="Port of the HTTP server; 0 picks a free one.")
    api_token: SecretStr = Field(
        SecretStr(""),
        description="What callers of /api present as a bearer token. Without one it is served on loopback only.",
    )
    erasure_key: SecretStr = Field(
        SecretStr(""), description="Key of the hash by which an erased user is recognised. At least 16 characters."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="One line per thing worth knowing, as text or JSON."
    )

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, url: SecretStr) -> SecretStr:
        if not _is_redis_address(url.get_secret_value()):
            raise _no_address("redis://[user:password@]host[:port][/database], or rediss:// for TLS")
        return url

    @field_validator("mongodb_url")
    @classmethod
    def _mongodb_address(cls, url: SecretStr) -> SecretStr:
        if not mongo.describe(url.get_secret_value()).startswith("mongodb"):
            raise _no_address("mongodb://[user:password@]host[:port][,host...][/?options], or mongodb+srv://")
        return url

    @field_validator("erasure_key", "api_token")
    @classmethod
    def _hard_to_guess(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key) < _KEY_CHARACTERS:
            form = f"must have at least {_KEY_CHARACTERS} characters, or it can be guessed. {MAKE_KEY}"
            raise PydanticCustomError("key", "{form}", {"form": form})
        return key

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls), dotenv_settings

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Settings from the environment, with overrides.

        Raises:
            InvalidSettings: naming each wrong setting, its value and what is allowed.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise InvalidSettings("\n".join(_in_words(problem) for problem in error.errors())) from None

    @property
    def windowing(self) -> Windowing:
        return Windowing(
            length_ms=self.window_seconds * 1000,
            grace_ms=_ms(self.grace_seconds),
            horizon_ms=_ms(self.late_horizon_seconds),
            quiet_ms=_ms(self.late_quiet_seconds),
            future_ms=_ms(self.future_tolerance_seconds),
        )

    @property
    def consume_policy(self) -> ConsumePolicy:
        return ConsumePolicy(
            max_events=2 * self.commit_max_events,
            claim_idle_ms=_ms(self.claim_idle_seconds),
            poison_deliveries=self.poison_deliveries,
        )

    @property
    def flush_policy(self) -> FlushPolicy:
        return FlushPolicy(visibility_ms=_ms(self.flush_visibility_seconds))

    @property
    def erase_policy(self) -> ErasePolicy:
        return ErasePolicy(
            flush_visibility_ms=_ms(self.flush_visibility_seconds),
            measurement_retention_ms=EXPIRE_AFTER_SECONDS * 1000,
        )

    @property
    def keep_policy(self) -> KeepPolicy:
        return KeepPolicy(
            stream_retention_ms=_ms(self.stream_retention_seconds),
            dead_letter_retention_ms=_ms(self.dead_letter_retention_seconds),
            measurement_retention_ms=EXPIRE_AFTER_SECONDS * 1000,
            sweep_ms=_ms(self.sweep_seconds),
        )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _is_redis_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - asked for, since it is only then looked at
    except ValueError:
        return False
    database = parts.path.removeprefix("/")
    if parts.scheme == "unix":
        return bool(database)
    return parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and (not database or database.isdecimal())


def _no_address(form: str) -> PydanticCustomError:
    """The value is not repeated: a piece of the password may stand anywhere in it."""
    return PydanticCustomError(
        "address", "must be {form}; percent-encode special characters in user and password", {"form": form}
    )


def _in_words(problem: Any) -> str:
    """One line for a person: the variable, the rule, and the value unless it is a secret."""
    name = str(problem["loc"][0])
    shown = "" if name in _SECRETS else f", got {problem['input']!r}"
    message = problem["msg"]
    return f"{PREFIX}{name.upper()}: {message[0].lower()}{message[1:]}{shown}"
