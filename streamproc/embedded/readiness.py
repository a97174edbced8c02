"""Has *our* server come up? Each probe asks the port once; only the process that we started counts as an answer.

Another server may have taken the port a moment before ours: it would answer a mere PING just as well.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymongo import MongoClient

REPLICA_SET = "streamproc"
_ALREADY_INITIALIZED = 23


def redis_answers(port: int, pid: int) -> bool:
    """Whether process `pid` serves Redis on `port` and has loaded its data (PING is refused while it loads)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\nINFO server\r\n")
            answer = b""
            while b"\r\nexecutable:" not in answer:  # a line that follows the process id
                chunk = connection.recv(4096)
                if not chunk:
                    return False
                answer += chunk
    except OSError:
        return False
    return answer.startswith(b"+PONG\r\n") and f"\r\nprocess_id:{pid}\r\n".encode() in answer


def mongod_answers(port: int, pid: int) -> bool:
    """Whether process `pid` serves MongoDB on `port`."""
    return _mongod_answers(port, pid, replica_set=False)


def replica_set_answers(port: int, pid: int) -> bool:
    """Whether process `pid` is the primary of a replica set of its own on `port`. Initiates the set if need be."""
    return _mongod_answers(port, pid, replica_set=True)


def _mongod_answers(port: int, pid: int, *, replica_set: bool) -> bool:
    if not _listens(port):  # the driver would wait half a second before its second look
        return False
    from pymongo import MongoClient  # noqa: PLC0415 - slow, and only mongod needs it
    from pymongo.errors import ConnectionFailure  # noqa: PLC0415

    try:
        with MongoClient[dict[str, object]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            if client.admin.command("serverStatus")["pid"] != pid:
                return False
            return not replica_set or _is_primary(client, port)
    except ConnectionFailure:
        return False


def _is_primary(client: MongoClient[dict[str, object]], port: int) -> bool:
    from pymongo.errors import OperationFailure  # noqa: PLC0415 - as above

    hello = client.admin.command("hello")
    if "setName" not in hello:
        members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
        try:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALIZED:  # restarted, and not yet done reading its configuration
                raise
    return bool(hello["isWritablePrimary"])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
