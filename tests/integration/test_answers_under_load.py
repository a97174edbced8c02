"""Questions asked again and again while workers count, flush, revise and forget: no hour is ever less than it was."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from pods import Pods, pods

from streamproc import DubbingMetricsService
from streamproc.answers.results import HourRow
from streamproc.demo.oracle import Kind
from streamproc.demo.simulation import Shares
from streamproc.embedded import EmbeddedServer

_ROUNDS = 25
#: Retained for a few seconds only, so that windows are forgotten within the test.
_SETTINGS = {"LATE_HORIZON_SECONDS": "10", "FUTURE_TOLERANCE_SECONDS": "1"}


async def test_segments_of_an_hour_never_go_down_or_double_while_it_is_flushed(
    valkey: EmbeddedServer, mongod: EmbeddedServer
) -> None:
    async with pods(valkey.url, mongod.url, **_SETTINGS) as system:
        await system.start()
        await system.start()
        published: Counter[tuple[str, datetime]] = Counter()
        _hear(system, published)
        remembering = _service(system)
        seen: dict[str, dict[tuple[str, datetime], HourRow]] = {"remembering": {}, "anew": {}}
        async with system.load(shares=Shares(late=0.1, duplicate=0.1, too_late=0, future=0, malformed=0)):
            for _ in range(_ROUNDS):
                await asyncio.sleep(0.1)
                for name, asked in (("remembering", remembering), ("anew", _service(system))):
                    for key, row in (await _rows(asked, {channel for channel, _ in published})).items():
                        assert row.segments >= _before(seen[name], key), f"{name}: {key}"
                        seen[name][key] = row
        await system.assert_exact()
        for asked in (remembering, _service(system)):
            rows = await _rows(asked, {channel for channel, _ in published})
            assert {key: row.segments for key, row in rows.items()} == dict(published)
            assert {row.state for row in rows.values()} == {"final"}
        twice = [key for rows in seen.values() for key, row in rows.items() if row.segments > published[key]]
        assert twice == []
        states = {row.state for rows in seen.values() for row in rows.values()}
        assert "rolling" in states or "revised" in states, "the test must have asked before the flush, too"


def _service(system: Pods) -> DubbingMetricsService:
    return DubbingMetricsService(system.shard.client, system.database, system.settings)


async def _rows(asked: DubbingMetricsService, channels: set[str]) -> dict[tuple[str, datetime], HourRow]:
    answers = [await asked.get_hourly_metrics(channel, 1) for channel in channels]
    assert all(answer.missing == [] for answer in answers)
    return {(answer.channel_id, row.hour): row for answer in answers for row in answer.hours}


def _before(seen: dict[tuple[str, datetime], HourRow], key: tuple[str, datetime]) -> int:
    return seen[key].segments if key in seen else 0


def _hear(system: Pods, published: Counter[tuple[str, datetime]]) -> None:
    """Count what is published, each segment once, by channel and window."""
    record, known = system.oracle.record, set[tuple[str, str]]()

    def hear(kind: Kind, event: Any) -> None:
        record(kind, event)
        segment = event["session_id"], event["segment_id"]
        if segment not in known:
            known.add(segment)
            length_s = system.settings.window_seconds
            start_s = int(event["received_at"].timestamp()) // length_s * length_s
            published[event["channel_id"], datetime.fromtimestamp(start_s, UTC)] += 1

    system.oracle.record = hear  # type: ignore[method-assign]
