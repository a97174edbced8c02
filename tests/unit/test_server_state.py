from __future__ import annotations

from streamproc.stores.redis.server import ServerState, state_of

INFO = "\r\n".join(
    [
        "# Replication",
        "role:master",
        "connected_slaves:3",
        "slave0:ip=127.0.0.1,port=6380,state=online,offset=1000,lag=0",
        "slave1:ip=127.0.0.1,port=6381,state=send_bulk,offset=0,lag=0",
        "master_repl_offset:1024",
        "# Memory",
        "used_memory:2048",
        "maxmemory:0",
    ]
)


def test_a_replica_that_is_counted_and_not_told_of_is_passed_over() -> None:
    """As a replica goes, Redis may count it still, without a line of its own."""
    assert state_of(5, INFO) == ServerState(5, 2048, 0, 1024, (1000,))
