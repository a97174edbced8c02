"""How long a replica has been without something that its primary had: the age of what a failover would lose.

Redis tells how far each is in bytes, and no time of it. (Its `lag` is how long ago a replica was last heard of, which a
replica that is heard of and far behind has as 0.) So one remembers when the primary was how far.
"""

from __future__ import annotations

from collections import deque
from typing import Final

# At a look a second: an hour.
_MOST: Final = 3600


class ReplicaLag:
    """Of the replica that is furthest behind. Offsets are bytes; time is an argument and may be of any clock."""

    def __init__(self, most: int = _MOST) -> None:
        #: (when, how far the primary was), oldest first; none that every replica has.
        self._lacking: deque[tuple[int, int]] = deque()
        self._most = most

    def observe(self, now_ms: int, written: int, replicas: tuple[int, ...]) -> int | None:
        """How long ago, in ms, the primary already had what a replica still lacks; None without replicas.

        It is at least that: what lies before the first look, or further back than is remembered, is not known.

        Args:
            written: how far the primary is.
            replicas: how far each of them is.
        """
        if not replicas or (self._lacking and written < self._lacking[-1][1]):
            self._lacking.clear()  # nobody to wait for, or another primary, which counts otherwise
        if not replicas:
            return None
        slowest = min(replicas)
        while self._lacking and self._lacking[0][1] <= slowest:
            self._lacking.popleft()
        if written > slowest and len(self._lacking) < self._most:
            self._lacking.append((now_ms, written))
        return max(0, now_ms - self._lacking[0][0]) if self._lacking else 0
