"""The nodes of a Redis Cluster: which to ask where a slot is, what they answer, and what they say who do not have it.

No I/O here: the client for asyncio (`cluster`) and the publisher's for threads both go by this.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis import exceptions
from redis.crc import key_slot


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class SlotUnserved(exceptions.ConnectionError):
    """The slot is on its way to another node, or its master is being replaced. Nothing was done: try again."""


#: What a node says that does not carry out a command, or not now, since the slot is not wholly its own.
UNSERVED: Final = (
    exceptions.AskError,  # MOVED is a kind of it
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
)


def slot_of(key: str) -> int:
    return key_slot(key.encode())


def unserved(error: Exception) -> SlotUnserved:
    """One of `UNSERVED` as trouble that passes by waiting. Its first word, which redis-py took away, is put back."""
    said = type(error).__name__.removesuffix("Error").upper()
    return SlotUnserved(f"{said} {error}")


def unreached(error: Exception, host: str, port: int) -> Exception:
    """No connection to the master that has the slot: its replica may be promoted. What it refuses stays what it is."""
    if type(error) not in {exceptions.ConnectionError, exceptions.TimeoutError}:
        return error
    return SlotUnserved(f"UNREACHED {host}:{port} {error}")


class Nodes:
    """The nodes of a cluster, as far as they are known.

    Args:
        seed: the one that the URL names. It is asked again where no other answers: its name may lead elsewhere by then.
    """

    def __init__(self, seed: Address) -> None:
        self._seed = seed
        self._known: list[Address] = []
        self._masters: list[tuple[int, int, Address]] = []

    def in_turn(self) -> list[Address]:
        """Whom to ask, one after the other until one answers: each time another first.

        A node that is cut off from the others tells what was true once; with the next try another is asked.
        """
        return list(dict.fromkeys((*self._known, self._seed)))

    def learn(self, asked: Address, slots: Sequence[Any]) -> None:
        """Take in a node's answer to CLUSTER SLOTS: https://redis.io/docs/latest/commands/cluster-slots/"""
        ranges = [(first, last, [_address(node, asked) for node in nodes]) for first, last, *nodes in slots]
        self._masters = [(first, last, nodes[0]) for first, last, nodes in ranges if nodes]
        others = (node for _, _, nodes in ranges for node in nodes if node != asked)
        self._known = [*dict.fromkeys(others), asked]

    def master_of(self, slot: int) -> Address:
        """Raises SlotUnserved."""
        for first, last, master in self._masters:
            if first <= slot <= last:
                return master
        raise SlotUnserved(f"CLUSTERDOWN no node has slot {slot}")

    @property
    def masters(self) -> dict[Address, int]:
        """Those that have slots, each with one that it has."""
        return {master: first for first, _, master in sorted(self._masters, reverse=True)}


def _address(node: Sequence[Any], asked: Address) -> Address:
    """A node that does not know its own name is reached as the one that was asked."""
    host = (node[0] or b"?").decode()
    return Address(asked.host if host == "?" else host, int(node[1]))
