"""The buffer of a publisher: nothing leaves it unconfirmed, order is kept, callers are told what to do."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions

from streamproc.publisher import BufferFull, PublisherMetrics, PublishFailed
from streamproc.publisher.buffer import Buffer
from streamproc.publisher.encoding import CHUNK, Entry
from streamproc.publisher.failures import TooFewReplicas
from streamproc.publisher.transaction import Transactions

AWAY = exceptions.ConnectionError("Connection refused.")
REFUSED = exceptions.NoPermissionError("this user has no permissions to run the 'xadd' command")


class Told(PublisherMetrics):
    def __init__(self) -> None:
        self.totals: defaultdict[str, float] = defaultdict(float)

    def confirmed(self, segments: int) -> None:
        self.totals["confirmed"] += segments

    def repeated(self, segments: int) -> None:
        self.totals["repeated"] += segments

    def waiting(self, segments: int) -> None:
        self.totals["waiting"] = segments

    def waited_s(self, seconds: float) -> None:
        self.totals["waited_s"] += seconds


def entry(number: int, stream: str = "a") -> Entry:
    return Entry(stream, ("data", f'{{"segment_id":"{number}"}}'))


def buffer_of(count: int = 0, *, size: int = 10_000, metrics: PublisherMetrics | None = None) -> Buffer:
    buffer = Buffer(size, address="redis://here", metrics=metrics or PublisherMetrics())
    for number in range(count):
        buffer.put(entry(number))
    return buffer


def attempt(buffer: Buffer, error: Exception | None) -> list[int]:
    """One try of everything. Returns how many segments of each stream were sent."""
    batches = buffer.batches()
    for batch in batches:
        buffer.record(batch, error)
    return [len(batch) for batch in batches]


def test_the_oldest_are_sent_first_and_leave_when_they_are_confirmed() -> None:
    buffer = buffer_of(CHUNK + 2)
    [first] = buffer.batches()
    assert first == [entry(number) for number in range(CHUNK)]
    assert buffer.waiting == CHUNK + 2
    buffer.record(first, None)
    assert buffer.batches() == [[entry(CHUNK), entry(CHUNK + 1)]]


def test_after_a_failed_try_a_single_segment_is_tried_and_after_that_all() -> None:
    buffer = buffer_of(100)
    assert [attempt(buffer, error) for error in (AWAY, AWAY, None, None)] == [[100], [1], [1], [99]]
    assert buffer.waiting == 0


def test_a_stream_in_trouble_holds_up_no_other() -> None:
    buffer = buffer_of(10)
    for number in range(10):
        buffer.put(entry(number, "b"))
    of_a, of_b = buffer.batches()
    buffer.record(of_a, AWAY)
    buffer.record(of_b, None)
    buffer.put(entry(10, "b"))
    assert buffer.batches() == [[entry(0)], [entry(10, "b")]]


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["confirmed", "reply lost", "refused"])), max_size=30))
def test_whatever_tries_come_to_nothing_is_lost_and_order_is_kept(tries: list[tuple[int, str]]) -> None:
    buffer, put = buffer_of(), 0
    stream: list[Entry] = []
    for more, outcome in [*tries, (0, "confirmed"), (0, "confirmed"), (0, "confirmed"), (0, "confirmed")]:
        for _ in range(more):
            buffer.put(entry(put))
            put += 1
        for batch in buffer.batches():
            stream += [] if outcome == "refused" else batch
            buffer.record(batch, None if outcome == "confirmed" else AWAY)
    assert buffer.waiting == 0
    assert list(dict.fromkeys(stream)) == [entry(number) for number in range(put)]


def test_a_full_buffer_takes_nothing_and_says_why_and_what_to_do() -> None:
    buffer = buffer_of(3, size=3)
    attempt(buffer, exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."))
    assert buffer.must_wait()
    with pytest.raises(BufferFull) as full:
        buffer.put(entry(3), waited_s=5.00012)
    assert full.value.waiting == 3
    assert str(full.value) == (
        "this segment was not taken: 3 segments wait for redis://here, which is all that the buffer holds, and there "
        "was no room within 5 s; last error: OutOfMemoryError: command not allowed when used memory > 'maxmemory'. Put "
        "it again later, or give the publisher a larger `buffer` or a longer `wait_up_to_s`."
    )
    attempt(buffer, None)
    assert not buffer.must_wait()
    buffer.put(entry(3))
    assert [item.event["segment_id"] for item in buffer.entries] == ["1", "2", "3"]


def test_where_nothing_failed_a_full_buffer_says_that_redis_is_slower() -> None:
    with pytest.raises(BufferFull, match="no error: it confirms more slowly than is published"):
        buffer_of(1, size=1).put(entry(1))


def test_what_waiting_cannot_mend_is_told_by_the_next_put_and_keeps_what_was_taken() -> None:
    buffer = buffer_of(2, size=2)
    attempt(buffer, REFUSED)
    assert not buffer.must_wait()  # there is nothing to wait for
    with pytest.raises(PublishFailed) as failed:
        buffer.put(entry(2))
    assert failed.value.__cause__ is REFUSED
    assert str(failed.value) == (
        "this segment was not taken: what is sent to redis://here is refused, and waiting cannot help; last error: "
        "NoPermissionError: this user has no permissions to run the 'xadd' command. 2 segments are kept, and sent once "
        "that is mended."
    )
    attempt(buffer, None)
    attempt(buffer, None)
    buffer.put(entry(2))
    assert buffer.batches() == [[entry(2)]]


def test_a_sender_that_failed_itself_is_told_by_every_put() -> None:
    buffer = buffer_of(1)
    buffer.broke(ZeroDivisionError("in a metric"))
    for _ in range(2):
        with pytest.raises(PublishFailed) as failed:
            buffer.put(entry(1))
        assert str(failed.value) == (
            "this segment was not taken: the sender has ended; last error: ZeroDivisionError: in a metric. 1 segments "
            "are not sent any more: `close` gives them back."
        )
    assert "publish them again" in str(buffer.unconfirmed(1))


def test_a_closed_publisher_takes_nothing() -> None:
    buffer = buffer_of(1, size=1)
    buffer.closed = True
    assert not buffer.must_wait()
    with pytest.raises(RuntimeError, match="closed: the segment was not taken"):
        buffer.put(entry(1))


def test_a_mark_is_reached_though_more_was_put_after_it() -> None:
    buffer = buffer_of(CHUNK)
    buffer.put(entry(0, "b"))
    mark = buffer.mark()
    of_a, of_b = buffer.batches()
    buffer.record(of_a, None)
    assert not buffer.confirmed(mark)
    for number in range(5):
        buffer.put(entry(number, "c"))
        buffer.put(entry(number, "a"))
    buffer.record(of_b, None)
    assert buffer.confirmed(mark)
    assert not buffer.confirmed(buffer.mark())


def test_nothing_put_is_all_confirmed() -> None:
    assert buffer_of().confirmed(buffer_of().mark())


def test_unconfirmed_segments_are_given_back_with_the_cause_and_what_to_do() -> None:
    buffer = buffer_of(2)
    attempt(buffer, AWAY)
    kept, buffer.closed = buffer.unconfirmed(0.5), True
    given_up = buffer.unconfirmed(10)
    assert str(kept) == (
        "2 segments not confirmed by redis://here within 0.5 s; last error: ConnectionError: Connection refused. "
        "They are kept, and sent again. Their events are in the attribute `unconfirmed`."
    )
    assert str(given_up) == (
        "2 segments not confirmed by redis://here within 10 s; last error: ConnectionError: Connection refused. "
        "They may have arrived all the same: publish them again, repeating is harmless, a segment counts once. "
        "Their events are in the attribute `unconfirmed`."
    )
    assert kept.unconfirmed == given_up.unconfirmed == [{"segment_id": "0"}, {"segment_id": "1"}]
    assert given_up.__cause__ is AWAY


def test_pauses_grow_while_a_stream_fails_and_end_when_none_does() -> None:
    buffer = buffer_of(10)
    assert buffer.pause_s() == 0
    attempt(buffer, AWAY)
    caps = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for cap in caps:
        assert cap / 2 <= buffer.pause_s() <= cap
    attempt(buffer, None)
    assert buffer.pause_s() == 0
    attempt(buffer, AWAY)
    assert 0 < buffer.pause_s() <= 0.05


def test_metrics_are_told_of_every_segment() -> None:
    told = Told()
    buffer = buffer_of(10, metrics=told)
    for error in (AWAY, AWAY, None):
        attempt(buffer, error)
    assert told.totals == {"waiting": 9, "repeated": 2, "confirmed": 1}
    attempt(buffer, None)  # of the nine, all were sent at the first try
    assert told.totals == {"waiting": 0, "repeated": 11, "confirmed": 10}
    buffer.put(entry(10), waited_s=0.25)
    attempt(buffer, None)
    assert told.totals == {"waiting": 0, "repeated": 11, "confirmed": 11, "waited_s": 0.25}


@pytest.mark.parametrize("size", [0, -1])
def test_a_buffer_that_holds_nothing_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"buffer must hold at least 1 segment, got {size}"):
        buffer_of(size=size)


def transactions(
    *, apart: bool = False, plain: bool = False, replicas: int = 0, timeout_ms: int = 1000
) -> Transactions:
    return Transactions(apart=apart, plain=plain, replicas=replicas, replica_timeout_ms=timeout_ms)


BATCHES = [[entry(0), entry(1)], [entry(0, "b")]]
OK: list[Any] = [b"OK", b"QUEUED", b"QUEUED", [b"1-0", b"1-1"], b"OK", b"QUEUED", [b"1-0"]]


def test_each_stream_is_a_transaction_and_replicas_are_waited_for_after_all_of_them() -> None:
    names = [command[0] for command in transactions(replicas=2).commands(BATCHES)]
    assert names == ["MULTI", "XADD", "XADD", "EXEC", "MULTI", "XADD", "EXEC", "WAIT"]
    assert list(transactions(replicas=2).commands(BATCHES))[-1] == ("WAIT", 2, 1000)


def test_in_a_cluster_each_stream_takes_a_pipeline_of_its_own() -> None:
    each = transactions(apart=True, replicas=1)
    assert each.pipelines(BATCHES) == [[BATCHES[0]], [BATCHES[1]]]
    assert [command[0] for command in each.commands([BATCHES[0]])] == ["MULTI", "XADD", "XADD", "EXEC", "WAIT"]
    assert transactions().pipelines(BATCHES) == [BATCHES]


def test_through_a_ready_client_of_a_cluster_there_are_no_transactions() -> None:
    each = transactions(apart=True, plain=True)
    assert [command[0] for command in each.commands([BATCHES[0]])] == ["XADD", "XADD"]
    assert each.outcomes([BATCHES[0]], [b"1-0", AWAY]) == [AWAY]


def test_a_batch_is_confirmed_when_its_transaction_is() -> None:
    assert transactions().outcomes(BATCHES, OK) == [None, None]


def test_a_refused_batch_tells_the_cause_and_concerns_no_other() -> None:
    full = exceptions.OutOfMemoryError("command not allowed")
    replies = [b"OK", full, full, exceptions.ExecAbortError("Transaction discarded"), *OK[4:]]
    assert transactions().outcomes(BATCHES, replies) == [full, None]


def test_an_error_within_a_transaction_is_found() -> None:
    wrong = exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert transactions().outcomes(BATCHES, [*OK[:6], [wrong]]) == [None, wrong]


@pytest.mark.parametrize(("reply", "confirmed"), [(0, False), (1, False), (2, True), (3, True)])
def test_fewer_replicas_than_asked_for_confirm_nothing(reply: int, confirmed: bool) -> None:
    found = transactions(replicas=2).outcomes(BATCHES, [*OK, reply])
    if confirmed:
        assert found == [None, None]
    else:
        assert [str(error) for error in found] == [f"{reply} of 2 replicas confirmed within 1000 ms"] * 2
        assert all(isinstance(error, TooFewReplicas) for error in found)


def test_a_wait_that_is_refused_confirms_nothing() -> None:
    assert transactions(replicas=1).outcomes(BATCHES, [*OK, REFUSED]) == [REFUSED, REFUSED]


def test_replicas_that_cannot_be_waited_for_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="through a RedisCluster of redis-py: give the URL of a node"):
        transactions(apart=True, plain=True, replicas=1)
    with pytest.raises(ValueError, match="replica_timeout_ms at least 1, got 0"):  # to Redis it means: for ever
        transactions(replicas=1, timeout_ms=0)
    with pytest.raises(ValueError, match="replicas must be at least 0, got -1"):
        transactions(replicas=-1)
