"""Every store call of every operation fails at its 1st, 2nd, ... nth use, in every way, one at a time, until a run is
clean; and each of these ends exact.

Roles and scripts are real, on a real private Valkey; the measurements are the simulation's (tests/simulation).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, NamedTuple

import pytest
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError
from simulation.faults import Act, Call, Fate, run
from simulation.redis_under_faults import SERVER_ARGUMENTS, Server
from simulation.stage import Stage
from simulation.world import WINDOWING, Policies

from streamproc.core.commits import shard_of
from streamproc.embedded import start_valkey
from streamproc.roles.consumer import ConsumePolicy, Consumer
from streamproc.stores.redis.keys import ShardKeys

Run = Callable[[], Coroutine[Any, Any, Any]]

#: After it, the window of the stage is due; and may be forgotten.
_DUE_MS: Final = WINDOWING.due_at(0, 0) + 1
_FORGETTABLE_MS: Final = WINDOWING.forgettable_at(0) + 1
_MOST_CALLS: Final = 50


class Operation(NamedTuple):
    """Something a role does, as it is set up on a stage, and the store calls that it comes to."""

    name: str
    set_up: Callable[[Stage], Run]
    calls: str


# Consuming


def _retrying(consumer: Consumer) -> Run:
    """As the worker does it: after trouble, its own pending entries are read again."""

    async def consume() -> None:
        try:
            await consumer.run_once()
        except RedisError:
            consumer.doubt()
            raise

    return consume


def commit(stage: Stage) -> Run:
    stage.publish("a", "b", "a")
    stage.publish("c", session="s-2")
    return _retrying(stage.world.consumer("consumer"))


def commit_late(stage: Stage) -> Run:
    _store(stage, "a", "b")
    stage.publish("c")
    return _retrying(stage.world.consumer("consumer"))


def commit_dead_letters(stage: Stage) -> Run:
    stage.at(2 * _FORGETTABLE_MS)
    stage.publish("too late")
    stage.publish("future", at_ms=3 * _FORGETTABLE_MS)
    stage.publish("malformed", session="", at_ms=2 * _FORGETTABLE_MS)
    return _retrying(stage.world.consumer("consumer"))


def read_own_again(stage: Stage) -> Run:
    consumer = stage.world.consumer("consumer")
    stage.publish("a", "b", "c", "d", "e", "f")
    run(consumer.next_batch())
    consumer.doubt()
    return _retrying(consumer)


def claim(stage: Stage) -> Run:
    stage.publish("a", "b")
    stage.consuming("dead").until("commit").dies()
    return _retrying(stage.world.consumer("consumer"))


def make_group(stage: Stage) -> Run:
    stage.count("a")
    stage.publish("b")
    stage.world.destroy_group()
    return stage.world.stream("consumer").ensure_group


# Flushing and keeping house


def _store(stage: Stage, *segments: str) -> None:
    stage.count(*segments)
    stage.at(_DUE_MS)
    stage.flush()


def flush(stage: Stage) -> Run:
    stage.count("a", "b")
    stage.count("c", session="s-2")
    stage.at(_DUE_MS)
    return stage.world.flusher().run_once


def flush_again(stage: Stage) -> Run:
    _store(stage, "a", "b")
    stage.count("c")
    stage.at(_DUE_MS + 2_000)
    return stage.world.flusher().run_once


def flush_after_a_rollback(stage: Stage) -> Run:
    stage.count("a")
    replica = stage.world.replica()
    _store(stage, "b")
    stage.world.fail_over(replica)
    stage.count("c")
    return stage.world.flusher().run_once


def keep_house(stage: Stage) -> Run:
    """Trim, retire, forget, sweep: there is something of each."""
    _store(stage, "a", "b", "c")
    _leave_behind(stage)
    stage.at(_FORGETTABLE_MS)
    stage.publish("d", session="s-3", at_ms=_FORGETTABLE_MS)
    stage.consuming("reader").until("commit").dies()
    return stage.world.janitor().run_once


def _leave_behind(stage: Stage) -> None:
    """A superseded measurement, by a flusher that slept too long."""
    stage.count("e", session="s-2")
    stage.at(_DUE_MS + 2_000)
    sleeper = stage.flushing().until("insert")
    stage.at(_DUE_MS + 6_000)
    stage.count("f", session="s-2")
    stage.at(_DUE_MS + 8_000)
    stage.flush()
    sleeper.after("insert").dies()


OPERATIONS: Final = [
    Operation("commit", commit, "claim, read new, commit"),
    Operation("commit a late segment", commit_late, "claim, read new, commit"),
    Operation("commit dead letters", commit_dead_letters, "claim, read new, commit"),
    Operation("read own pending entries again", read_own_again, "read own, commit"),
    Operation("claim", claim, "claim, commit"),
    Operation("make a missing group", make_group, "ensure_group"),
    Operation("flush", flush, "take_due, look up, HGETALL, HGETALL, insert, finish"),
    Operation("flush again", flush_again, "take_due, look up, HGETALL, insert, delete, finish"),
    Operation("flush after a rollback", flush_after_a_rollback, "take_due, look up, HGETALL, insert, delete, finish"),
    Operation(
        "keep house",
        keep_house,
        "trim, retire, forgettable, look up, now, forget, forgettable, SET, now, look for superseded, delete",
    ),
]


# Every way to fail


class Dies(BaseException):
    """The process is gone: no handler runs."""


class Failure(NamedTuple):
    """What happens at a call; and to it, where it arrives later, by when."""

    name: str
    fate: Fate
    dies: bool = False
    arrives_when_all_is_over: bool = False


FAILURES: Final = [
    Failure("the process dies before it", Fate.NEVER_ARRIVES, dies=True),
    Failure("the process dies after it", Fate.REPLY_LOST, dies=True),
    Failure("it never arrives", Fate.NEVER_ARRIVES),
    Failure("its reply is lost", Fate.REPLY_LOST),
    Failure("it arrives after its repetition", Fate.ARRIVES_LATER),
    Failure("it arrives when all is over", Fate.ARRIVES_LATER, arrives_when_all_is_over=True),
]


class Failing:
    """Decides that the nth call fails."""

    def __init__(self, failure: Failure, nth: int) -> None:
        self._failure = failure
        self._left = nth
        self.calls: list[str] = []
        self.late: Call | None = None

    def __call__(self, call: Call) -> Fate:
        self.calls.append(call.name)
        self._left -= 1
        if self._left:
            return Fate.ARRIVES
        if self._failure.dies:
            if self._failure.fate is Fate.REPLY_LOST:
                call.take_effect()
            raise Dies
        if self._failure.fate is Fate.ARRIVES_LATER:
            self.late = call
        return self._failure.fate

    @property
    def has_failed(self) -> bool:
        return self._left <= 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start_valkey(extra_args=SERVER_ARGUMENTS) as valkey:
        simulated = Server(valkey.port)
        yield simulated
        simulated.close()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_that_fails_at_any_call_ends_exact(server: Server, operation: Operation, failure: Failure) -> None:
    for nth in itertools.count(1):
        stage = Stage(server)
        failing = Failing(failure, nth)
        _run(operation.set_up(stage), failing)
        at = f"{failing.calls[-1]}, call {nth}: {failure.name}"
        assert _settle(stage, failing, failure) == [], at
        if not failing.has_failed:
            assert ", ".join(failing.calls) == operation.calls
            return
        assert nth < _MOST_CALLS, f"{operation.name} never ends"


def _run(operate: Run, failing: Failing) -> None:
    """Run until it fails. Who is still alive thereafter does it again."""
    try:
        run(operate(), failing)
    except Dies:
        return
    except (RedisError, PyMongoError):
        run(operate())


def _settle(stage: Stage, failing: Failing, failure: Failure) -> list[str]:
    found = []
    if failure.arrives_when_all_is_over:
        found = stage.settle()
    if failing.late is not None:
        failing.late.take_effect()
    return found + stage.settle()


# What kills its consumer, and what belongs to another shard


_SUSPICIOUS: Final = Policies(consume=ConsumePolicy(4, 0, claim_idle_ms=0, poison_deliveries=2))


def _often_delivered(stage: Stage) -> Run:
    stage.publish("a")
    stage.consuming("dead").until("commit").dies()
    return _retrying(stage.world.consumer("consumer"))


def _often_delivered_and_once_tried(stage: Stage) -> Run:
    """Another began to try it alone, and died."""
    retry = _often_delivered(stage)
    stage.consuming("dead too").until("commit").dies()
    return retry


_CONDEMNED: Final = {
    "the process dies before it": ["commit: the process dies before it"],
    "the process dies after it": ["suspect: the process dies after it"],
}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
@pytest.mark.parametrize(
    ("set_up", "condemned"),
    [(_often_delivered, {}), (_often_delivered_and_once_tried, _CONDEMNED)],
    ids=["new", "tried"],
)
def test_an_entry_that_is_tried_alone_is_condemned_only_where_it_seems_to_have_killed_two(
    server: Server, set_up: Callable[[Stage], Run], condemned: dict[str, list[str]], failure: Failure
) -> None:
    found_dead = []
    for nth in itertools.count(1):
        stage = Stage(server, policies=_SUSPICIOUS)
        failing = Failing(failure, nth)
        _run(set_up(stage), failing)
        found = _settle(stage, failing, failure)
        dead = stage.world.server.call("XRANGE", stage.world.keys.dead, "-", "+")
        if dead:
            found_dead.append(f"{failing.calls[-1]}: {failure.name}")
            assert [dict(zip(fields[::2], fields[1::2], strict=True))[b"reason"] for _, fields in dead] == [b"poison"]
            assert not any("imbalance" in one or "pending" in one for one in found), found
        else:
            assert found == []
        if not failing.has_failed:
            assert failing.calls == ["claim", "suspect", "commit", "commit"]
            break
    assert found_dead == condemned.get(failure.name, [])


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_an_entry_of_another_shard_gets_there_at_least_once(server: Server, failure: Failure) -> None:
    there = ShardKeys("dubbing", 1).stream
    session = next(f"s-{number}" for number in itertools.count() if shard_of(f"s-{number}", 2) == 1)
    for nth in itertools.count(1):
        stage = Stage(server, shards=2)
        stage.publish("a", session=session)
        entry = stage.world.server.call("XRANGE", stage.world.keys.stream, "-", "+")[0][1]
        stage.world.truth.entries.clear()  # it is not for this shard to store
        failing = Failing(failure, nth)
        _run(_retrying(stage.world.consumer("consumer")), failing)
        assert _settle(stage, failing, failure) == [], f"{failing.calls[-1]}, call {nth}"
        assert {tuple(fields) for _, fields in stage.world.server.call("XRANGE", there, "-", "+")} == {tuple(entry)}
        if not failing.has_failed:
            assert failing.calls == ["claim", "read new", "XADD", "commit"]
            return


def test_a_zombie_commits_long_after_everything_was_forgotten(server: Server) -> None:
    stage = Stage(server)
    stage.publish("a", "b")
    zombie: Act = stage.consuming("zombie").until("commit")
    assert stage.settle() == []
    zombie.ends()
    assert stage.settle() == []
