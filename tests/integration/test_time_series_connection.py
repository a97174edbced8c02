"""How a client waits for MongoDB, when it takes a write for stored, and what is said of its address."""

from __future__ import annotations

import pytest
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import ConfigurationError
from pymongo.read_concern import ReadConcern

from streamproc.stores.mongo.connect import connect, describe


@pytest.mark.parametrize("options", ["", "?w=1&journal=false&readConcernLevel=local&readPreference=secondary"])
async def test_no_option_of_the_url_weakens_durability(options: str) -> None:
    async with connect(f"mongodb://127.0.0.1/{options}", app_name="tests") as client:
        assert client.write_concern == WriteConcern(w="majority", j=True, wtimeout=20_000)
        assert client.read_concern == ReadConcern("majority")
        assert client.read_preference == ReadPreference.PRIMARY


async def test_client_gives_up_on_an_absent_server_within_seconds() -> None:
    async with connect("mongodb://127.0.0.1", app_name="tests") as client:
        assert client.options.server_selection_timeout == 2
        assert client.options.pool_options.socket_timeout == 30


async def test_timeouts_in_the_url_win() -> None:
    url = "mongodb://127.0.0.1/?serverselectiontimeoutms=150&wTimeoutMS=7"
    async with connect(url, app_name="tests") as client:
        assert client.options.server_selection_timeout == 0.15
        assert client.write_concern.document["wtimeout"] == 7
        assert client.options.pool_options.connect_timeout == 2


async def test_server_learns_the_name_of_the_program() -> None:
    async with connect("mongodb://127.0.0.1", app_name="streamproc worker") as client:
        assert client.options.pool_options.metadata["application"] == {"name": "streamproc worker"}


@pytest.mark.parametrize("url", ["redis://127.0.0.1", "mongodb://127.0.0.1:99999", "mongodb://u:p@ss@host"])
def test_what_is_no_mongodb_address_is_an_error(url: str) -> None:
    with pytest.raises((ConfigurationError, ValueError)):
        connect(url, app_name="tests")


@pytest.mark.parametrize(
    ("url", "described"),
    [
        ("mongodb://127.0.0.1:27017", "mongodb://127.0.0.1:27017"),
        ("mongodb://127.0.0.1:27017/", "mongodb://127.0.0.1:27017"),
        ("mongodb://app:secret@db.example.org/dubbing?authSource=admin", "mongodb://db.example.org"),
        ("mongodb+srv://app:secret@cluster0.example.org/?retryWrites=true", "mongodb+srv://cluster0.example.org"),
        ("mongodb://app:secret@a:1,b:2,[::1]:3/?replicaSet=rs0", "mongodb://a:1,b:2,[::1]:3"),
        ("mongodb://app:%73ecret@%2Ftmp%2Fmongodb.sock", "mongodb://%2Ftmp%2Fmongodb.sock"),
    ],
)
def test_description_is_scheme_and_hosts(url: str, described: str) -> None:
    assert describe(url) == described


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://app:secret",
        "mongodb://app:sec/ret@host",
        "mongodb://app:sec?ret@host",
        "mongodb://app:s@secret@host",
        "mongodb://host/?password=secret@host",
        "https://secret@host",
        "secret",
    ],
)
def test_nothing_of_a_malformed_address_is_repeated(url: str) -> None:
    assert describe(url) == "the given MongoDB address (malformed, so not shown)"
