from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import fakeredis
import orjson
import pytest
from redis import exceptions

from streamproc import BlockingSegmentPublisher, InvalidEvent, SegmentPublisher
from streamproc.core import events
from streamproc.core.events import Event
from streamproc.publisher import BufferFull, PublishFailed
from streamproc.publisher.delivery import Delivery, address_of
from streamproc.publisher.encoding import CHUNK, Encoder, Entry
from streamproc.publisher.failures import in_words

STREAM = "dubbing:{0}:segments"


def segment(**changes: Any) -> dict[str, Any]:
    return {
        "segment_id": "1",
        "channel_id": "kan-11",
        "session_id": "s-1",
        "user_id": "u-1",
        "received_at": datetime(2025, 3, 1, 10, 0, 15, tzinfo=UTC),
        "extraction_ms": 45,
        "dubbing_ms": 1100.5,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
        **changes,
    }


def delivery(entries: int, retry_for_s: float = 30.0) -> Delivery:
    return Delivery(
        [Entry(STREAM, ("data", str(i))) for i in range(entries)], address="here", retry_for_s=retry_for_s, now_s=1000.0
    )


def entries(client: fakeredis.FakeRedis, stream: str = STREAM) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return cast(list[tuple[bytes, dict[bytes, bytes]]], client.xrange(stream))


@pytest.fixture
def client() -> Iterator[fakeredis.FakeRedis]:
    with fakeredis.FakeRedis() as client:
        yield client


def test_a_published_segment_is_an_entry_that_decodes_to_it(client: fakeredis.FakeRedis) -> None:
    with BlockingSegmentPublisher(client) as publisher:
        entry_id = publisher.publish(**segment())
    [(found_id, fields)] = entries(client)
    assert found_id.decode() == entry_id
    assert events.decode(fields[b"data"]) == (events.from_mapping(segment()), 0)


async def test_both_forms_publish_the_same_entry() -> None:
    server = fakeredis.FakeServer()
    concurrent, blocking = fakeredis.FakeAsyncRedis(server=server), fakeredis.FakeRedis(server=server)
    async with SegmentPublisher(concurrent) as publisher:
        await publisher.publish(segment())
    BlockingSegmentPublisher(blocking).publish(segment())
    first, second = entries(blocking)
    await concurrent.aclose()
    blocking.close()
    assert first[1] == second[1]


def test_mapping_event_and_fields_by_name_are_the_same() -> None:
    encoder = Encoder("dubbing", 1)
    event = events.from_mapping(segment())
    assert encoder.entry(event) == encoder.entry(segment())


def test_an_event_and_fields_together_are_refused(client: fakeredis.FakeRedis) -> None:
    with pytest.raises(TypeError, match="not both"):
        BlockingSegmentPublisher(client).publish(segment(), platform="tv")


def test_an_event_made_by_hand_is_checked_too() -> None:
    event = Event(**segment(dubbing_ms=-1.0))
    with pytest.raises(InvalidEvent, match=r"dubbing_ms: expected `float` >= 0.*got -1"):
        Encoder("dubbing", 1).entry(event)


def test_the_shard_is_that_of_the_session_and_the_prefix_is_kept() -> None:
    # zlib.crc32 of the UTF-8 form, modulo 4
    encoder = Encoder("tv", 4)
    assert encoder.entry(segment()).stream == "tv:{2}:segments"
    assert encoder.entry(segment(session_id="סשן")).stream == "tv:{0}:segments"


def test_less_than_one_shard_is_refused() -> None:
    with pytest.raises(ValueError, match="shards must be at least 1, got 0"):
        SegmentPublisher(shards=0)


def test_many_segments_get_their_ids_in_order(client: fakeredis.FakeRedis) -> None:
    names = [str(i) for i in range(CHUNK + 3)]
    entry_ids = BlockingSegmentPublisher(client).publish_many(segment(segment_id=name) for name in names)
    found = {entry_id.decode(): orjson.loads(fields[b"data"])["segment_id"] for entry_id, fields in entries(client)}
    assert [found[entry_id] for entry_id in entry_ids] == names


@pytest.mark.parametrize("index", [0, CHUNK - 1, CHUNK + 2])
def test_of_a_chunk_with_an_invalid_segment_nothing_is_sent(client: fakeredis.FakeRedis, index: int) -> None:
    many = [segment(segment_id=str(i)) for i in range(CHUNK + 3)]
    many[index]["user_id"] = ""
    with pytest.raises(InvalidEvent, match=rf"event {index}: user_id: .*length >= 1, got ''"):
        BlockingSegmentPublisher(client).publish_many(many)
    assert client.xlen(STREAM) == (CHUNK if index >= CHUNK else 0)


