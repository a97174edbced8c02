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
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from streamproc.core.commits import Planner
from streamproc.core.windows import Windowing, WindowKey
from streamproc.embedded import EmbeddedServer
from streamproc.stores.redis.commits import CommitStore, Outcome
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.entries import Batch, EntryStream
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey
from streamproc.stores.redis.windows import Taken, WindowStore

T = TypeVar("T")

#: Entries are added now, their windows were hours ago: each is late, and due as soon as everything before it is
#: committed.
WINDOWING = Windowing(quiet_ms=0)
#: To the janitor every closed window is past its horizon, so the mark overtakes entries that are still to come.
ELAPSED = replace(WINDOWING, horizon_ms=0)
HOUR_MS = WINDOWING.length_ms
ERASED_USER = "erased-user"
#: More windows than there are: which ones a smaller limit takes would depend on the millisecond.
MOST = 100
#: The windows, by hours before now; the erasure covers the older two.
HOURS_AGO = (5, 4, 3)
ERASED_UP_TO_HOURS_AGO = 4

consumers = st.sampled_from(["alice", "bob", "carol"])
events = st.tuples(
    st.sampled_from(["s1", "s2", "s3", "s4", "s5", "s6"]),
    st.sampled_from(["dana", "dana", ERASED_USER]),
    st.integers(0, len(HOURS_AGO) - 1),
)
picks = st.integers(0, 1000)


class Flight(NamedTuple):
    """A flush under way: what was taken, and how many segments of each window the flusher saw."""

    taken: Taken
    revisions: dict[WindowKey, int]


