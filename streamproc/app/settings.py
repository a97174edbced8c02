"""Settings: what there is to set, and what is allowed. Where they are read: `settings_sources`.

Nothing below this floor knows them: roles are given policies, which are made here.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from streamproc.app.settings_sources import PREFIX, SECRETS, find, is_service_link
from streamproc.core.windows import Windowing
from streamproc.roles.archive_inspector import ArchivePolicy
from streamproc.roles.consumer import ConsumePolicy
from streamproc.roles.eraser import ErasePolicy
from streamproc.roles.flusher import FlushPolicy
from streamproc.roles.janitor import KeepPolicy
from streamproc.roles.session_keeper import SessionPolicy
from streamproc.stores.archive import objects as archive
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.mongo.collection import COLLECTION as MEASUREMENTS
from streamproc.stores.mongo.collection import EXPIRE_AFTER_SECONDS
from streamproc.stores.mongo.erasures import COLLECTION as ERASURES
from streamproc.stores.mongo.sessions import COLLECTION as SESSIONS
from streamproc.stores.redis import connect as redis

__all__ = ["KEY_CHARACTERS", "MAKE_KEY", "PREFIX", "InvalidSettings", "Settings", "read"]

KEY_CHARACTERS: Final = 16
MAKE_KEY: Final = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"

Seconds = Annotated[float, Field(gt=0, le=365 * 86_400)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
# https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
DatabaseName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9_-]+$")]
CollectionName = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9_.-]+$")]


class InvalidSettings(ValueError):
    """A setting has a wrong value. The message names each, what it is and what is allowed, never a secret."""


class Settings(BaseModel):
    """All settings of a process. Read them with `load`, which words what is wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    erasure_key: SecretStr = Field(SecretStr(""), description="Key of the hash by which an erased user is recognised.")
    sessions_enabled: bool = Field(False, description="Whether session documents are kept in step and erased.")
    sessions_collection: CollectionName = Field(
        SESSIONS, description="Collection of the session documents, in the database of the measurements."
    )
    archive_url: str = Field(
        "", description="Where the archive is: file:///folder or gs://bucket/prefix. Empty: there is none."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="One line per thing worth knowing, as text or JSON."
    )
    log_level: Literal["debug", "info", "warning"] = Field("info", description="From which level on things are told.")

    @field_validator("redis_url", "mongodb_url")
    @classmethod
    def _address(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        check = redis.check_address if info.field_name == "redis_url" else mongo.check_address
        try:
            check(url.get_secret_value())
        except ValueError as error:
            raise _wrong(str(error)) from None
        return url

    @field_validator("archive_url")
    @classmethod
    def _archive_address(cls, url: str) -> str:
        try:
            if url:
                archive.check_address(url)
        except ValueError as error:
            raise _wrong(str(error)) from None
        return url

    @field_validator("erasure_key", "api_token")
    @classmethod
    def _hard_to_guess(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key) < KEY_CHARACTERS:
            raise _wrong(f"must have at least {KEY_CHARACTERS} characters, or it can be guessed. {MAKE_KEY}")
        return key

    @field_validator("sessions_collection")
    @classmethod
    def _of_the_product(cls, name: str) -> str:
        if name in (MEASUREMENTS, ERASURES) or name.startswith("system."):
            raise _wrong("must be the product's own collection: this one is not for session documents")
        return name

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Settings from the environment and files, with overrides.

        Raises:
            InvalidSettings: naming each wrong setting, its value and what is allowed.
        """
        settings, problems = read(overrides)
        if settings is None:
            raise InvalidSettings("\n".join(problems.values()))
        return settings

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
    def session_policy(self) -> SessionPolicy:
        return SessionPolicy(visibility_ms=_ms(self.flush_visibility_seconds))

    @property
    def erase_policy(self) -> ErasePolicy:
        return ErasePolicy(
            flush_visibility_ms=_ms(self.flush_visibility_seconds),
            measurement_retention_ms=EXPIRE_AFTER_SECONDS * 1000,
        )

    @property
    def archive_policy(self) -> ArchivePolicy:
        return ArchivePolicy(measurement_retention_ms=EXPIRE_AFTER_SECONDS * 1000)

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


def _wrong(words: str) -> PydanticCustomError:
    """An error with just these words."""
    return PydanticCustomError("setting", "{words}", {"words": words})


def read(overrides: Mapping[str, Any]) -> tuple[Settings | None, dict[str, str]]:
    """The settings, or what is wrong with each by name: the variable, the rule, and the value unless it is a secret."""
    given = {name: one for name, one in find(Settings.model_fields).items() if name not in overrides}
    problems = {name: one.problem for name, one in given.items() if one.problem}
    values: dict[str, Any] = {name: one.value for name, one in given.items() if not one.problem}
    try:
        settings = Settings(**values, **overrides)
    except ValidationError as error:
        for wrong in error.errors():
            problems.setdefault(str(wrong["loc"][0]), _in_words(wrong))
        return None, problems
    return (None if problems else settings), problems


def _in_words(wrong: Any) -> str:
    name, value = str(wrong["loc"][0]), wrong["input"]
    message = wrong["msg"]
    shown = "" if name in SECRETS else f", got {value!r}"
    if is_service_link(str(value)):
        shown += ". Kubernetes sets this for a service of that name: set enableServiceLinks: false in the pod"
    return f"{PREFIX}{name.upper()}: {message[0].lower()}{message[1:]}{shown}"
