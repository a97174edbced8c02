"""Which node of a cluster is asked, and what is made of its answer."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions

from streamproc.stores.redis.nodes import UNSERVED, Address, Nodes, SlotUnserved, slot_of, unreached, unserved

A, B, C, D = (Address(f"10.0.0.{number}", 6379) for number in range(1, 5))


def told(*ranges: tuple[int, int, list[Address]]) -> list[Any]:
    """An answer to CLUSTER SLOTS, as it comes."""
    return [
        [first, last, *([node.host.encode(), node.port, b"id", []] for node in nodes)] for first, last, nodes in ranges
    ]


@pytest.fixture
def nodes() -> Nodes:
    """A has told of B with its replica C, and of itself with its replica D."""
    nodes = Nodes(A)
    nodes.learn(A, told((0, 8191, [B, C]), (8192, 16_383, [A, D])))
    return nodes


def test_at_first_the_node_of_the_url_is_asked() -> None:
    assert Nodes(A).in_turn() == [A]


def test_each_time_another_node_is_asked_first_and_all_are_if_need_be(nodes: Nodes) -> None:
    assert nodes.in_turn() == [B, C, D, A]
    nodes.learn(B, told((0, 8191, [B, C]), (8192, 16_383, [A, D])))
    assert nodes.in_turn() == [C, A, D, B]


def test_the_node_of_the_url_is_asked_in_the_end_when_the_cluster_has_left_it(nodes: Nodes) -> None:
    nodes.learn(B, told((0, 16_383, [B, C])))
    assert nodes.in_turn() == [C, B, A]


@pytest.mark.parametrize(("slot", "master"), [(0, B), (8191, B), (8192, A), (16_383, A)])
def test_a_slot_is_with_the_master_of_its_range(nodes: Nodes, slot: int, master: Address) -> None:
    assert nodes.master_of(slot) == master


def test_a_slot_that_nobody_has_is_unserved(nodes: Nodes) -> None:
    nodes.learn(A, told((0, 8191, [B, C])))
    with pytest.raises(SlotUnserved, match="no node has slot 8192"):
        nodes.master_of(8192)


def test_masters_are_told_once_each_with_a_slot_however_many_ranges_they_have(nodes: Nodes) -> None:
    nodes.learn(A, told((0, 99, [B]), (100, 8191, [A]), (8192, 16_383, [B])))
    assert nodes.masters == {A: 100, B: 0}


@pytest.mark.parametrize("unknown", [None, b"", b"?"])
def test_a_node_that_does_not_know_its_name_is_reached_as_the_one_that_was_asked(unknown: bytes | None) -> None:
    nodes = Nodes(A)
    nodes.learn(A, [[0, 16_383, [unknown, 7000, b"id"]]])
    assert nodes.master_of(0) == Address(A.host, 7000)


def test_keys_of_a_shard_are_in_one_slot() -> None:
    assert slot_of("dubbing:{3}:segments") == slot_of("dubbing:{3}:ledger") == slot_of("other:{3}:open") == slot_of("3")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.MovedError("13907 10.0.0.2:6379"), "MOVED 13907 10.0.0.2:6379"),
        (exceptions.AskError("13907 10.0.0.2:6379"), "ASK 13907 10.0.0.2:6379"),
        (exceptions.TryAgainError("Multiple keys"), "TRYAGAIN Multiple keys"),
        (exceptions.ClusterDownError("The cluster is down"), "CLUSTERDOWN The cluster is down"),
        (exceptions.MasterDownError("Link with MASTER is down"), "MASTERDOWN Link with MASTER is down"),
    ],
)
def test_what_a_node_says_that_does_not_serve_a_slot_is_a_lost_connection(error: Exception, words: str) -> None:
    assert isinstance(error, UNSERVED)
    assert str(unserved(error)) == words
    assert isinstance(unserved(error), exceptions.ConnectionError)


def test_a_refused_password_is_not_taken_for_a_master_that_is_away() -> None:
    refused = exceptions.AuthenticationError("WRONGPASS")
    assert unreached(refused, *A) is refused
    away = unreached(exceptions.ConnectionError("Error 111 connecting to 10.0.0.1:6379."), *A)
    assert str(away) == "UNREACHED 10.0.0.1:6379 Error 111 connecting to 10.0.0.1:6379."
