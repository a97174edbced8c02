from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest

from streamproc.core.windows import WindowKey

from .conftest import HOUR_MS, KEYS, NAME, START_MS, WINDOW, WINDOWING, Scripts

NOW_MS = START_MS + 2 * HOUR_MS
UNTIL_MS = NOW_MS + 60_000
LATER_MS = NOW_MS + 30_000
FORGETTABLE_MS = WINDOWING.forgettable_at(START_MS)


def finish(shard: Scripts, *windows: tuple[WindowKey, int, str]) -> list[str]:
    """Finish, and finish again, as after a lost reply: that changes nothing."""
    keys = [KEYS.open, KEYS.taken, KEYS.closed, KEYS.erased]
    packed = []
    for window, revision, user_hash in windows:
        name = WINDOWING.name(window)
        keys.append(KEYS.window(name).segments)
        packed.append((name, revision, user_hash, window.start_ms, WINDOWING.forgettable_at(window.start_ms)))
    batch = msgspec.msgpack.encode(packed)
    verdicts: list[str] = shard.run("finish", keys, NOW_MS, UNTIL_MS, batch)
    before = shard.dump()
    assert shard.run("finish", keys, NOW_MS, UNTIL_MS, batch) == verdicts
    assert shard.dump() == before
    return verdicts


class Case(NamedTuple):
    segments: int
    erased_up_to_ms: int | None = None
    open_at_ms: int | None = None
    closed: bool = False


@pytest.mark.parametrize(
    ("found", "verdict", "open_after", "closed_after"),
    [
        pytest.param(Case(3), "closed", None, True, id="as many segments as were stored"),
        pytest.param(Case(4), "open", NOW_MS, False, id="it grew, and no commit has put it into open"),
        pytest.param(Case(4, open_at_ms=LATER_MS), "open", LATER_MS, False, id="it grew, and its commit said when"),
        pytest.param(Case(2), "open", NOW_MS, False, id="it shrank: Redis lost data"),
        pytest.param(Case(0), "gone", None, False, id="its detail is gone"),
        pytest.param(
            Case(3, open_at_ms=LATER_MS), "closed", LATER_MS, True, id="it grew before the fold, and stays open"
        ),
        pytest.param(Case(4, closed=True), "open", NOW_MS, True, id="another flusher closed it, this one is behind"),
        pytest.param(Case(3, erased_up_to_ms=START_MS), "erased", None, False, id="its user was erased"),
        pytest.param(
            Case(0, erased_up_to_ms=START_MS), "erased", None, False, id="its user was erased, detail and all"
        ),
        pytest.param(Case(3, erased_up_to_ms=START_MS - HOUR_MS), "closed", None, True, id="only earlier ones erased"),
    ],
)
def test_a_flush_of_three_segments_ends_by_what_is_there_now(
    shard: Scripts, found: Case, verdict: str, open_after: int | None, closed_after: bool
) -> None:
    if found.segments:
        shard.redis.hset(KEYS.window(NAME).segments, mapping={f"s{n}": "" for n in range(found.segments)})
    if found.erased_up_to_ms is not None:
        shard.redis.zadd(KEYS.erased, {"hash-of-dana": found.erased_up_to_ms})
    if found.open_at_ms is not None:
        shard.redis.zadd(KEYS.open, {NAME: found.open_at_ms})
    if found.closed:
        shard.redis.zadd(KEYS.closed, {NAME: FORGETTABLE_MS})
    shard.redis.zadd(KEYS.taken, {NAME: UNTIL_MS, "another": 6})
    assert finish(shard, (WINDOW, 3, "hash-of-dana")) == [verdict]
    assert shard.taken() == {"another": 6}
    assert shard.open() == ({} if open_after is None else {NAME: open_after})
    assert shard.closed() == ({NAME: FORGETTABLE_MS} if closed_after else {})


@pytest.mark.parametrize(("erased_up_to_ms", "verdict"), [(-1, "taken"), (START_MS, "erased")])
def test_a_window_that_another_flusher_took_meanwhile_is_left_to_it(
    shard: Scripts, erased_up_to_ms: int, verdict: str
) -> None:
    shard.redis.hset(KEYS.window(NAME).segments, mapping={"s1": "", "s2": ""})
    shard.redis.zadd(KEYS.erased, {"hash-of-dana": erased_up_to_ms})
    shard.redis.zadd(KEYS.taken, {NAME: UNTIL_MS + 1})
    assert finish(shard, (WINDOW, 2, "hash-of-dana")) == [verdict]
    assert (shard.open(), shard.taken(), shard.closed()) == ({}, {NAME: UNTIL_MS + 1}, {})


def test_each_window_has_its_own_verdict(shard: Scripts) -> None:
    windows = [WINDOW._replace(session_id=f"session-{n}") for n in range(3)]
    for window, segments in zip(windows, [1, 2, 0], strict=True):
        if segments:
            mapping = {f"s{n}": "" for n in range(segments)}
            shard.redis.hset(KEYS.window(WINDOWING.name(window)).segments, mapping=mapping)
    assert finish(shard, *((window, 1, "") for window in windows)) == ["closed", "open", "gone"]


def test_five_hundred_windows_are_finished_at_once(shard: Scripts) -> None:
    windows = [(WINDOW._replace(session_id=f"session-{n}"), 1, "") for n in range(500)]
    assert finish(shard, *windows) == ["gone"] * 500
