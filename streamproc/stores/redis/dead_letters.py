"""The dead letters of one shard: read in pages, put back into a stream, removed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from streamproc.core.commits import entry_ms
from streamproc.core.replay import Standing
from streamproc.stores.redis import scripts
from streamproc.stores.redis.shard import Shard

# A page is in memory at once, and is one script: few enough for payloads of a megabyte.
PAGE: Final = 200


class Letter(NamedTuple):
    """One dead letter. docs/formats.md says what its fields are; `id` is its own, in the stream of dead letters."""

    id: str
    shard: int
    entry_id: str
    reason: str
    detail: str
    payload: bytes
    at_ms: int


class DeadLetterStore:
    """The dead letters of one shard. Its methods raise redis.exceptions.RedisError; repeating them is harmless."""

    def __init__(self, shard: Shard) -> None:
        self.number = shard.number
        self._shard = shard
        self._dead = shard.keys.dead

    async def length(self) -> int:
        return int(await self._call("XLEN", self._dead))

    async def newest(self) -> str:
        """The id of the newest letter, '' where there is none: the end of what a caller looks through."""
        found = await self._call("XREVRANGE", self._dead, "+", "-", "COUNT", 1)
        return str(found[0][0].decode()) if found else ""

    async def find(self, letter_id: str) -> Letter | None:
        found = await self._call("XRANGE", self._dead, letter_id, letter_id)
        return self._letter(found[0][0], _as_mapping(found[0][1])) if found else None

    async def oldest_first(self, until: str) -> AsyncGenerator[list[Letter], None]:
        """Pages of letters, up to an id, or to a time in milliseconds. '': none."""
        start = "-"
        while until:
            page = await self._call("XRANGE", self._dead, start, until, "COUNT", PAGE)
            if not page:
                return
            yield [self._letter(raw_id, _as_mapping(flat)) for raw_id, flat in page]
            start = f"({page[-1][0].decode()}"

    async def newest_first(self, count: int = PAGE) -> AsyncGenerator[list[Letter], None]:
        """Pages of the letters that are there now, at most `count` each: later ones are not met."""
        end = "+"
        while page := await self._call("XREVRANGE", self._dead, end, "-", "COUNT", count):
            # Unlike XRANGE's, the client's reply to XREVRANGE has fields by name.
            yield [self._letter(raw_id, fields) for raw_id, fields in page]
            end = f"({page[-1][0].decode()}"

    async def standing(self) -> Standing:
        """By what a new entry of this shard would be judged."""
        now_ms = await self._shard.now_ms()
        mark = await self._call("HGET", self._shard.keys.ledger, "mark")
        return Standing(now_ms, int(mark or 0))

    async def replay(self, letters: Sequence[tuple[str, bytes]]) -> list[str]:
        """Add entries to this shard's stream, each together with the removal of its letter.

        Args:
            letters: id, payload of the new entry.

        Returns:
            The id of each new entry; '' where the letter was gone.
        """
        args = [part for letter in letters for part in letter]
        added = await self._shard.run(scripts.REPLAY, [self._shard.keys.stream, self._dead], args)
        return [entry_id.decode() for entry_id in added]

    async def replay_elsewhere(self, letter_id: str, payload: bytes, shard: int) -> str:
        """Add an entry to another shard's stream, then remove its letter here. Returns the id of the new entry.

        No script may touch two shards. If this ends between the two, the letter is still there: replayed again, its
        segment counts once.
        """
        there = self._shard.sibling(shard)
        entry_id: bytes = await there.client.execute_command("XADD", there.keys.stream, "*", "data", payload)
        await self._call("XDEL", self._dead, letter_id)
        return entry_id.decode()

    async def drop(self, ids: Sequence[str]) -> int:
        """Remove letters. Returns how many were there."""
        return int(await self._call("XDEL", self._dead, *ids)) if ids else 0

    async def _call(self, *command: Any) -> Any:
        return await self._shard.client.execute_command(*command)

    def _letter(self, raw_id: bytes, fields: Mapping[bytes, bytes]) -> Letter:
        """A letter as it is; one that a stranger wrote may lack fields."""
        texts = {
            name: fields.get(name.encode(), b"").decode(errors="backslashreplace")
            for name in ("entry_id", "reason", "detail", "at")
        }
        letter_id = raw_id.decode()
        at_ms = int(texts["at"]) if texts["at"].isdecimal() else entry_ms(letter_id)
        return Letter(
            letter_id,
            self.number,
            texts["entry_id"],
            texts["reason"],
            texts["detail"],
            fields.get(b"payload", b""),
            at_ms,
        )


def _as_mapping(flat: Sequence[bytes]) -> Mapping[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
