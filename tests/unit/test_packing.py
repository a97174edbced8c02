from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from streamproc.stores.redis.packing import PackingConnection


class ClosedWriter:
    """What uvloop does when it is told to write to a transport that has just been closed."""

    def writelines(self, _data: Any) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None: ...


@pytest.mark.parametrize("timeout_s", [None, 1.0])
async def test_writing_to_a_transport_that_has_just_been_closed_is_trouble_with_redis(timeout_s: float | None) -> None:
    connection: Any = PackingConnection(socket_timeout=timeout_s)
    connection._writer = ClosedWriter()
    connection._reader = object()
    with pytest.raises(RedisConnectionError, match="handler is closed"):
        await connection.send_packed_command([b"PING"], check_health=False)
    assert not connection.is_connected
