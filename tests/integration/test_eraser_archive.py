"""The archive is a layer of erasure like the others: erased with them, and away without keeping them from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from archiving import DAY, Stage, days_ago, folder_url, key, measurement, stage
from chaos.search import in_archive, names

from streamproc.app.erasing import carry_out, make_eraser
from streamproc.app.settings import Settings
from streamproc.core.erasures import State
from streamproc.embedded import EmbeddedServer
from streamproc.metrics import Metrics
from streamproc.roles.eraser import Eraser

USER = "דנה"


@pytest.fixture
async def on(
    valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    async with stage(valkey.url, mongod.url, mongo_database_name, folder_url(tmp_path / "archive")) as made:
        await made.store(measurement(key(USER)), measurement(key(USER, day=days_ago(6))), measurement(key("avi")))
        await made.run_all()
        made.connections.settings = Settings(**{**made.settings.model_dump(), "flush_visibility_seconds": 0.001})
        yield made


def eraser_of(on: Stage) -> Eraser:
    """As every process makes it."""
    made = make_eraser(on.connections, Metrics())
    assert made is not None
    return made


def found_in(folder: Path) -> list[str]:
    return [place for place, one in in_archive(folder) if names(USER, one)]


async def test_a_person_goes_from_the_archive_with_all_else_and_the_receipt_says_how_much(
    on: Stage, tmp_path: Path
) -> None:
    eraser = eraser_of(on)
    assert found_in(tmp_path / "archive")
    erasure = await eraser.request(USER)
    assert await eraser.look(erasure, USER) == {
        "measurements": {"documents": 2},
        "archive": {"archive_rows": 2, "archive_files": 2},
    }
    erasure = await carry_out(eraser, USER, anew=False)
    receipt = erasure.receipt()
    assert (receipt["state"], receipt["timeseries_docs_deleted"]) == ("complete", 2)
    assert (receipt["archive_rows_deleted"], receipt["archive_files_rewritten"]) == (2, 2)
    assert await eraser.look(erasure, USER) == {}
    assert found_in(tmp_path / "archive") == []
    assert on.users(DAY) == ["avi"]
    assert await on.wrong() == {}


async def test_an_archive_that_is_away_makes_it_incomplete_and_back_complete(on: Stage, tmp_path: Path) -> None:
    eraser, folder = eraser_of(on), tmp_path / "archive"
    folder.rename(tmp_path / "away")
    erasure = await carry_out(eraser, USER)
    assert (erasure.state, list(erasure.trouble)) == (State.INCOMPLETE, ["archive"])
    assert USER not in str(erasure.trouble)
    assert erasure.total("documents") == 2  # it keeps no other layer from being erased
    (tmp_path / "away").rename(folder)
    erasure = await carry_out(eraser, USER, anew=False)
    assert (erasure.state, erasure.trouble, erasure.total("archive_rows")) == (State.COMPLETE, {}, 2)
    assert found_in(folder) == []
