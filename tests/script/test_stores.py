"""The stores as roles use them: what they pack is what the scripts take, and what they answer is what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from redis.exceptions import ResponseError

from streamproc.core.commits import Plan, Planner, Reason, shard_of
from streamproc.core.windows import Windowing, WindowKey
from streamproc.stores.redis.commits import MAX_WINDOWS, CommitStore, Outcome
from streamproc.stores.redis.connect import connect, require_supported
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.scripts import Script
from streamproc.stores.redis.shard import LayoutMismatch, Shard
from streamproc.stores.redis.survey import Survey, survey
from streamproc.stores.redis.windows import Taken, WindowStore

#: Late events are due at once, so that a test need not wait.
WINDOWING = Windowing(quiet_ms=0)
HOUR_MS = WINDOWING.length_ms
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Stores:
    """Every store of one shard, for consumer 'alice'."""

    client: Any
    shard: Shard
    entries: EntryStream
    commits: CommitStore
    windows: WindowStore
    #: A time three hours ago: the window that it falls in is closed, and open to late events.
    past_ms: int

    async def add(self, *segments: str, **changes: Any) -> list[bytes]:
        """Add an event for each segment, of `past_ms` unless `changes` says otherwise. Returns the entries' ids."""
        received_at = datetime.fromtimestamp(self.past_ms / 1000, UTC).isoformat()
        pipeline = self.client.pipeline(transaction=False)
        for segment in segments:
            event = {
                "segment_id": segment,
                "channel_id": "kan:11",
                "session_id": "session{7}",
                "user_id": "דנה %",
                "received_at": received_at,
                "extraction_ms": 1,
                "dubbing_ms": 2,
                "reinsertion_ms": 3,
                "source_language": "he",
                "target_language": "en",
                **changes,
            }
            pipeline.xadd(self.shard.keys.stream, {"data": orjson.dumps(event)})
        return list(await pipeline.execute())

    @property
    def window(self) -> WindowKey:
        """The window of what `add` adds."""
        return WindowKey(WINDOWING.start_of(self.past_ms), "kan:11", "session{7}", "דנה %")

    async def plan_new(self) -> Plan:
        batch = await self.entries.read_new(5000, 0)
        return Planner(WINDOWING).plan(batch.entries, batch.now_ms)

    async def commit_new(self) -> Outcome:
        return await self.commits.commit(await self.plan_new())

    async def count(self, *segments: str) -> None:
        await self.add(*segments)
        assert (await self.commit_new()).counted == len(segments)

    async def survey(self) -> Survey:
        seen = await survey(self.shard)
        assert seen is not None
        return seen

    def consumer(self, name: str) -> EntryStream:
        return EntryStream(self.shard, self.client, name)


@pytest.fixture
async def stores(redis_url: str) -> AsyncIterator[Stores]:
    client = connect(redis_url)
    shard = Shard(client, erasure_key="a key for tests")
    windows = WindowStore(shard, WINDOWING)
    past_ms = await windows.now_ms() - 3 * HOUR_MS
    made = Stores(client, shard, EntryStream(shard, client, "alice"), CommitStore(shard, WINDOWING), windows, past_ms)
    await made.entries.ensure_group()
    yield made
    await client.aclose()


# Committing


async def test_an_event_becomes_a_detail_of_its_window(stores: Stores) -> None:
    await stores.add("s1", "s2")
    outcome = await stores.commit_new()
    assert (outcome.counted, outcome.duplicates) == (2, 0)
    ((start_ms, channel_id, details),) = outcome.counted_details
    assert (start_ms, channel_id) == (stores.window.start_ms, "kan:11")
    assert await stores.windows.fetch([stores.window]) == [dict(zip(["s1", "s2"], details, strict=True))]
    assert [detail.total_us for detail in details] == [6000, 6000]


async def test_only_what_counted_is_told_as_counted(stores: Stores) -> None:
    await stores.count("s2", "s4")
    await stores.add("s1", "s2", "s3", "s3", "s4", "s5", dubbing_ms=7)
    await stores.add("s9", session_id="another")
    outcome = await stores.commit_new()
    assert (outcome.counted, outcome.duplicates) == (4, 3)
    ((_, _, counted),) = outcome.counted_details
    assert [detail.dubbing_us for detail in counted] == [7000, 7000, 7000, 2000]
    fetched, other = await stores.windows.fetch([stores.window, stores.window._replace(session_id="another")])
    assert sorted(fetched) == ["s1", "s2", "s3", "s4", "s5"]
    assert [segment for segment, detail in sorted(fetched.items()) if detail.dubbing_us == 2000] == ["s2", "s4"]
    assert list(other) == ["s9"]


