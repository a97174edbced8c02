"""Every key name, made here and nowhere else. docs/formats.md lists what each holds.

The shard number stands in braces: it is the cluster's hash tag, so that all keys of a shard live in one slot
and one script may touch them together (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
"""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.core.windows import escape

# What SCAN and its kin take for a pattern: https://redis.io/docs/latest/commands/keys/
_AS_IT_IS = str.maketrans({sign: f"\\{sign}" for sign in "*?[]^\\"})


@dataclass(frozen=True, slots=True)
class WindowKeys:
    """The three keys that hold one window: its segments, and the two indexes that name it."""

    segments: str
    channel: str
    user: str


class ShardKeys:
    """The keys of one shard."""

    def __init__(self, prefix: str, shard: int) -> None:
        tagged = f"{prefix}:{{{shard}}}:"
        self._tagged = tagged
        self.stream = f"{tagged}segments"
        self.open = f"{tagged}open"
        self.taken = f"{tagged}taken"
        self.closed = f"{tagged}closed"
        self.ledger = f"{tagged}ledger"
        self.dead = f"{tagged}dead"
        self.erased = f"{tagged}erased"
        self.last_erasure = f"{tagged}last_erasure"
        self.layout = f"{tagged}layout"
        self.suspects = f"{tagged}suspects"
        self.pods = f"{tagged}pods"
        self.heard = f"{tagged}heard"
        self.behind = f"{tagged}behind"
        self.last_errors = f"{tagged}last_errors"

    def turn(self, task: str) -> str:
        """Exists while a task that one pod does for all need not be done again."""
        return f"{self._tagged}turn:{task}"

    def user(self, user_id: str) -> str:
        """The index of a user's windows."""
        return f"{self._tagged}user:{escape(user_id)}"

    def segments(self, name: str) -> str:
        """What holds a window's segments, by the window's name."""
        return f"{self._tagged}segment:{name}"

    def channel(self, hour: str, channel_id: str) -> str:
        """The index of a channel's windows of one hour."""
        return f"{self._tagged}channel:{hour}:{escape(channel_id)}"

    def names_of_session(self, session_id: str) -> str:
        """The pattern of the names of a session's windows, for SCAN and its kin."""
        return f"*:*:{escape(session_id).translate(_AS_IT_IS)}:*"

    def names_of(self, user_id: str) -> str:
        """The pattern of the names of a user's windows, for SCAN and its kin."""
        return f"*:{escape(user_id).translate(_AS_IT_IS)}"

    def segments_of(self, user_id: str) -> str:
        """The pattern of the keys of a user's windows."""
        return f"{self._tagged}segment:{self.names_of(user_id)}"

    def name_in(self, segments: bytes) -> bytes:
        """The name of the window that this key holds."""
        return segments.removeprefix(f"{self._tagged}segment:".encode())

    @property
    def channels(self) -> str:
        """The pattern of the keys of all channel indexes."""
        return f"{self._tagged}channel:*"

    def window(self, name: str) -> WindowKeys:
        """The keys of a window by its name, ``<hour>:<channel>:<session>:<user>``, identifiers escaped."""
        hour, channel, _session, user = name.split(":")
        return WindowKeys(
            segments=self.segments(name),
            channel=f"{self._tagged}channel:{hour}:{channel}",
            user=f"{self._tagged}user:{user}",
        )
