"""How many entries to ask for, so that what comes fits into memory whatever the entries' size.

Redis tells no sizes beforehand. So a consumer begins small, doubles while what it gets is small, and falls back at once
when entries turn out large. At the usual half kilobyte it asks for its full batch from the sixth on.
"""

from __future__ import annotations

from typing import Final

_FIRST: Final = 64
_MOST_BYTES: Final = 16 * 1024 * 1024


class Appetite:
    """The size of the next batch.

    Args:
        most: never ask for more entries than this.
        most_bytes: about how many bytes a batch may have.
    """

    def __init__(self, most: int, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self.entries = min(_FIRST, most)

    def fed(self, entries: int, size_bytes: int) -> None:
        """A batch of `entries` entries and `size_bytes` bytes came."""
        if not entries:
            return
        fitting = self._most_bytes * entries // max(1, size_bytes)
        self.entries = max(1, min(self._most, fitting, 2 * self.entries))
