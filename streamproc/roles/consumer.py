"""The consumer: reads batches of entries, plans what becomes of them, commits.

One batch goes through three steps, which `run_once` takes in turn and the worker overlaps (it plans one batch while
Redis carries out the commit of the last and reads the next):

    next_batch   entries: this consumer's own pending ones after any doubt, else those left behind by others when a
                 look is due, else new ones
    plan         pure work: decode, judge, group
    commit       one script: count, refuse, acknowledge

Nothing is kept of a batch whose commit failed. Its entries are still pending in Redis; `doubt` makes the consumer read
them again. A commit that did take effect before its reply was lost is thereby repeated, and changes nothing.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamproc.core import commits
from streamproc.core.appetite import Appetite
from streamproc.core.commits import DeadLetter, Entry, Plan, Planner
from streamproc.core.live import LiveWindows
from streamproc.core.windows import Windowing
from streamproc.metrics import Metrics
from streamproc.stores.redis.commits import CommitStore, Outcome
from streamproc.stores.redis.entries import Batch, EntryStream

logger = logging.getLogger(__name__)

# Once is no proof: just then a pod may be stopped, or cut off from Redis for long, for a reason of its own.
_FATAL_TRIALS: Final = 2


@dataclass(frozen=True, slots=True)
class ConsumePolicy:
    """How much a consumer reads at once, and when it takes over what others left behind.

    Twice as much as one script takes: of more entries more fall into the same window, and each script has fewer.
    """

    max_events: int = 2000
    block_ms: int = 500
    claim_idle_ms: int = 60_000
    poison_deliveries: int = 5


class Consumer:
    """Consumes one shard."""

    def __init__(
        self,
        stream: EntryStream,
        commits_: CommitStore,
        windowing: Windowing,
        live: LiveWindows,
        metrics: Metrics,
        policy: ConsumePolicy,
        *,
        shard: int = 0,
        shards: int = 1,
    ) -> None:
        self._stream = stream
        self._commits = commits_
        self._windowing = windowing
        self._planner = Planner(windowing, shard=shard, shards=shards)
        self._live = live
        self._metrics = metrics
        self._policy = policy
        self._appetite = Appetite(policy.max_events)
        self._in_doubt = False
        self._doubted_again = False
        self._claim_due = True

    async def run_once(self) -> int:
        """Read, plan and commit one batch. Returns the number of its entries."""
        batch = await self.next_batch()
        plan = await self.plan(batch)
        await self.commit(plan)
        return len(batch.entries)

    @property
    def appetite(self) -> int:
        """How many entries the next batch asks for."""
        return self._appetite.entries

    @property
    def in_doubt(self) -> bool:
        """Whether own pending entries are still to be read again."""
        return self._in_doubt

    def doubt(self) -> None:
        """Something failed on the way: delivered entries may be in nobody's hands. Read own pending ones next."""
        # In the middle of reading them, the doubt may be about those already read: they are read once more.
        self._doubted_again = self._in_doubt
        self._in_doubt = True

    def look_for_abandoned(self) -> None:
        """Have the next reads take over what others left pending, until nothing is found."""
        self._claim_due = True

    async def next_batch(self) -> Batch:
        """The next entries to process; empty where there are none within the policy's block time.

        Raises:
            redis.exceptions.RedisError: entries may have been delivered all the same; call `doubt`.
        """
        batch = await self._next_batch(self._appetite.entries)
        size_bytes = sum([len(fields[-1]) for _, fields in batch.entries if fields])
        self._appetite.fed(len(batch.entries), size_bytes)
        return batch

    async def _next_batch(self, count: int) -> Batch:
        policy = self._policy
        while self._in_doubt:
            batch = await self._stream.read_own(count)
            if batch.entries:
                return batch
            self._in_doubt, self._doubted_again = self._doubted_again, False
        if self._claim_due:
            batch = await self._stream.claim(policy.claim_idle_ms, count)
            self._metrics.entries_lost.inc(batch.lost)
            self._metrics.events.labels("lost").inc(batch.lost)
            if batch.entries:
                logger.info("took over %d entries that another consumer left pending", len(batch.entries))
                return batch
            # A call looks at a part of the pending list; the round is over when the cursor is back at the start.
            self._claim_due = not self._stream.claim_round_over
        return await self._stream.read_new(count, policy.block_ms)

    async def plan(self, batch: Batch) -> Plan:
        """Decide what is to become of a batch. Entries that may have killed a consumer are tried alone first."""
        healthy: list[Entry] = batch.entries
        letters: list[DeadLetter] = []
        if any(count >= self._policy.poison_deliveries for count in batch.deliveries):
            healthy, letters = await self._try_alone(batch)
        try:
            plan = self._planner.plan(healthy, batch.now_ms)
        except Exception as error:
            # An entry that our own code cannot handle must not hold up the others, nor the watermark.
            logger.error(
                "a batch of %d entries cannot be planned: planning them one by one (%s)", *(len(healthy), _place(error))
            )
            plan = self._plan_one_by_one(healthy, batch.now_ms)
        plan.dead += letters
        return plan

    async def commit(self, plan: Plan) -> Outcome:
        """Carry out a plan.

        Raises:
            redis.exceptions.RedisError: it may or may not have taken effect; call `doubt`.
        """
        if plan.misplaced:
            await self._stream.forward(plan.misplaced)
        with self._metrics.commit_seconds.time():
            outcome = await self._commits.commit(plan)
        for start_ms, channel_id, details in outcome.counted_details:
            self._live.add(start_ms, channel_id, details)
        self._metrics.record_commit(outcome, plan.unknown_fields)
        if reasons := outcome.dead_reasons:
            logger.warning(
                "bad input: %d dead letters in one batch, the first %s. See `streamproc dead-letters list`",
                *(len(reasons), reasons[0]),
            )
        return outcome

    async def _try_alone(self, batch: Batch) -> tuple[list[Entry], list[DeadLetter]]:
        """Process often-delivered entries one at a time, marked. Returns the rest, and the ones that are poison."""
        rest, letters = [], []
        for entry, deliveries in zip(batch.entries, batch.deliveries, strict=True):
            if deliveries < self._policy.poison_deliveries or entry[1] is None:
                rest.append(entry)
            elif await self._stream.suspect(entry[0]) >= _FATAL_TRIALS:
                detail = f"delivered {deliveries} times; {_FATAL_TRIALS} consumers died while processing it alone"
                letters.append(commits.poison(entry, detail, self._windowing))
            else:
                await self.commit(self._plan_one_by_one([entry], batch.now_ms))
        return rest, letters

    def _plan_one_by_one(self, entries: list[Entry], now_ms: int) -> Plan:
        """A plan in which an entry that cannot be planned is poison, and no other suffers from it."""
        whole = Plan()
        for entry in entries:
            try:
                plan = self._planner.plan([entry], now_ms)
            except Exception as error:
                logger.error(
                    "entry %s cannot be planned, and becomes a dead letter: a bug, please report it (%s)",
                    *(entry[0].decode(), _place(error)),
                )
                plan = Plan(dead=[commits.poison(entry, f"cannot be processed: {error!r}", self._windowing)])
            whole.windows += plan.windows
            whole.dead += plan.dead
            whole.misplaced += plan.misplaced
            whole.lost += plan.lost
            whole.unknown_fields += plan.unknown_fields
        return whole


def _place(error: Exception) -> str:
    """What happened where in our code; not the error's own words, which may repeat the event."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
