"""What a pod says of itself is bounded, whatever it goes through."""

from __future__ import annotations

import msgspec

from streamproc.app.pod import Pod
from streamproc.app.presence import CHANNELS, TROUBLE_CHARACTERS, TROUBLES, report_of
from streamproc.app.settings import Settings
from streamproc.core.details import Detail
from streamproc.roles.flusher import LastFlush
from streamproc.stores.redis.presence import LiveSum

HOUR_MS = 3_600_000


def details(count: int, error: str = "") -> list[Detail]:
    return [Detail(0, 0, 0, 0, 1_200_000, 0, 0, "he", "en", error=error) for _ in range(count)]


async def a_pod() -> Pod:
    """A pod of two shards that has opened no connection."""
    return Pod(Settings.load(shards=2, consumer="pod"))


async def test_a_new_pod_says_what_it_waits_for() -> None:
    report = report_of(await a_pod())
    assert [trouble.split()[0] for trouble in report.troubles] == ["redis", "mongodb"]
    assert (report.counted, report.flushed, report.last_flush_ms, report.windows, report.channels) == (
        0,
        0,
        None,
        [],
        [],
    )


async def test_the_busiest_channels_are_named_and_the_sums_are_of_all() -> None:
    pod = await a_pod()
    for number in range(CHANNELS + 10):
        pod.live.add(HOUR_MS, f"channel-{number:03}", details(number + 1))
    pod.live.add(0, "channel-000", details(1000, error="timeout"))
    report = report_of(pod)
    named = {row.channel_id for row in report.channels}
    segments = sum(range(1, CHANNELS + 11))
    assert report.windows == [LiveSum(HOUR_MS, segments, 0, CHANNELS + 10), LiveSum(0, 1000, 1000, 1)]
    assert named == {"channel-000"} | {f"channel-{number:03}" for number in range(11, CHANNELS + 10)}
    assert report.errors == 1000


async def test_troubles_are_cut_in_number_and_length() -> None:
    pod = await a_pod()
    for number in range(20):
        pod.activity(f"activity {number}").failed(ValueError("x" * 10_000))
    report = report_of(pod)
    assert [len(trouble) <= TROUBLE_CHARACTERS for trouble in report.troubles] == [True] * TROUBLES


async def test_a_report_of_the_longest_names_stays_small() -> None:
    pod = await a_pod()
    for number in range(1000):
        pod.live.add(number % 5 * HOUR_MS, f"{number:0128}", details(3))
    assert len(msgspec.json.encode(report_of(pod))) < 30_000


async def test_the_last_flush_is_the_newest_of_all_shards() -> None:
    pod = await a_pod()
    pod.shards[0].flusher.last = LastFlush(2000, 7)
    pod.shards[1].flusher.last = LastFlush(1000, 9)
    report = report_of(pod)
    assert (report.last_flush_ms, report.last_flush_windows) == (2000, 7)


async def test_counters_are_those_of_the_metrics() -> None:
    pod = await a_pod()
    for number, counter in enumerate(
        (
            pod.metrics.events.labels("counted"),
            pod.metrics.events.labels("duplicate"),
            pod.metrics.events.labels("dead_lettered"),
            pod.metrics.windows_flushed,
            pod.metrics.windows_shrunk,
            pod.metrics.windows_diverged,
            pod.metrics.documents_refused,
        ),
        start=1,
    ):
        counter.inc(number)
    one = report_of(pod)
    found = (one.counted, one.duplicates, one.dead_lettered, one.flushed, one.shrunk, one.diverged, one.refused)
    assert found == (1, 2, 3, 4, 5, 6, 7)
