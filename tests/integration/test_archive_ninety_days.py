"""Ninety days on a real MongoDB and an emulator of Google Cloud Storage: archived, verified, asked about, through one
erasure and one repair. At the mission's scale: ``python -m tests.bench.archive life``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archiving import KEY, Document, Stage, days_ago, key, measurement, stage
from google.cloud import storage

from streamproc.core.erasure_key import ErasureKey
from streamproc.core.erasures import State as Erased
from streamproc.core.fold import Aggregate
from streamproc.core.windows import WindowKey
from streamproc.embedded import EmbeddedServer
from streamproc.metrics import Metrics
from streamproc.roles.archive_inspector import State
from streamproc.roles.eraser import ErasePolicy, Eraser, Layer
from streamproc.stores.archive.query import ask
from streamproc.stores.archive.sql import COLUMN, By, Question
from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.mongo.erasures import ErasureStore, MeasurementErasure
from streamproc.stores.mongo.measurements import MeasurementStore
from streamproc.stores.redis.erasure import ShardErasure

USERS = [f"user-{number}@example.org" for number in range(8)]
GONE = USERS[3]
FIRST = days_ago(89)
#: The last day that is final at any time of the day.
LAST = days_ago(3)


def documents() -> list[Document]:
    """Every user watches every day, in the evening, on one of three channels."""
    return [
        measurement(
            key(user, day=days_ago(number), hour=hour, channel=f"channel-{(place + number) % 3}"),
            segments=20 + (place * number) % 40,
            platform=("web", "ios")[place % 2],
        )
        for number in range(90)
        for place, user in enumerate(USERS)
        for hour in (19, 20)
    ]


def expected(of: Iterable[Document], by: By) -> dict[Any, Aggregate]:
    """What the measurements of archived days come to, folded here."""
    found: dict[Any, Aggregate] = {}
    for document in of:
        day = document["timestamp"].date()
        if day > LAST:
            continue
        group = {
            "month": f"{day:%Y-%m}",
            "day": day,
            "user": document["metadata"]["user_id"],
            "channel": document["metadata"]["channel_id"],
            "year": str(day.year),
        }[by]
        found[group] = found.get(group, Aggregate()).merge(Aggregate.from_document(document))
    return found


def assert_answers(on: Stage, of: list[Document], groups: Sequence[By] = ("month", "user")) -> None:
    for by in groups:
        rows = {row[COLUMN[by]]: row for row in ask(on.archive, Question(by, FIRST, LAST))}
        wanted = expected(of, by)
        assert rows.keys() == wanted.keys()
        for group, aggregate in wanted.items():
            row = rows[group]
            assert (row["segments"], row["errors"]) == (aggregate.segments, aggregate.errors)
            assert row["avg_total_ms"] == pytest.approx(aggregate.mean_ms(aggregate.total_us), rel=1e-12)
            assert row["p95_total_ms"] == pytest.approx(aggregate.quantile_ms(0.95), rel=1e-9)


def eraser(on: Stage) -> Eraser:
    """Of all layers, as a worker has it."""
    shards = [ShardErasure(shard, on.settings.windowing) for shard in on.connections.shards]
    layers: list[Layer] = [MeasurementErasure(MeasurementStore(on.database)), on.erasure]
    policy = ErasePolicy(flush_visibility_ms=1)
    return Eraser(shards, layers, ErasureStore(on.database), ErasureKey(KEY), on.settings.windowing, Metrics(), policy)


def traces(bucket: str, user: str) -> list[str]:
    """Objects in which a user's id can be found, in Parquet behind its compression."""
    found = []
    for blob in storage.Client().list_blobs(bucket.split("/")[2]):
        data = blob.download_as_bytes()
        text = str(pq.read_table(pa.BufferReader(data)).to_pylist()) if blob.name.endswith(".parquet") else str(data)
        found += [blob.name] if user in text else []
    return found


async def test_ninety_days_live_through_an_erasure_and_a_repair(
    valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str, bucket: str
) -> None:
    async with stage(valkey.url, mongod.url, mongo_database_name, bucket) as on:
        stored = documents()
        await on.store(*stored)

        done = await on.run_all()
        archived = [one.day for one in done if one.state is State.DONE]
        assert {one.state for one in done} == {State.DONE, State.WAITING}
        assert set(archived) >= {days_ago(number) for number in range(3, 90)}
        assert await on.wrong() == {}
        await asyncio.to_thread(assert_answers, on, stored, ("day", "month", "year", "channel", "user"))

        erasing = eraser(on)
        erasure = await erasing.request(GONE)
        while erasure.state is not Erased.COMPLETE:
            erasure = await erasing.advance(erasure)
            assert not erasure.trouble
        assert erasure.tallies["first"]["archive"] == {"archive_rows": len(archived), "archive_files": len(archived)}
        assert not any(erasure.tallies["second"]["archive"].values())
        assert await erasing.look(erasure, GONE) == {}
        assert await asyncio.to_thread(traces, bucket, GONE) == []
        assert len(await asyncio.to_thread(traces, bucket, USERS[0])) == len(archived)
        left = [one for one in stored if one["metadata"]["user_id"] != GONE]
        assert await on.wrong() == {}
        await asyncio.to_thread(assert_answers, on, left)

        repaired = left[len(left) // 4]
        window = WindowKey(
            round(repaired["timestamp"].timestamp() * 1000),
            *(repaired["metadata"][name] for name in ("channel_id", "session_id", "user_id")),
        )
        better = measurement(window, segments=repaired["segments_processed"] + 1, write=2)
        await on.database[COLLECTION].insert_one(better)
        assert [one.day for one in await on.run_all() if one.written] == [repaired["timestamp"].date()]
        assert await on.wrong() == {}
        await asyncio.to_thread(assert_answers, on, [*(one for one in left if one is not repaired), better])
        assert not any(one.written for one in await on.run_all())