class ShardAgainstModel(RuleBasedStateMachine):
    """A rule that finds nothing to do does nothing, instead of having a precondition: what a shard holds depends on
    Redis' clock too, and what is drawn must not, or a failure could not be repeated.
    """

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
        self.run(self.streams["alice"].ensure_group())
        self.seen = self._survey()
        self.run(self.client.zadd(self.shard.keys.erased, {self.shard.user_hash(ERASED_USER): self.erased_up_to_ms}))

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.client.aclose())
        self.loop.close()

    # Producers, and a stranger

    @rule(added=st.lists(events | st.none(), min_size=1, max_size=6))
    def add(self, added: list[tuple[str, str, int] | None]) -> None:
        """Few different events: most come more than once. None is what is no event."""
        if (self.seen.undelivered or 0) >= 10:
            return
        for event in added:
            self.run(self.client.xadd(self.shard.keys.stream, {"data": self._payload(*event) if event else b"{"}))

    @rule(pick=picks)
    def a_stranger_deletes_an_entry_that_was_read(self, pick: int) -> None:
        if not self.hands:
            return
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
        if self.seen.ledger.counted <= 3:
            return
        self.run(self.client.xgroup_destroy(self.shard.keys.stream, self.shard.group))
        assert self.run(self.streams["alice"].ensure_group()) == "group missing"
        self.outcomes.clear()
        self.disappeared = 0

    # Consumers

    @rule(consumer=consumers)
    def consume_all_there_is(self, consumer: str) -> None:
        """The plain course, so that later steps find something to do."""
        if not (self.seen.pending or self.seen.undelivered):
            return
        for read in (self.streams[consumer].read_own, partial(self.streams[consumer].claim, 0)):
            while (batch := self.run(read(100))).entries:
                self.outcomes["lost"] += batch.lost
                self._commit(batch)
            self.outcomes["lost"] += batch.lost
        self._commit(self.run(self.streams[consumer].read_new(100, 0)))

    @rule(consumer=consumers, how=st.sampled_from(["new", "new", "own", "claim"]), count=st.integers(1, 8))
    def read(self, consumer: str, how: str, count: int) -> None:
        if not (self.seen.pending or self.seen.undelivered):
            return
        stream = self.streams[consumer]
        if how == "new":
            batch = self.run(stream.read_new(count, 0))
        elif how == "own":
            batch = self.run(stream.read_own(count))
        else:
            batch = self.run(stream.claim(0, count))
            self.outcomes["lost"] += batch.lost
        if batch.entries:
            self.hands.append(batch)

    @rule(pick=picks, how=st.sampled_from(["once", "twice", "the reply is lost", "the consumer dies"]))
    def end_with_a_batch(self, pick: int, how: str) -> None:
        if not self.hands:
            return
        batch = self.hands.pop(pick % len(self.hands))
        if how == "the consumer dies":
            return
        self._commit(batch)
        if how == "twice":
            assert self._commit(batch) == Outcome()
        elif how == "the reply is lost":
            self.hands.append(batch)  # and will be committed again, whenever that may be

    # Flushers and the janitor

    @rule()
    def flush(self) -> None:
        """The plain course."""
        if not (self.seen.open or self.seen.taken):
            return
        taken = self.run(self.windows.take_due(MOST, 60_000))
        assert taken is not None
        self._finish(Flight(taken, self._revisions(taken.keys)))

    @rule(visibility_ms=st.sampled_from([0, 60_000]))
    def take(self, visibility_ms: int) -> None:
        if not (self.seen.open or self.seen.taken):
            return
        taken = self.run(self.windows.take_due(MOST, visibility_ms))
        assert taken is not None
        assert len(taken.keys) == len(set(taken.keys))
        if taken.keys:
            self.flights.append(Flight(taken, self._revisions(taken.keys)))

    @rule(pick=picks, how=st.sampled_from(["finished", "the reply is lost", "given back", "the flusher dies"]))
    def end_with_a_flush(self, pick: int, how: str) -> None:
        if not self.flights:
            return
        flight = self.flights.pop(pick % len(self.flights))
        if how == "given back":
            self.run(self.windows.give_back(flight.taken))
        elif how == "the flusher dies":
            names = [WINDOWING.name(window) for window in flight.taken.keys]
            self.run(self.client.zadd(self.shard.keys.taken, dict.fromkeys(names, 1), xx=True))  # their time is up
        else:
            self._finish(flight)
        if how == "the reply is lost":
            self.flights.append(flight)

    @rule(limit=st.integers(1, 3))
    def forget(self, limit: int) -> None:
        if not self.seen.closed:
            return
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
        pipeline = self.client.pipeline(transaction=False)
        for key in (self.shard.keys.open, self.shard.keys.taken, self.shard.keys.closed):
            pipeline.zrange(key, 0, -1)
        open_, taken, closed = self.run(pipeline.execute())
        for window, members in self.counted.items():
            name = WINDOWING.name(window).encode()
            if len(members) > self.stored[window]:
                assert name in open_ + taken
                assert name not in closed

    @invariant()
    def the_indexes_name_the_windows_that_there_are(self) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for window in self.counted:
            name = WINDOWING.name(window)
            keys = self.shard.keys.window(name)
            pipeline.sismember(keys.channel, name)
            pipeline.zscore(keys.user, name)
        expected = [
            answer
            for window, members in self.counted.items()
            for answer in (bool(members), window.start_ms if members else None)
        ]
        assert self.run(pipeline.execute()) == expected

    @invariant()
    def the_ledger_balances_and_counts_every_outcome_once(self) -> None:
        self.seen = seen = self._survey()
        assert seen.ledger.imbalance() == self.disappeared
        assert seen.mark_ms == (None if self.mark_ms < 0 else self.mark_ms)
        terms = ("counted", "duplicates", "dead_lettered", "erased", "forwarded", "lost")
        assert {term: getattr(seen.ledger, term) for term in terms} == {term: self.outcomes[term] for term in terms}

    # How

    def _survey(self) -> Survey:
        seen = self.run(survey(self.shard))
        assert seen is not None
        return seen

    def _payload(self, segment: str, user: str, window: int) -> bytes:
        return orjson.dumps(
            {
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
        )

    def _commit(self, batch: Batch) -> Outcome:
        """Commit, and have the model do the same."""
        plan = self.planner.plan(batch.entries, batch.now_ms)
        expected: Counter[tuple[int, str]] = Counter()
        for window in plan.windows:
            for segment in window.segment_ids:
                if self._takes(window.key) and segment not in self.counted[window.key]:
                    self.counted[window.key].add(segment)
                    expected[window.key.start_ms, window.key.channel_id] += 1
        outcome = self.run(self.commits.commit(plan))
        counted = {(start_ms, channel_id): len(details) for start_ms, channel_id, details in outcome.counted_details}
        assert counted == expected
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
        until_ms = [self.run(self._taken_until_ms(window)) for window in flight.revisions]
        verdicts = self.run(self.windows.finish(flight.revisions, flight.taken))
        for (window, verdict), taken_until_ms in zip(verdicts.items(), until_ms, strict=True):
            there_are = len(self.counted[window])
            seen = flight.revisions[window]
            if taken_until_ms not in {None, flight.taken.until_ms}:
                assert verdict == "taken"
            else:
                assert verdict == ("gone" if not there_are else "closed" if there_are == seen else "open")

    async def _taken_until_ms(self, window: WindowKey) -> float | None:
        until_ms: float | None = await self.client.zscore(self.shard.keys.taken, WINDOWING.name(window))
        return until_ms

    def _revisions(self, windows: list[WindowKey]) -> dict[WindowKey, int]:
        return dict(zip(windows, self.run(self.windows.sizes(windows)), strict=True))


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)


def test_whatever_the_order_of_steps_the_shard_does_what_the_model_does(valkey: EmbeddedServer) -> None:
    run_state_machine_as_test(
        partial(ShardAgainstModel, valkey.url),  # type: ignore[arg-type]  # any factory will do
        settings=settings(max_examples=80, stateful_step_count=40, deadline=None),
    )
