"""Where a user is to be found in a shard: streams read through in pages, and for a proof every key that could tell.

Erasing goes by the user's index, and costs what that user's windows cost. `look` must not trust that index, so it goes
through all keys of the shard, as well as through every set that names windows: slow, and never blocking.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from redis.asyncio import Redis

from streamproc.core.commits import entry_ms, payload_of
from streamproc.core.erasures import Subject, Subjects, Tally
from streamproc.core.windows import Windowing
from streamproc.stores.redis.shard import Shard

Page = Sequence[tuple[bytes, Sequence[bytes]]]

_ENTRIES: Final = 1000
_KEYS: Final = 1000


async def pages(client: Redis, stream: str) -> AsyncIterator[Page]:
    """A stream in pages, from its first entry to the one that is the last now."""
    last = await client.execute_command("XREVRANGE", stream, "+", "-", "COUNT", 1)
    start = b"-"
    while last:
        page = await client.execute_command("XRANGE", stream, start, last[0][0], "COUNT", _ENTRIES)
        if not page:
            return
        yield page
        start = b"(" + page[-1][0]


def entries_of(finder: Subjects, page: Page) -> Mapping[bytes, int]:
    """The entries of a page that are covered: whose each is, by position."""
    found = {entry_id: finder.find(payload_of(fields), _added_ms(entry_id)) for entry_id, fields in page}
    return {entry_id: position for entry_id, position in found.items() if position is not None}


def letters_of(finder: Subjects, page: Page) -> Mapping[bytes, int]:
    """The dead letters of a page that are covered: whose each is, by position."""
    found = {}
    for letter_id, flat in page:
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        # When the *entry* was added: the letter may have been written after the request that covers it.
        entry_id = fields.get(b"entry_id", b"")
        added_ms = _added_ms(entry_id if entry_id[:1].isdigit() else letter_id)
        found[letter_id] = finder.find(fields.get(b"payload", b""), added_ms)
    return {letter_id: position for letter_id, position in found.items() if position is not None}


async def look(shard: Shard, subject: Subject, windowing: Windowing) -> Tally:
    """What a shard holds of what is covered. Entries in flight are among it: they are there until they are refused."""
    client, keys = shard.client, shard.keys
    finder = Subjects([subject], windowing)
    found = dict.fromkeys(("windows", "segments", "names", "stream_entries", "dead_letters"), 0)
    async for key in client.scan_iter(match=keys.segments_of(subject.user_id), count=_KEYS):
        if _is_covered(keys.name_in(key), subject, windowing):
            found["windows"] += 1
            found["segments"] += await client.execute_command("HLEN", key)
    async for name in _names(shard, subject.user_id):
        found["names"] += _is_covered(name, subject, windowing)
    async for page in pages(client, keys.stream):
        found["stream_entries"] += len(entries_of(finder, page))
    async for page in pages(client, keys.dead):
        found["dead_letters"] += len(letters_of(finder, page))
    return found


async def _names(shard: Shard, user_id: str) -> AsyncIterator[bytes]:
    """The names of a user's windows, wherever names are kept."""
    client, keys, pattern = shard.client, shard.keys, shard.keys.names_of(user_id)
    for zset in (keys.open, keys.taken, keys.closed, keys.user(user_id)):
        async for name, _score in client.zscan_iter(zset, match=pattern, count=_KEYS):
            yield name
    async for channel in client.scan_iter(match=keys.channels, count=_KEYS):
        async for name in client.sscan_iter(channel, match=pattern, count=_KEYS):
            yield name


def _is_covered(name: bytes, subject: Subject, windowing: Windowing) -> bool:
    try:
        return windowing.parse_name(name.decode(errors="replace")).start_ms <= subject.covered_start_ms
    except ValueError:
        return True  # no window of ours, yet it names the user


def _added_ms(entry_id: bytes) -> int:
    return entry_ms(entry_id.decode())
