from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from streamproc.stores.redis.cluster import Cluster
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.packing import PackingConnection, PackingSocketConnection, PackingTLSConnection

KINDS = {
    "redis://127.0.0.1:6379/0": PackingConnection,
    "rediss://127.0.0.1:6379/0": PackingTLSConnection,
    "unix:///run/redis.sock": PackingSocketConnection,
}


class ClosedWriter:
    """What uvloop does when it is told to write to a transport that has just been closed."""

    def writelines(self, _data: Any) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None: ...


@pytest.mark.parametrize("timeout_s", [None, 1.0])
@pytest.mark.parametrize("kind", KINDS.values())
async def test_writing_to_a_transport_that_has_just_been_closed_is_trouble_with_redis(
    kind: Any, timeout_s: float | None
) -> None:
    connection: Any = kind(socket_timeout=timeout_s)
    connection._writer = ClosedWriter()
    connection._reader = object()
    with pytest.raises(RedisConnectionError, match="handler is closed"):
        await connection.send_packed_command([b"PING"], check_health=False)
    assert not connection.is_connected


@pytest.mark.parametrize(("url", "kind"), KINDS.items())
async def test_every_scheme_of_a_url_gets_a_connection_that_packs(url: str, kind: type) -> None:
    client = connect(url)
    connection: Any = client.connection_pool.make_connection()
    assert connection.pack_command("XADD", b"key", 1) == [b"*3\r\n$4\r\nXADD\r\n$3\r\nkey\r\n$1\r\n1\r\n"]
    assert type(connection) is kind
    await client.aclose()


async def test_options_in_the_url_win_and_all_others_are_ours() -> None:
    client = connect("rediss://somebody:secret@redis.example.com:6380/3?ssl_ca_certs=/ca.pem&socket_timeout=3")
    given = client.connection_pool.connection_kwargs
    assert (given["host"], given["port"], given["db"]) == ("redis.example.com", 6380, 3)
    assert (given["username"], given["password"]) == ("somebody", "secret")
    assert (given["ssl_ca_certs"], given["socket_timeout"], given["protocol"]) == ("/ca.pem", 3.0, 2)
    await client.aclose()


async def test_connections_to_a_cluster_pack_over_tls_too() -> None:
    cluster = connect("rediss://127.0.0.1:6379/0", cluster=True)
    assert isinstance(cluster, Cluster)
    assert isinstance(cluster.of("key").connection_pool.make_connection(), PackingTLSConnection)
    await cluster.aclose()
