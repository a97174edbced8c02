"""Erasing users from one shard: their windows, what is left of their entries in the stream, their dead letters.

    mark      a tombstone, first: from now on commits refuse the covered windows
    windows   by the user's index, a page at a time, detail and every set that names them in one script; before it the
              last errors of their sessions
    stream    entries that were processed; one still in flight is refused, and deleted, by whoever commits it
    dead      dead letters

Windows cost two commands a user, and one more for each page. Stream and dead letters have no index of users: each is
read once through, in pages, for all users together. Everything may be repeated, and ends in the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from streamproc.core.erasures import Subject, Subjects, Tally
from streamproc.core.windows import Windowing, unescape
from streamproc.stores.redis import scripts, traces
from streamproc.stores.redis.shard import Shard

# A script stalls everyone while it runs: 200 windows, or 500 entries, take about a millisecond.
_WINDOWS: Final = 200
_IDS: Final = 500
# Nobody remembers for longer than a minute.
_TOLD_MS: Final = 3_600_000
_MARKS_OF_A_NAME: Final = 3  # <hour>:<channel>:<session>:<user>


class ShardErasure:
    """A layer of erasure: one shard of Redis."""

    def __init__(self, shard: Shard, windowing: Windowing) -> None:
        self.name = f"redis_{shard.number}"
        self._shard = shard
        self._windowing = windowing
        self._turn = shard.keys.turn("erased")

    async def erase(self, subjects: Sequence[Subject]) -> list[Tally]:
        """Erase what is covered. Returns for each subject what was found.

        Raises:
            redis.exceptions.RedisError: repeat it.
        """
        tallies: list[Counter[str]] = [Counter() for _ in subjects]
        if not subjects:
            return []
        for subject, tally in zip(subjects, tallies, strict=True):
            await self._erase_windows(subject, tally)
        finder = Subjects(subjects, self._windowing)
        await self._erase_entries(finder, tallies)
        await self._erase_dead_letters(finder, tallies)
        return [dict(tally) for tally in tallies]

    async def look(self, subject: Subject) -> Tally:
        """What is there of what an erasure covers. Looks at every key, not only at the user's index.

        Raises:
            redis.exceptions.RedisError: nothing can be said.
        """
        return await traces.look(self._shard, subject, self._windowing)

    async def forget_tombstones(self, before_start_ms: int) -> int:
        """Remove tombstones of which the newest window covered is older. Returns how many."""
        removed = await self._shard.run(scripts.ERASE_FORGET, [self._shard.keys.erased], [before_start_ms])
        return int(removed)

    async def tell(self, erasure: str) -> None:
        """Let whoever remembers what is stored know that an erasure has removed something of it."""
        await self._shard.client.execute_command("SET", self._shard.keys.last_erasure, erasure, "PX", _TOLD_MS)

    async def take_turn(self, lease_ms: int) -> str:
        """Whether the caller is to apply all erasures again, for `lease_ms`: what to tell `end_turn`, or ''."""
        replication_id = await self._shard.run(scripts.ERASE_TURN, [self._turn], [lease_ms, ""])
        return str(replication_id.decode())

    async def end_turn(self, turn: str, next_ms: int) -> None:
        """All erasures have been applied again. The next turn is in `next_ms`, or when this is another Redis."""
        await self._shard.run(scripts.ERASE_TURN, [self._turn], [next_ms, turn])

    async def now_ms(self) -> int:
        """Redis' time."""
        return await self._shard.now_ms()

    async def _erase_windows(self, subject: Subject, tally: Counter[str]) -> None:
        await self._erase_page(subject, [], tally)
        # A commit before the mark may have added one; after it none does. So this ends, and ends with nothing left.
        while names := await self._covered(subject):
            await self._erase_page(subject, names, tally)

    async def _erase_page(self, subject: Subject, names: Sequence[str], tally: Counter[str]) -> None:
        own = self._shard.keys
        keys = [own.erased, own.user(subject.user_id), own.open, own.taken, own.closed]
        for name in names:
            of_window = own.window(name)
            keys += (of_window.segments, of_window.channel)
        if sessions := {unescape(name.split(":")[2]) for name in names}:
            # What an error said, noted for the session's document. First: the names are how these are found.
            await self._shard.client.execute_command("HDEL", own.last_errors, *sorted(sessions))
        windows, segments = await self._shard.run(
            scripts.ERASE_WINDOWS, keys, [subject.user_hash, subject.covered_start_ms, *names]
        )
        tally.update(windows=windows, segments=segments)

    async def _covered(self, subject: Subject) -> list[str]:
        """A page of the names in the user's index that are covered. One that a stranger wrote is removed from it."""
        client, index = self._shard.client, self._shard.keys.user(subject.user_id)
        while True:
            found = await client.execute_command(
                "ZRANGEBYSCORE", index, "-inf", subject.covered_start_ms, "LIMIT", 0, _WINDOWS
            )
            names = [name for raw in found if (name := _window_name(raw))]
            if names or not found:
                return names
            await client.execute_command("ZREM", index, *found)

    async def _erase_entries(self, finder: Subjects, tallies: list[Counter[str]]) -> None:
        stream, group = self._shard.keys.stream, self._shard.group
        async for page in traces.pages(self._shard.client, stream):
            theirs = traces.entries_of(finder, page)
            ids = list(theirs)
            for first in range(0, len(ids), _IDS):
                some = ids[first : first + _IDS]
                deleted = await self._shard.run(scripts.ERASE_ENTRIES, [stream], [group, *some])
                for entry_id, number in zip(some, deleted, strict=True):
                    tallies[theirs[entry_id]].update(stream_entries=number)

    async def _erase_dead_letters(self, finder: Subjects, tallies: list[Counter[str]]) -> None:
        dead = self._shard.keys.dead
        async for page in traces.pages(self._shard.client, dead):
            for letter_id, position in traces.letters_of(finder, page).items():
                deleted = await self._shard.client.execute_command("XDEL", dead, letter_id)
                tallies[position].update(dead_letters=deleted)


def _window_name(raw: bytes) -> str:
    """The name of a window as text, or '' where it is none."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return ""
    return name if name.count(":") == _MARKS_OF_A_NAME else ""