async def test_committing_a_plan_again_counts_nothing(stores: Stores) -> None:
    await stores.add("s1")
    await stores.client.xadd(stores.shard.keys.stream, {"data": "{"})
    plan = await stores.plan_new()
    await stores.commits.commit(plan)
    assert await stores.commits.commit(plan) == Outcome()


async def test_a_window_that_has_gone_behind_the_consumers_back_is_indexed_again(stores: Stores) -> None:
    """Forgotten, erased, or rolled back: without its indexes nobody would find it, an erasure least of all."""
    await stores.count("s1")
    await stores.client.flushall()
    await stores.entries.ensure_group()
    await stores.count("s2")
    keys = stores.shard.keys.window(WINDOWING.name(stores.window))
    assert await stores.client.smembers(keys.channel) == {WINDOWING.name(stores.window).encode()}
    assert await stores.client.zcard(keys.user) == 1


async def test_indexes_are_named_only_until_the_window_is_known_to_be_there(stores: Stores) -> None:
    asked: list[int] = []

    async def counting(script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        asked.append(len(keys))
        return await script(stores.client, keys, args)

    stores.shard.run = counting  # type: ignore[method-assign]
    await stores.count("s1")
    await stores.count("s2")
    assert asked[0] - asked[1] == 2


async def test_a_part_that_fails_leaves_none_running_and_can_be_repeated(stores: Stores) -> None:
    for number in range(2 * MAX_WINDOWS):
        await stores.add("s1", session_id=f"session-{number}")
    plan = await stores.plan_new()
    failing = stores.shard.keys.window(WINDOWING.name(plan.windows[-1].key)).segments
    await stores.client.set(failing, "a stranger's")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await stores.commits.commit(plan)
    assert await stores.client.zcard(stores.shard.keys.open) == MAX_WINDOWS
    await stores.client.delete(failing)
    assert (await stores.commits.commit(plan)).counted == MAX_WINDOWS


async def test_more_windows_than_a_script_takes_are_committed_in_several(stores: Stores) -> None:
    sessions = [f"session-{number}" for number in range(2 * MAX_WINDOWS + 1)]
    for session in sessions:
        await stores.add("s1", session_id=session)
    await stores.client.xadd(stores.shard.keys.stream, {"data": "{"})
    outcome = await stores.commit_new()
    assert (outcome.counted, outcome.dead_reasons) == (len(sessions), [Reason.MALFORMED])
    assert sorted(len(details) for _, _, details in outcome.counted_details) == [1, MAX_WINDOWS, MAX_WINDOWS]
    assert set(await stores.windows.sizes([stores.window._replace(session_id=s) for s in sessions])) == {1}
    assert (await stores.survey()).ledger.imbalance() == 0


async def test_a_dead_letter_keeps_its_payload_to_the_byte(stores: Stores) -> None:
    payload = bytes(range(256))
    await stores.client.xadd(stores.shard.keys.stream, {"data": payload})
    outcome = await stores.commit_new()
    assert outcome.dead_reasons == [Reason.MALFORMED]
    ((_, fields),) = await stores.client.execute_command("XRANGE", stores.shard.keys.dead, "-", "+")
    letter = dict(zip(fields[::2], fields[1::2], strict=True))
    assert letter[b"payload"] == payload
    assert (letter[b"reason"], letter[b"detail"]) == (b"malformed", outcome.dead[0].detail.encode())


@pytest.mark.parametrize(
    ("hours_before_window", "erased"), [(0, 1), (1, 0)], ids=["the window is covered", "only the one before is"]
)
async def test_an_erased_user_is_recognised_by_the_keyed_hash(
    stores: Stores, hours_before_window: int, erased: int
) -> None:
    up_to_ms = stores.window.start_ms - hours_before_window * HOUR_MS
    await stores.client.zadd(stores.shard.keys.erased, {stores.shard.user_hash("דנה %"): up_to_ms})
    await stores.add("s1")
    await stores.add("s2", dubbing_ms=-1)
    outcome = await stores.commit_new()
    assert outcome.erased == 2 * erased
    assert (outcome.counted, len(outcome.dead)) == (1 - erased, 1 - erased)
    assert (await stores.survey()).ledger.imbalance() == 0


async def test_the_user_hash_depends_on_the_key_and_without_one_there_is_none(stores: Stores) -> None:
    one, other, none = (Shard(stores.client, erasure_key=key).user_hash("dana") for key in ("a", "b", ""))
    assert one != other
    assert none == ""


async def test_a_misplaced_entry_is_added_where_it_belongs_and_acknowledged_as_forwarded(stores: Stores) -> None:
    for session in ("session-0", "session-4"):
        await stores.add("s1", session_id=session)
    assert [shard_of(session, 2) for session in ("session-0", "session-4")] == [0, 1]
    batch = await stores.entries.read_new(10, 0)
    plan = Planner(WINDOWING, shard=0, shards=2).plan(batch.entries, batch.now_ms)
    await stores.entries.forward(plan.misplaced)
    outcome = await stores.commits.commit(plan)
    assert (outcome.counted, outcome.forwarded) == (1, 1)
    (misplaced,) = plan.misplaced
    (moved,) = await stores.client.execute_command("XRANGE", ShardKeys("dubbing", 1).stream, "-", "+")
    assert moved[1] == misplaced.fields
    assert (await stores.survey()).ledger.imbalance() == 0


async def test_a_pending_entry_that_a_stranger_deleted_is_acknowledged_as_lost(stores: Stores) -> None:
    first, second = await stores.add("s1", "s2")
    await stores.entries.read_new(10, 0)
    await stores.client.xdel(stores.shard.keys.stream, first)
    batch = await stores.entries.read_own(10)
    assert [(entry_id, fields is None) for entry_id, fields in batch.entries] == [(first, True), (second, False)]
    outcome = await stores.commits.commit(Planner(WINDOWING).plan(batch.entries, batch.now_ms))
    assert (outcome.counted, outcome.lost) == (1, 1)
    assert (await stores.survey()).ledger.imbalance() == 0


# Reading


async def test_a_read_waits_for_the_first_entry_and_tells_redis_time(stores: Stores) -> None:
    before_ms = await stores.windows.now_ms()
    assert (await stores.entries.read_new(10, 20)).entries == []
    ids = await stores.add("s1", "s2")
    batch = await stores.entries.read_new(10, 20)
    assert [entry_id for entry_id, _ in batch.entries] == ids
    assert before_ms <= batch.now_ms <= await stores.windows.now_ms()


async def test_own_pending_entries_are_read_page_by_page_and_then_from_the_start_again(stores: Stores) -> None:
    ids = await stores.add("s1", "s2", "s3")
    await stores.entries.read_new(10, 0)
    pages = [[entry_id for entry_id, _ in (await stores.entries.read_own(2)).entries] for _ in range(4)]
    assert pages == [ids[:2], ids[2:], [], ids[:2]]


async def test_claiming_goes_round_the_pending_list_and_tells_when_a_round_is_over(stores: Stores) -> None:
    ids = await stores.add("s1", "s2", "s3")
    await stores.entries.read_new(10, 0)
    bob = stores.consumer("bob")
    first = await bob.claim(0, 2)
    assert ([entry_id for entry_id, _ in first.entries], list(first.deliveries)) == (ids[:2], [2, 2])
    assert not bob.claim_round_over
    second = await bob.claim(0, 2)
    assert [entry_id for entry_id, _ in second.entries] == ids[2:]
    assert bob.claim_round_over


async def test_what_was_claimed_can_be_committed(stores: Stores) -> None:
    await stores.add("s1", "s2")
    await stores.entries.read_new(10, 0)
    batch = await stores.consumer("bob").claim(0, 10)
    assert (await stores.commits.commit(Planner(WINDOWING).plan(batch.entries, batch.now_ms))).counted == 2


async def test_entries_deleted_while_pending_are_lost_to_the_claim(stores: Stores) -> None:
    (entry,) = await stores.add("s1")
    await stores.entries.read_new(10, 0)
    await stores.client.xdel(stores.shard.keys.stream, entry)
    batch = await stores.consumer("bob").claim(0, 10)
    assert (batch.entries, batch.lost) == ([], 1)
    assert (await stores.survey()).ledger.imbalance() == 0


async def test_the_marks_of_others_count_against_an_entry_and_one_s_own_does_not(stores: Stores) -> None:
    """Who finds its own mark is alive: there was trouble with Redis, which never counts against an entry."""
    (entry,) = await stores.add("s1")
    await stores.entries.read_new(10, 0)
    assert [await stores.entries.suspect(entry) for _ in range(2)] == [0, 0]
    assert [await stores.consumer("bob").suspect(entry) for _ in range(2)] == [1, 1]
    assert await stores.consumer("carol").suspect(entry) == 2


async def test_without_a_group_reading_says_so_and_ensuring_it_helps(stores: Stores) -> None:
    await stores.count("s1")
    await stores.client.xgroup_destroy(stores.shard.keys.stream, stores.shard.group)
    for read in (stores.entries.read_new(10, 0), stores.entries.read_own(10), stores.entries.claim(0, 10)):
        with pytest.raises(ResponseError, match="NOGROUP"):
            await read
    assert await survey(stores.shard) is None
    assert await stores.windows.take_due(10, MINUTE_MS) is None
    assert await stores.entries.ensure_group() == "group missing"
    assert (await stores.commit_new()).duplicates == 1
    assert (await stores.survey()).ledger.imbalance() == 0


async def test_a_consumer_that_leaves_is_retired(stores: Stores) -> None:
    await stores.add("s1", "s2")
    others = await stores.consumer("bob").read_new(1, 0)
    await stores.commit_new()
    assert await stores.entries.retire(0) == ["alice"]
    await stores.commits.commit(Planner(WINDOWING).plan(others.entries, others.now_ms))
    assert await stores.entries.retire(0, only_self=True) == []
    assert await stores.consumer("bob").retire(0, only_self=True) == ["bob"]


async def test_trimming_tells_how_much_went(stores: Stores) -> None:
    for number in range(300):
        await stores.client.xadd(stores.shard.keys.stream, {"data": "{"}, id=f"{number + 1}-0")
    await stores.commit_new()
    entries, dead = await stores.entries.trim(0, HOUR_MS)
    assert (entries >= 200, dead) == (True, 0)
    assert (await stores.survey()).ledger.imbalance() == 0


# Windows


async def _take(stores: Stores, *expected: WindowKey) -> Taken:
    taken = await stores.windows.take_due(10, MINUTE_MS)
    assert taken is not None
    assert taken.keys == list(expected)
    assert taken.until_ms == taken.now_ms + MINUTE_MS
    return taken


async def test_a_window_is_taken_finished_and_taken_again_when_it_grows(stores: Stores) -> None:
    windows, window = stores.windows, stores.window
    await stores.count("s1", "s2")
    taken = await _take(stores, window)
    await _take(stores)
    assert await windows.finish({window: 2}, taken) == {window: "closed"}
    await _take(stores)

    await stores.count("s3")
    taken = await _take(stores, window)
    await stores.count("s4")
    assert await windows.finish({window: 3}, taken) == {window: "open"}
    taken = await _take(stores, window)
    assert await windows.finish({window: 4}, taken) == {window: "closed"}
    seen = await stores.survey()
    assert (seen.open, seen.taken, seen.closed) == (0, 0, 1)


async def test_a_window_of_a_user_erased_meanwhile_is_told_as_erased(stores: Stores) -> None:
    await stores.count("s1")
    taken = await _take(stores, stores.window)
    user_hash = stores.shard.user_hash(stores.window.user_id)
    await stores.client.zadd(stores.shard.keys.erased, {user_hash: stores.window.start_ms})
    verdicts = await stores.windows.finish({stores.window: 1}, taken)
    assert verdicts == {stores.window: "erased"}


async def test_windows_given_back_are_due_again(stores: Stores) -> None:
    await stores.count("s1")
    taken = await stores.windows.take_due(10, MINUTE_MS)
    assert taken is not None
    assert await stores.windows.give_back(taken) == 1
    assert await stores.windows.give_back(taken) == 0
    await _take(stores, stores.window)


async def test_a_window_is_forgotten_past_its_horizon_and_stays_forgotten(stores: Stores) -> None:
    await stores.count("s1")
    taken = await _take(stores, stores.window)
    await stores.windows.finish({stores.window: 1}, taken)
    assert await stores.windows.forgettable(10) == []  # its horizon is a day

    elapsed = WindowStore(stores.shard, Windowing(horizon_ms=0))
    await elapsed.finish({stores.window: 1}, taken)
    assert await elapsed.forgettable(10) == [stores.window]
    assert await elapsed.forget({stores.window: 1}, taken.now_ms) == {stores.window: "forgotten"}
    assert await elapsed.fetch([stores.window]) == [{}]
    await stores.add("s2")
    assert (await stores.commit_new()).duplicates == 1
    assert (await stores.survey()).mark_ms == WINDOWING.end_of(stores.window.start_ms)


async def test_a_window_with_more_segments_than_are_stored_is_not_forgotten(stores: Stores) -> None:
    await stores.count("s1", "s2")
    taken = await _take(stores, stores.window)
    elapsed = WindowStore(stores.shard, Windowing(horizon_ms=0))
    await elapsed.finish({stores.window: 2}, taken)
    assert await elapsed.forget({stores.window: 1}, taken.now_ms) == {stores.window: "open"}
    assert await stores.windows.sizes([stores.window]) == [2]


async def test_one_pod_takes_a_turn_that_all_might_take(stores: Stores) -> None:
    assert [await stores.windows.take_turn("sweep", MINUTE_MS) for _ in range(2)] == [True, False]
    assert await stores.windows.take_turn("another task", MINUTE_MS)


# Survey


async def test_a_survey_tells_how_far_behind_the_shard_is(stores: Stores) -> None:
    now_ms = await stores.windows.now_ms()
    await stores.client.xadd(stores.shard.keys.stream, {"data": "{"}, id=f"{now_ms - MINUTE_MS}-0")
    await stores.add(*"abc")
    seen = await stores.survey()
    assert MINUTE_MS <= seen.lag_ms <= await stores.windows.now_ms() - now_ms + MINUTE_MS
    assert (seen.lag_entries, seen.undelivered, seen.length, seen.oldest_pending_ms) == (4, 4, 4, None)
    await stores.entries.read_new(1, 0)
    seen = await stores.survey()
    assert (seen.lag_entries, seen.pending, seen.oldest_pending_ms, seen.consumers) == (3, 1, now_ms - MINUTE_MS, 1)


async def test_beyond_the_bound_the_lag_is_what_the_ledger_leaves_over(stores: Stores) -> None:
    await stores.count("s1", "s2")
    await stores.add(*(f"t{number}" for number in range(50)))
    seen = await survey(stores.shard, most_undelivered=49)
    assert seen is not None
    assert (seen.undelivered, seen.lag_entries, seen.ledger.imbalance()) == (None, 50, None)


async def test_an_undelivered_entry_that_a_stranger_deleted_unbalances_the_ledger(stores: Stores) -> None:
    first, _ = await stores.add("s1", "s2")
    assert (await stores.survey()).ledger.imbalance() == 0
    await stores.client.xdel(stores.shard.keys.stream, first)
    assert (await stores.survey()).ledger.imbalance() == 1


# The shard


async def test_pods_with_the_same_settings_agree_on_the_layout(stores: Stores) -> None:
    for _ in range(2):
        await stores.shard.agree_on_layout(shards=1, window_ms=HOUR_MS)


async def test_a_pod_with_other_settings_is_told_which_and_what_to_do(stores: Stores) -> None:
    await stores.shard.agree_on_layout(shards=1, window_ms=HOUR_MS)
    with pytest.raises(LayoutMismatch) as caught:
        await stores.shard.agree_on_layout(shards=2, window_ms=5000)
    message = str(caught.value)
    assert "shards is 1 there and 2 here" in message
    assert "window_ms is 3600000 there and 5000 here" in message
    assert "format_version" not in message
    assert "SHARDS and WINDOW_SECONDS" in message


async def test_a_server_that_lost_its_scripts_is_told_them_again(stores: Stores) -> None:
    await stores.client.script_flush()
    await stores.count("s1")


async def test_the_servers_under_test_are_supported(stores: Stores) -> None:
    assert (await require_supported(stores.client)).split()[0] in {"valkey", "redis"}
