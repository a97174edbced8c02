"""What was published and must therefore be stored: sets of segments, worked out without the product.

Without a failover, an hour holds exactly the segments published for it. A failover may lose entries that were added
after the replica had come as far as it did. Then an hour holds at least as many segments as survived, and none that
was never published: which ones it holds is read off its digest, and every figure must be that of exactly these.

An erasure covers windows: of these nothing must be stored, whatever was published for them and when, nothing may name
them, and of their user nothing must be left in the streams that was added before.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

from streamproc.demo.oracle import Kind, Oracle

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Window = tuple[datetime, str, str, str]


@dataclass(slots=True)
class Published:
    """One entry that was added to the stream, and acknowledged to its producer."""

    entry_id: str
    added_ms: int
    kind: Kind
    event: dict[str, Any]
    lost_in_failover: bool = False


class Truth:
    """Every entry that was published, and what follows from it.

    Attributes:
        is_erased: whether a window of this user that starts at this time is covered by an erasure.
    """

    def __init__(self, *, length_ms: int, horizon_ms: int, future_ms: int) -> None:
        self._length = length_ms * _MILLISECOND
        self._horizon = horizon_ms * _MILLISECOND
        self._future = future_ms * _MILLISECOND
        self.entries: list[Published] = []
        self.is_erased: Callable[[str, int], bool] = lambda _user_id, _start_ms: False

    def published(self, entry_id: str, added_ms: int, event: dict[str, Any]) -> Published:
        entry = Published(entry_id, added_ms, self._kind(event, _EPOCH + added_ms * _MILLISECOND), event)
        self.entries.append(entry)
        return entry

    def of_kinds(self, *kinds: Kind) -> range:
        """How many entries of these kinds there are. Those of an erased user need not have been judged."""
        judged = [entry for entry in self.entries if entry.kind in kinds]
        return range(sum(not self._of_erased(entry.event) for entry in judged), len(judged) + 1)

    def segments(self) -> range:
        """How many must be counted, each once. Those of an erased user need not have been."""
        windows = self._windows()
        kept = sum(len(segments) for window, segments in windows.items() if not self._is_erased(window))
        return range(kept, sum(map(len, windows.values())) + 1)

    def differences(self, documents: Iterable[Mapping[str, Any]]) -> list[str]:
        """Every way in which what is stored is not what was published; empty means exact."""
        documents = list(documents)
        oracle = Oracle(self._length.total_seconds())
        found = list(self._held(documents, oracle))
        return found + [str(difference) for difference in oracle.compare(documents)]

    def on_time(self, document: Mapping[str, Any], grace_ms: int) -> set[str]:
        """The segments of a document's window that were added before its end plus grace."""
        window = _window_of(document["metadata"])
        end_ms = _ms(window[0] + self._length)
        return {
            entry.event["segment_id"]
            for entry in self.entries
            if entry.kind is Kind.GOOD and self._window(entry.event) == window and entry.added_ms < end_ms + grace_ms
        }

    def _held(self, documents: list[Mapping[str, Any]], oracle: Oracle) -> Iterator[str]:
        """Tell the oracle which segments each hour has to hold, and complain where they are too few."""
        stored: dict[Window, Mapping[str, Any]] = {}
        for document in documents:
            window = _window_of(document["metadata"])
            stored[window] = max(stored.get(window, document), document, key=_rank)
        survived = self._windows(survivors_only=True)
        for window, segments in self._windows().items():
            if self._is_erased(window):
                continue
            least = len(survived.get(window, ()))
            held: Iterable[str] | None = segments
            if least < len(segments):
                held = _held_by(stored.get(window), segments)
                if held is None:
                    yield f"{window}: the digest is of no set of segments that was published for it"
                elif len(list(held)) < least:
                    yield f"{window}: holds {sorted(held)}, and {sorted(survived[window])} survived"
            for segment_id in held or ():
                oracle.record(Kind.GOOD, segments[segment_id])

    def _windows(self, *, survivors_only: bool = False) -> dict[Window, dict[str, dict[str, Any]]]:
        windows: defaultdict[Window, dict[str, dict[str, Any]]] = defaultdict(dict)
        for entry in self.entries:
            if entry.kind is Kind.GOOD and not (survivors_only and entry.lost_in_failover):
                windows[self._window(entry.event)][entry.event["segment_id"]] = entry.event
        return windows

    def _of_erased(self, event: Mapping[str, Any]) -> bool:
        return self.is_erased(event["user_id"], _ms(self._start(event)))

    def _is_erased(self, window: Window) -> bool:
        return self.is_erased(window[3], _ms(window[0]))

    def _window(self, event: Mapping[str, Any]) -> Window:
        return self._start(event), event["channel_id"], event["session_id"], event["user_id"]

    def _start(self, event: Mapping[str, Any]) -> datetime:
        received_at: datetime = event["received_at"]
        return _EPOCH + (received_at - _EPOCH) // self._length * self._length

    def _kind(self, event: Mapping[str, Any], added_at: datetime) -> Kind:
        if not event.get("session_id"):
            return Kind.MALFORMED
        if event["received_at"] > added_at + self._future:
            return Kind.FUTURE
        if added_at > self._start(event) + self._length + self._horizon:
            return Kind.TOO_LATE
        return Kind.GOOD


def _held_by(document: Mapping[str, Any] | None, published: Iterable[str]) -> tuple[str, ...] | None:
    """The segments of which a document is, found by trying; None if it is of no such set."""
    if document is None:
        return ()
    wanted: str = document["segments_digest"]
    revision: int = document["metadata"]["revision"]
    for segments in combinations(sorted(published), revision):
        if digest(segments) == wanted:
            return segments
    return None


def digest(segment_ids: Iterable[str]) -> str:
    """The name of a set of segments, as docs/formats.md has it."""
    return hashlib.sha256("\n".join(sorted(segment_ids)).encode()).hexdigest()[:32]


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _window_of(metadata: Mapping[str, Any]) -> Window:
    return metadata["hour"], metadata["channel_id"], metadata["session_id"], metadata["user_id"]


def _rank(document: Mapping[str, Any]) -> tuple[int, int]:
    return document["metadata"]["revision"], document["metadata"]["write"]
