"""A real Valkey whose time is the simulated clock's, and the client through which roles see it.

The scripts run as they are, but for two expressions: `redis.call('TIME')` becomes a read of two keys that hold the
simulated time, in the form of TIME's answer; and the replication id is read from a key, too, as it is a new one after
every failover, and here the server stays the same. What Redis measures by its own clock is decided by the scheduler
instead: idle times are passed as 0, keys with a time to live are removed when the simulated time is up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from streamproc.stores.redis import scripts

from .clock import Clock
from .faults import Call, carry_out

Rewrite = Callable[[str], str]


def _sha(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


_TIME: Final = "redis.call('TIME')"
_SIMULATED_TIME: Final = "redis.call('MGET', 'simulated:seconds', 'simulated:microseconds')"
_REPLICATION: Final = "redis.call('INFO', 'replication')"
_SIMULATED_REPLICATION: Final = "('master_replid:' .. redis.call('GET', 'simulated:replid'))"
_NAMES: Final = {_sha(scripts.source(script.name)): script.name for script in scripts.ALL}
#: As a server needs to be started for simulations: nodes of few entries, so that short streams are trimmed at all.
SERVER_ARGUMENTS: Final = ("--stream-node-max-entries", "2")


class Server:
    """A private Valkey, emptied by `begin`, talked to without any fault."""

    def __init__(self, port: int) -> None:
        self._connection: Any = Connection(host="127.0.0.1", port=port, protocol=2)
        self._loaded: dict[str, str] = {}
        self.begin(Clock())

    def begin(self, clock: Clock, rewrites: Mapping[str, Rewrite] | None = None) -> None:
        """Be empty, go by this clock, and run these scripts (by name) otherwise than they are written."""
        self.clock = clock
        self._expires_at_ms: dict[str, int] = {}
        self._rewrites = rewrites or {}
        self._shas: dict[str, str] = {}
        self._restored = 0
        self._exchange([("FLUSHALL",), ("SET", "simulated:replid", self._restored)])
        self._shown_ms = -1

    def close(self) -> None:
        self._connection.disconnect()

    def call(self, *command: Any) -> Any:
        """One command. Raises redis.exceptions.RedisError."""
        return self.pipeline([command])[0]

    def pipeline(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Several commands in one round trip; the clock is shown to the server first, if it has moved."""
        commands = list(commands)
        if self._shown_ms != self.clock.now_ms:
            self._shown_ms = self.clock.now_ms
            seconds, ms = divmod(self._shown_ms, 1000)
            shown = ("MSET", "simulated:seconds", seconds, "simulated:microseconds", ms * 1000)
            return self._exchange([shown, *commands])[1:]
        return self._exchange(commands)

    def run_script(self, sha: str, *arguments: Any) -> Any:
        name = _NAMES[sha]
        if name not in self._shas:
            self._shas[name] = self._load(self._text(name))
        return self.call("EVALSHA", self._shas[name], *arguments)

    def set_for_a_while(self, key: str, value: str, px: int) -> bool:
        """SET NX PX, by the simulated clock."""
        if self._expires_at_ms.get(key, 0) <= self.clock.now_ms:
            self.call("DEL", key)
        done: bool = self.call("SET", key, value, "NX") is not None
        if done:
            self._expires_at_ms[key] = self.clock.now_ms + px
        return done

    def add(self, stream: str, *fields: Any) -> tuple[int, str]:
        """XADD, with the id that Redis would give: by its clock, and never below the last. Returns milliseconds, id."""
        return self.add_all(stream, [fields])[0]

    def add_all(self, stream: str, entries: Iterable[tuple[Any, ...]]) -> list[tuple[int, str]]:
        ms = max(self.clock.now_ms, self._last_ms(stream))
        ids = self.pipeline(("XADD", stream, f"{ms}-*", *fields) for fields in entries)
        return [(ms, entry_id.decode()) for entry_id in ids]

    def dump(self, pattern: str) -> dict[bytes, bytes]:
        """Everything under the keys that match: what a replica would hold that had come this far."""
        keys = sorted(self.call("KEYS", pattern))
        return dict(zip(keys, self.pipeline(("DUMP", key) for key in keys), strict=True))

    def restore(self, pattern: str, dumped: Mapping[bytes, bytes]) -> None:
        """Be that replica, under a replication id of its own."""
        self._restored += 1
        self.call("SET", "simulated:replid", self._restored)
        self.pipeline(("DEL", key) for key in sorted(self.call("KEYS", pattern)))
        self.pipeline(("RESTORE", key, 0, value) for key, value in dumped.items())

    def _last_ms(self, stream: str) -> int:
        if not self.call("EXISTS", stream):
            return 0
        info = self.call("XINFO", "STREAM", stream)
        last_id: bytes = info[info.index(b"last-generated-id") + 1]
        return int(last_id.partition(b"-")[0])

    def _text(self, name: str) -> str:
        text = scripts.source(name).replace(_TIME, _SIMULATED_TIME).replace(_REPLICATION, _SIMULATED_REPLICATION)
        rewrite = self._rewrites.get(name)
        if rewrite is None:
            return text
        rewritten = rewrite(text)
        assert rewritten != text, f"the rewriting of {name}.lua finds nothing to change any more"
        return rewritten

    def _load(self, text: str) -> str:
        sha = _sha(text)
        if sha not in self._loaded:
            self._loaded[sha] = self.call("SCRIPT", "LOAD", text).decode()
        return self._loaded[sha]

    def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        connection = self._connection
        connection.send_packed_command(connection.pack_commands(commands))
        replies = [self._reply() for _ in commands]
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except RedisConnectionError:
            raise
        except Exception as error:
            return error


class SimulatedRedis:
    """What the stores use of a client. Every command passes the point at which things go wrong."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def execute_command(self, *command: Any) -> Any:
        if command == ("TIME",):  # the clock can be read without anything going wrong
            return divmod(self._server.clock.now_ms * 1000, 1_000_000)
        return await carry_out(
            Call(_name(command), lambda: self._execute(command), RedisConnectionError("the connection broke"))
        )

    async def set(self, key: str, value: str, *, nx: bool, px: int) -> bool | None:
        """As the client does it: True, or None where the key was there."""
        assert nx
        error = RedisConnectionError("the connection broke")
        return await carry_out(Call("SET", lambda: self._server.set_for_a_while(key, value, px), error)) or None

    def pipeline(self, *, transaction: bool) -> Pipeline:
        assert not transaction
        return Pipeline(self)

    def _execute(self, command: tuple[Any, ...]) -> Any:
        server = self._server
        match command:
            case ("EVALSHA", sha, *arguments):
                return server.run_script(sha, *arguments)
            case ("XADD", stream, "*", *fields):
                return server.add(stream, *fields)[1].encode()
        return server.call(*command)


class Pipeline:
    """Commands sent together. Others may come between any two of them, and it may break off after each."""

    def __init__(self, client: SimulatedRedis) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []

    def execute_command(self, *command: Any) -> None:
        self._commands.append(command)

    async def execute(self) -> list[Any]:
        return [await self._client.execute_command(*command) for command in self._commands]


def _name(command: tuple[Any, ...]) -> str:
    match command:
        case ("EVALSHA", sha, *_):
            return _NAMES[sha]
        case ("XREADGROUP", *_, start):
            return "read new" if start == b">" else "read own"
    return str(command[0])
