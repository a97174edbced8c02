"""Connecting to MongoDB: how long anyone waits for it, and when a write counts as stored."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

Client = AsyncMongoClient[dict[str, Any]]

# Defaults: the same option in the URL wins. A role learns within seconds that MongoDB is away and tries again later,
# instead of hanging; a server that took the connection and froze, or a majority that is not there, gets longer.
_TIMEOUTS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 2_000,
    "connectTimeoutMS": 2_000,
    "wTimeoutMS": 20_000,
    "socketTimeoutMS": 30_000,
}

# Never weakened by the URL: a measurement counts as stored only when a majority has it in its journal, since the
# windows in Redis are forgotten on the strength of it. https://www.mongodb.com/docs/manual/reference/write-concern/
_DURABILITY: dict[str, Any] = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "readPreference": "primary",
}

_FORM = "mongodb://[user:password@]host[:port][,host...][/?options], or mongodb+srv://"
_HOST = r"(?:\[[0-9a-fA-F:.]+\]|[\w.%-]+)(?::\d+)?"
_ADDRESS = re.compile(
    rf"(?P<scheme>mongodb(?:\+srv)?://)(?:[^@/?]*@)?(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<database>/[^@?]*)?(?:\?[^@]*)?"
)


def connect(url: str, *, app_name: str, listeners: Sequence[CommandListener] = ()) -> Client:
    """A client for `url`. It connects when first used, so that a server that is away is no error here.

    Dates are read with their zone (UTC). The caller closes the client (``await client.close()``). `listeners` hear of
    every command.

    Raises:
        pymongo.errors.ConfigurationError, ValueError: `url` is no MongoDB address, or an option has a wrong value.
    """
    given = {name.lower() for name, _ in parse_qsl(urlsplit(url).query)}
    timeouts = {name: value for name, value in _TIMEOUTS.items() if name.lower() not in given}
    return AsyncMongoClient(url, appname=app_name, tz_aware=True, event_listeners=listeners, **timeouts, **_DURABILITY)


def durable(database: AsyncDatabase[dict[str, Any]]) -> AsyncDatabase[dict[str, Any]]:
    """The same database with what `connect` promises: aware dates, and nothing counts that a majority has not.

    Raises:
        ValueError: it is none of pymongo's AsyncMongoClient; the message says what to do.
    """
    if not isinstance(database, AsyncDatabase):
        kind = f"{type(database).__module__}.{type(database).__name__}"
        raise ValueError(
            f"db must be a database of pymongo's AsyncMongoClient, not {kind}: leave it out, and one is connected to "
            "as the settings say"
        )
    options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
    return database.with_options(
        codec_options=options,
        read_preference=ReadPreference.PRIMARY,
        write_concern=WriteConcern(w="majority", j=True, wtimeout=_TIMEOUTS["wTimeoutMS"]),
        read_concern=ReadConcern("majority"),
    )


def check_address(url: str) -> None:
    """Raises ValueError, saying what is allowed, if `connect` would not take `url`. No name is looked up.

    The value is not repeated: a piece of the password may stand anywhere in it.
    """
    if _ADDRESS.fullmatch(url) is None:
        raise ValueError(f"must be {_FORM}; percent-encode special characters in user and password")
    try:
        # The hosts behind mongodb+srv:// are for the name service to tell; the options are the same.
        parse_uri(url.replace("mongodb+srv://", "mongodb://", 1), validate=True, warn=False)
    except OSError as error:
        # From 4.20 on PyMongo leaves the path out of what it says.
        names = error.filename or ", ".join(path for path in _files(url) if not os.access(path, os.R_OK))
        raise ValueError(f"names a file that cannot be read: {names}: {os.strerror(error.errno or 0)}") from None
    except (PyMongoError, ValueError, TypeError):
        raise ValueError("has an option after the ? that PyMongo does not know, or that has a wrong value") from None


def _files(url: str) -> list[str]:
    """The paths among the options."""
    return [value for name, value in parse_qsl(urlsplit(url).query) if name.lower().endswith("file")]


def masked(url: str) -> str:
    """The address with `***` for user and password. Options are left out: they may hold secrets too."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return describe(url)
    secret = "***@" if "@" in url else ""
    return f"{match['scheme']}{secret}{match['hosts']}{match['database'] or ''}"


def describe(url: str) -> str:
    """Scheme and hosts of `url`, for messages: no user, password or option.

    Of a malformed address nothing is repeated, because there a piece of the password may stand where a host belongs.
    """
    match = _ADDRESS.fullmatch(url)
    return match["scheme"] + match["hosts"] if match else "the given MongoDB address (malformed, so not shown)"
