"""Every setting in words: what is allowed, what is in force and where it comes from, whether it may be changed.

For `streamproc config` and docs/settings.md alike: the bounds are those of `Settings`, said once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from pydantic import SecretStr

from streamproc.app.settings import KEY_CHARACTERS, PREFIX, Settings, read
from streamproc.app.settings_sources import SECRETS, Found, find
from streamproc.stores.mongo import connect as mongo
from streamproc.stores.redis import connect as redis

#: What happens to stored data where one of these is changed. All others may be changed at any time.
NOT_SAFE_TO_CHANGE: Final = {
    "redis_url": "another server holds other data: move Redis' data along",
    "mongodb_url": "another server holds other data: move MongoDB's data along",
    "mongodb_database": "another database holds other measurements: move them along",
    "prefix": "other keys: what is counted and not yet stored under the old ones stays there",
    "shards": "fixed with the first data: a process that differs does not run; use another PREFIX",
    "group": "a new group reads the whole stream again, and knows nothing of what the old one has in hand",
    "window_seconds": "fixed with the first data: a process that differs does not run; use another PREFIX",
    "archive_url": "another archive: move its files along, manifests and all",
    "erasure_key": "whoever was erased is not recognised by another key: a process that differs does not run",
}
# What the schema does not say, since a validator does.
_ALLOWED: Final = {
    "redis_url": "redis:// or rediss://",
    "mongodb_url": "mongodb:// or mongodb+srv://",
    "archive_url": "file:// or gs://",
    "api_token": f"{KEY_CHARACTERS} characters or more",
    "erasure_key": f"{KEY_CHARACTERS} characters or more",
}
_COMPUTED: Final = {"consumer": "the host name"}


class Described(NamedTuple):
    """One setting as it is in force.

    Attributes:
        value: for people: of a URL no password, of a key only whether it is set.
        origin: ``default``, ``environment``, ``command line``, the path of ``.env``, or ``file <path>``.
        problem: what is wrong with the value; '' where nothing is.
    """

    name: str
    value: str
    origin: str
    problem: str

    @property
    def variable(self) -> str:
        return f"{PREFIX}{self.name.upper()}"

    @property
    def change(self) -> str:
        """Why it is not safe to change for stored data; '' where it is."""
        return NOT_SAFE_TO_CHANGE.get(self.name, "")


def describe(overrides: Mapping[str, Any]) -> list[Described]:
    """Every setting, in the order of `Settings`. Raises nothing, whatever was given."""
    _, problems = read(overrides)
    given = find(Settings.model_fields)
    given |= {name: Found(str(value), "command line") for name, value in overrides.items()}
    return [
        Described(name, _shown(name, given.get(name)), _origin(given.get(name)), problems.get(name, ""))
        for name in Settings.model_fields
    ]


def default(name: str) -> str:
    """The default for people; '' where there is none."""
    if name in _COMPUTED:
        return _COMPUTED[name]
    value = Settings.model_fields[name].default
    text = str(value.get_secret_value() if isinstance(value, SecretStr) else value)
    return text.lower() if isinstance(value, bool) else text


def allowed(name: str) -> str:
    """What values a setting may have, in words."""
    return _ALLOWED.get(name) or _allowed(_schema()[name])


def _origin(found: Found | None) -> str:
    return "default" if found is None else found.origin


def _shown(name: str, found: Found | None) -> str:
    value = _in_force(name) if found is None else found.value
    if name not in SECRETS:
        return value or "not set"
    if name.endswith("_url"):
        return _masked(name, value)
    return "set" if value else "not set"


def _in_force(name: str) -> str:
    """The default as a process takes it."""
    factory: Any = Settings.model_fields[name].default_factory
    return default(name) if factory is None else str(factory())


def _masked(name: str, url: str) -> str:
    """Nothing of a malformed address is repeated: a piece of the password may stand anywhere in it."""
    store = redis if name == "redis_url" else mongo
    try:
        store.check_address(url)
    except ValueError:
        return "malformed, not shown" if url else ""
    return str(store.masked(url))


@cache
def _schema() -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = Settings.model_json_schema()["properties"]
    return properties


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        *others, last = schema["enum"]
        return f"{', '.join(others)} or {last}"
    if schema["type"] == "boolean":
        return "true or false"
    if schema["type"] == "string":
        return _allowed_text(schema)
    lowest = f"above {schema['exclusiveMinimum']:,}" if "exclusiveMinimum" in schema else f"{schema['minimum']:,}"
    bounds = f"{lowest} to {schema['maximum']:,}"
    return f"whole, {bounds}" if schema["type"] == "integer" else bounds


def _allowed_text(schema: dict[str, Any]) -> str:
    if "pattern" not in schema:
        return "text"
    signs = schema["pattern"].removeprefix("^[A-Za-z0-9").removesuffix("]+$")
    return f"1 to {schema['maxLength']} letters, digits or {' '.join(signs)}"
