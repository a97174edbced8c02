"""The Lua scripts: one file each under ``lua/``, loaded once, called by their SHA-1.

A script that says ``-- use NAME`` gets ``lua/NAME.part.lua`` put in at that line, so that "where does the stream
stand" is written once and still decided inside the step that depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

_FOLDER: Final = files(__package__).joinpath("lua")
_USE: Final = "-- use "


def source(name: str) -> str:
    """The text of a script as Redis gets it."""
    lines = []
    for line in _FOLDER.joinpath(f"{name}.lua").read_text().splitlines():
        if line.startswith(_USE):
            lines.append(_FOLDER.joinpath(f"{line.removeprefix(_USE)}.part.lua").read_text())
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


class Script:
    """One script. Calling it sends only its SHA-1; a server that does not know it yet is told its text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._source = source(name)
        self._sha = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Redis, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run the script. Raises redis.exceptions.RedisError."""
        try:
            return await client.execute_command("EVALSHA", self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return await client.execute_command("EVAL", self._source, len(keys), *keys, *args)


AGREE_KEY: Final = Script("agree_key")
AGREE_LAYOUT: Final = Script("agree_layout")
BEHIND: Final = Script("behind")
CAUGHT_UP: Final = Script("caught_up")
CLAIM: Final = Script("claim")
COMMIT: Final = Script("commit")
ENSURE_GROUP: Final = Script("ensure_group")
ERASE_ENTRIES: Final = Script("erase_entries")
ERASE_FORGET: Final = Script("erase_forget")
ERASE_TURN: Final = Script("erase_turn")
ERASE_WINDOWS: Final = Script("erase_windows")
FINISH: Final = Script("finish")
FORGET: Final = Script("forget")
FORGETTABLE: Final = Script("forgettable")
GIVE_BACK: Final = Script("give_back")
NAMED: Final = Script("named")
NOW: Final = Script("now")
REPLAY: Final = Script("replay")
RETIRE: Final = Script("retire")
SERVER: Final = Script("server")
STAND: Final = Script("stand")
SURVEY: Final = Script("survey")
SUSPECT: Final = Script("suspect")
TAKE_BEHIND: Final = Script("take_behind")
TAKE_DUE: Final = Script("take_due")
TELL: Final = Script("tell")
TRIM: Final = Script("trim")
UNSETTLED: Final = Script("unsettled")
WRITE_OFF: Final = Script("write_off")
ALL: Final = (
    AGREE_KEY,
    AGREE_LAYOUT,
    BEHIND,
    CAUGHT_UP,
    CLAIM,
    COMMIT,
    ENSURE_GROUP,
    ERASE_ENTRIES,
    ERASE_FORGET,
    ERASE_TURN,
    ERASE_WINDOWS,
    FINISH,
    FORGET,
    FORGETTABLE,
    GIVE_BACK,
    NAMED,
    NOW,
    REPLAY,
    RETIRE,
    SERVER,
    STAND,
    SURVEY,
    SUSPECT,
    TAKE_BEHIND,
    TAKE_DUE,
    TELL,
    TRIM,
    UNSETTLED,
    WRITE_OFF,
)