def test_nothing_to_publish_is_nothing_done() -> None:
    with BlockingSegmentPublisher("redis://127.0.0.1:1") as publisher:
        assert publisher.publish_many([]) == []


def test_only_what_was_not_confirmed_is_sent_again() -> None:
    under_way = delivery(3)
    under_way.record([b"5-0", exceptions.OutOfMemoryError("command not allowed"), "5-1"])
    assert [entry.fields[1] for entry in under_way.unconfirmed] == ["1"]
    under_way.record([b"9-0"])
    assert under_way.unconfirmed == []
    assert under_way.entry_ids == ["5-0", "9-0", "5-1"]


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("Connection closed by server."),
        exceptions.TimeoutError("Timeout reading from socket"),
        exceptions.BusyLoadingError("LOADING"),
        exceptions.ReadOnlyError("You can't write against a read only replica."),
        exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
        exceptions.ClusterDownError("CLUSTERDOWN"),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_that_may_pass_is_waited_out(error: Exception) -> None:
    under_way = delivery(1)
    under_way.failed(error)
    assert 0 < under_way.pause_s(1000.0) <= 0.05


@pytest.mark.parametrize(
    "error",
    [
        exceptions.AuthenticationError("invalid username-password pair"),
        exceptions.NoPermissionError("this user has no permissions to run the 'xadd' command"),
        exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_that_waiting_cannot_mend_is_told_at_once(error: Exception) -> None:
    under_way = delivery(2)
    with pytest.raises(PublishFailed, match="1 of 2 segments not confirmed") as failed:
        under_way.record([b"1-0", error])
    assert failed.value.__cause__ is error


def test_pauses_grow_to_a_cap_and_end_when_the_time_is_up() -> None:
    under_way = delivery(1, retry_for_s=30.0)
    under_way.failed(exceptions.ConnectionError("refused"))
    caps = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for cap in caps:
        assert cap / 2 <= under_way.pause_s(1000.0) <= cap
    assert under_way.pause_s(1029.9) <= 0.1 + 1e-9
    with pytest.raises(PublishFailed):
        under_way.pause_s(1030.0)


def test_giving_up_says_where_how_many_why_and_that_repeating_is_harmless() -> None:
    under_way = delivery(3, retry_for_s=0.0)
    under_way.record([b"1-0", exceptions.ReadOnlyError("read only replica"), exceptions.ReadOnlyError("read only")])
    with pytest.raises(PublishFailed) as failed:
        under_way.pause_s(1000.0)
    assert len(failed.value._entries) == 2
    assert str(failed.value) == (
        "2 of 3 segments not confirmed by here; last error: ReadOnlyError: read only. They may have arrived all the "
        "same: publish them again, repeating is harmless, a segment counts once."
    )


def test_giving_up_gives_the_events_back_and_they_are_the_same_entries_again() -> None:
    encoder = Encoder("dubbing", 1)
    entries = [encoder.entry(segment(segment_id=str(number), error="é", platform="tv")) for number in range(3)]
    under_way = Delivery(entries, address="here", retry_for_s=0.0, now_s=1000.0)
    under_way.record([b"1-0", exceptions.ReadOnlyError("read only"), exceptions.ReadOnlyError("read only")])
    with pytest.raises(PublishFailed) as failed:
        under_way.pause_s(1000.0)
    stored = orjson.loads(orjson.dumps(failed.value.unconfirmed))
    assert [encoder.entry(event) for event in stored] == entries[1:]


def test_what_is_raised_can_be_sent_to_another_process() -> None:
    error = PublishFailed("1 of 2 not confirmed", [Encoder("dubbing", 1).entry(segment())])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.unconfirmed) == (str(error), error.unconfirmed)
    assert pickle.loads(pickle.dumps(BufferFull("full", 7))).waiting == 7


def test_an_error_is_told_without_the_command_that_it_is_about() -> None:
    said = "Command # 2 (XADD dubbing:{0}:segments * data {'user_id': 'u-1'}) of pipeline caused error: CLUSTERDOWN."
    assert in_words(exceptions.ClusterDownError(said)) == "ClusterDownError: CLUSTERDOWN"


def test_the_address_of_a_ready_client_is_its_host_and_port() -> None:
    client = BlockingSegmentPublisher("redis://someone:secret@127.0.0.1:6399/3")._client
    assert address_of(client) == "127.0.0.1:6399"


async def test_a_failed_publish_never_tells_the_password() -> None:
    # Nobody listens on port 1.
    async with SegmentPublisher("redis://someone:secret@127.0.0.1:1/3", retry_for_s=0.0) as publisher:
        with pytest.raises(PublishFailed, match=r"not confirmed by redis://127\.0\.0\.1:1/3; last error: ") as failed:
            await publisher.publish(segment())
    assert "secret" not in str(failed.value)
