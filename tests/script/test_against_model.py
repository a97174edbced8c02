"""Consumers, flushers and a janitor in any order, against a model in which a window is a Python set.

The stores run on a real server; the model is what they promise. Replies get lost, batches are committed twice or by
two consumers, flushers finish late, twice or never, a stranger deletes entries, the group vanishes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from streamproc.core.commits import Planner
from streamproc.core.windows import Windowing, WindowKey
from streamproc.embedded import EmbeddedServer
from streamproc.stores.redis.commits import CommitStore, Outcome
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.entries import Batch, EntryStream
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import survey
from streamproc.stores.redis.windows import Taken, WindowStore

T = TypeVar("T")

#: Entries are added now, their windows were hours ago: each is late, and due as soon as everything before it is
#: committed.
WINDOWING = Windowing(quiet_ms=0)
#: To the janitor every closed window is past its horizon, so the mark overtakes entries that are still to come.
ELAPSED = replace(WINDOWING, horizon_ms=0)
HOUR_MS = WINDOWING.length_ms
ERASED_USER = "erased-user"
#: The windows, by hours before now; the erasure covers the older two.
HOURS_AGO = (5, 4, 3)
ERASED_UP_TO_HOURS_AGO = 4

consumers = st.sampled_from(["alice", "bob", "carol"])
segments = st.sampled_from(["s1", "s2", "s3", "s4", "s5", "s6"])
users = st.sampled_from(["dana", "dana", ERASED_USER])
picks = st.integers(0, 1000)


class Flight(NamedTuple):
    """A flush under way: what was taken, and how many segments of each window the flusher saw."""

    taken: Taken
    revisions: dict[WindowKey, int]


class ShardAgainstModel(RuleBasedStateMachine):
    def __init__(self, url: str) -> None:
        super().__init__()
        with redis.Redis.from_url(url) as admin:
            admin.flushall()
        self.loop = asyncio.new_event_loop()
        self.client: Any = connect(url)
        self.shard = Shard(self.client, erasure_key="a key for tests")
        self.streams = {name: EntryStream(self.shard, self.client, name) for name in ("alice", "bob", "carol")}
        self.commits = CommitStore(self.shard, WINDOWING)
        self.windows = WindowStore(self.shard, ELAPSED)
        self.planner = Planner(WINDOWING)
        now_ms = self.run(self.windows.now_ms())
        self.starts = [WINDOWING.start_of(now_ms - hours * HOUR_MS) for hours in HOURS_AGO]
        self.erased_up_to_ms = WINDOWING.start_of(now_ms - ERASED_UP_TO_HOURS_AGO * HOUR_MS)
        # The model.
        self.counted: dict[WindowKey, set[str]] = defaultdict(set)
        self.stored: Counter[WindowKey] = Counter()  # what MongoDB holds: the highest revision
        self.mark_ms = -1
        self.outcomes: Counter[str] = Counter()  # of this epoch
        self.disappeared = 0  # in this epoch, before they were delivered
        # What is on its way.
        self.hands: list[Batch] = []
        self.flights: list[Flight] = []
        self.payloads: list[bytes] = []
        self.run(self.streams["alice"].ensure_group())
        self.run(self.client.zadd(self.shard.keys.erased, {self.shard.user_hash(ERASED_USER): self.erased_up_to_ms}))

    def run(self, work: Awaitable[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.client.aclose())
        self.loop.close()

    # Producers, and a stranger

    @rule(segment=segments, user=users, window=st.integers(0, len(HOURS_AGO) - 1))
    def add(self, segment: str, user: str, window: int) -> None:
        event = {
            "segment_id": segment,
            "channel_id": "kan-11",
            "session_id": "session-7",
            "user_id": user,
            "received_at": datetime.fromtimestamp(self.starts[window] / 1000, UTC).isoformat(),
            "extraction_ms": 1,
            "dubbing_ms": 2,
            "reinsertion_ms": 3,
            "source_language": "he",
            "target_language": "en",
        }
        self._xadd(orjson.dumps(event))

    @rule()
    def add_what_is_no_event(self) -> None:
        self._xadd(b"{")

    @rule(pick=picks)
    @precondition(lambda self: self.payloads)
    def repeat_an_add(self, pick: int) -> None:
        self._xadd(self.payloads[pick % len(self.payloads)])

    @rule(pick=picks)
    @precondition(lambda self: self.hands)
    def a_stranger_deletes_an_entry_that_was_read(self, pick: int) -> None:
        entries = self.hands[pick % len(self.hands)].entries
        entry_id = entries[pick % len(entries)][0]
        stream = self.shard.keys.stream
        (group,) = self.run(self.client.xinfo_groups(stream))
        deleted = self.run(self.client.xdel(stream, entry_id))
        if _order(entry_id) > _order(group["last-delivered-id"]):
            # The group was made anew, and has not come to this entry: it leaves no trace but in the sum.
            self.disappeared += deleted

    @rule()
    def the_group_vanishes_and_is_made_anew(self) -> None:
        self.run(self.client.xgroup_destroy(self.shard.keys.stream, self.shard.group))
        assert self.run(self.streams["alice"].ensure_group()) == "group missing"
        self.outcomes.clear()
        self.disappeared = 0

    # Consumers

    @rule(consumer=consumers, count=st.integers(1, 8))
    def read_new(self, consumer: str, count: int) -> None:
        self._hold(self.run(self.streams[consumer].read_new(count, 0)))

    @rule(consumer=consumers)
    def read_own(self, consumer: str) -> None:
        self._hold(self.run(self.streams[consumer].read_own(5)))

    @rule(consumer=consumers)
    def claim(self, consumer: str) -> None:
        batch = self.run(self.streams[consumer].claim(0, 5))
        self.outcomes["lost"] += batch.lost
        self._hold(batch)

    @rule(pick=picks)
    @precondition(lambda self: self.hands)
    def commit(self, pick: int) -> None:
        self._commit(self.hands.pop(pick % len(self.hands)))

    @rule(pick=picks)
    @precondition(lambda self: self.hands)
    def commit_twice(self, pick: int) -> None:
        batch = self.hands.pop(pick % len(self.hands))
        self._commit(batch)
        assert self._commit(batch) == Outcome()

    @rule(pick=picks)
    @precondition(lambda self: self.hands)
    def commit_and_lose_the_reply(self, pick: int) -> None:
        """Whoever holds the batch will commit it again, whenever that may be."""
        self._commit(self.hands[pick % len(self.hands)])

    @rule(pick=picks)
    @precondition(lambda self: self.hands)
    def die_with_a_batch(self, pick: int) -> None:
        self.hands.pop(pick % len(self.hands))

    # Flushers and the janitor

    @rule(limit=st.integers(1, 6), visibility_ms=st.sampled_from([0, 60_000]))
    def take(self, limit: int, visibility_ms: int) -> None:
        taken = self.run(self.windows.take_due(limit, visibility_ms))
        assert taken is not None
        assert len(taken.keys) == len(set(taken.keys)) <= limit
        if taken.keys:
            self.flights.append(Flight(taken, self._revisions(taken.keys)))

    @rule(pick=picks)
    @precondition(lambda self: self.flights)
    def finish(self, pick: int) -> None:
        self._finish(self.flights.pop(pick % len(self.flights)))

    @rule(pick=picks)
    @precondition(lambda self: self.flights)
    def finish_and_lose_the_reply(self, pick: int) -> None:
        self._finish(self.flights[pick % len(self.flights)])

    @rule(pick=picks)
    @precondition(lambda self: self.flights)
    def give_back(self, pick: int) -> None:
        flight = self.flights.pop(pick % len(self.flights))
        self.run(self.windows.give_back(flight.taken))

    @rule(pick=picks)
    @precondition(lambda self: self.flights)
    def die_with_a_flush(self, pick: int) -> None:
        """Its windows come back when their time is up."""
        flight = self.flights.pop(pick % len(self.flights))
        names = [WINDOWING.name(window) for window in flight.taken.keys]
        self.run(self.client.zadd(self.shard.keys.taken, dict.fromkeys(names, 1), xx=True))

    @rule(limit=st.integers(1, 3))
    def forget(self, limit: int) -> None:
        windows = self.run(self.windows.forgettable(limit))
        if not windows:
            return
        before = {window: len(self.counted[window]) for window in windows}
        now_ms = self.run(self.windows.now_ms())
        verdicts = self.run(self.windows.forget({window: self.stored[window] for window in windows}, now_ms))
        for window, verdict in verdicts.items():
            assert verdict in {"forgotten", "busy"}, "nothing closed has more segments than are stored"
            if verdict == "forgotten":
                assert before[window] <= self.stored[window]
                self.counted[window].clear()
                self.mark_ms = max(self.mark_ms, WINDOWING.end_of(window.start_ms))

    # What always holds

    @invariant()
    def every_window_is_the_set_of_its_segments(self) -> None:
        fetched = self.run(self.windows.fetch(list(self.counted)))
        assert {window: set(found) for window, found in zip(self.counted, fetched, strict=True)} == self.counted

    @invariant()
    def what_is_not_stored_is_to_be_flushed(self) -> None:
        open_, taken, closed = (self._names(key) for key in ("open", "taken", "closed"))
        for window, members in self.counted.items():
            name = WINDOWING.name(window).encode()
            if len(members) > self.stored[window]:
                assert name in open_ | taken
                assert name not in closed

    @invariant()
    def the_indexes_name_the_windows_that_there_are(self) -> None:
        for window, members in self.counted.items():
            name = WINDOWING.name(window)
            keys = self.shard.keys.window(name)
            in_channel = self.run(self.client.sismember(keys.channel, name))
            in_user = self.run(self.client.zscore(keys.user, name))
            assert (bool(in_channel), in_user) == (bool(members), window.start_ms if members else None)

    @invariant()
    def the_ledger_balances_and_counts_every_outcome_once(self) -> None:
        seen = self.run(survey(self.shard))
        assert seen is not None
        assert seen.ledger.imbalance() == self.disappeared
        assert seen.mark_ms == (None if self.mark_ms < 0 else self.mark_ms)
        terms = ("counted", "duplicates", "dead_lettered", "erased", "forwarded", "lost")
        assert {term: getattr(seen.ledger, term) for term in terms} == {term: self.outcomes[term] for term in terms}

    # How

    def _xadd(self, payload: bytes) -> None:
        self.payloads.append(payload)
        self.run(self.client.xadd(self.shard.keys.stream, {"data": payload}))

    def _hold(self, batch: Batch) -> None:
        if batch.entries:
            self.hands.append(batch)

    def _commit(self, batch: Batch) -> Outcome:
        """Commit, and have the model do the same."""
        plan = self.planner.plan(batch.entries, batch.now_ms)
        expected: list[tuple[int, int]] = []
        for window in plan.windows:
            counted = 0
            for segment in window.entries[1::3]:
                if self._takes(window.key) and segment not in self.counted[window.key]:
                    self.counted[window.key].add(segment)
                    counted += 1
            if counted:
                expected.append((window.key.start_ms, counted))
        outcome = self.run(self.commits.commit(plan))
        assert [(start_ms, len(details)) for start_ms, _, details in outcome.counted_details] == expected
        for term in ("counted", "duplicates", "erased", "forwarded", "lost"):
            self.outcomes[term] += getattr(outcome, term)
        self.outcomes["dead_lettered"] += len(outcome.dead)
        return outcome

    def _takes(self, window: WindowKey) -> bool:
        is_erased = window.user_id == ERASED_USER and window.start_ms <= self.erased_up_to_ms
        return not is_erased and window.start_ms >= self.mark_ms

    def _finish(self, flight: Flight) -> None:
        """Store what was seen, unless more is stored already, and let go."""
        for window, revision in flight.revisions.items():
            self.stored[window] = max(self.stored[window], revision)
        verdicts = self.run(self.windows.finish(flight.revisions, flight.taken.now_ms))
        for window, verdict in verdicts.items():
            there_are = len(self.counted[window])
            seen = flight.revisions[window]
            assert verdict == ("gone" if not there_are else "closed" if there_are == seen else "open")

    def _revisions(self, windows: list[WindowKey]) -> dict[WindowKey, int]:
        return dict(zip(windows, self.run(self.windows.sizes(windows)), strict=True))

    def _names(self, key: str) -> set[bytes]:
        return set(self.run(self.client.zrange(getattr(self.shard.keys, key), 0, -1)))


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)


def test_whatever_the_order_of_steps_the_shard_does_what_the_model_does(valkey: EmbeddedServer) -> None:
    run_state_machine_as_test(
        partial(ShardAgainstModel, valkey.url),  # type: ignore[arg-type]  # any factory will do
        settings=settings(max_examples=60, stateful_step_count=30, deadline=None),
    )
