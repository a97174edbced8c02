"""Segments on their way to Redis, in a buffer with a bound: what is to be sent next, what a caller is told.

A segment stays in the buffer until it is confirmed; nothing else removes it. Each stream has a lane of its own, first
in, first out. A try of a lane sends its oldest segments, and confirms all of them or none; after one that failed, the
next sends a single segment, so that repeating a try whose reply is lost, or for which replicas are too few, does not
fill the stream with duplicates. No I/O and no clock here: both forms of the publisher ask this what to do.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import chain, islice

from streamproc.publisher.encoding import CHUNK, Entry
from streamproc.publisher.failures import (
    REPEATING_IS_HARMLESS,
    BufferFull,
    Pauses,
    PublishFailed,
    in_words,
    is_hopeless,
)
from streamproc.publisher.hooks import PublisherMetrics
from streamproc.publisher.transaction import Batch

#: How many segments of each stream were put so far.
Mark = dict[str, int]


class _Lane:
    """The segments of one stream that are not confirmed."""

    def __init__(self) -> None:
        self.waiting: deque[Entry] = deque()  # the oldest first
        self.put = 0
        self.sent = 0  # of those waiting: how many were sent before
        self.error: Exception | None = None  # why the last try failed, if it did

    @property
    def confirmed(self) -> int:
        return self.put - len(self.waiting)

    def batch(self) -> Batch:
        return list(islice(self.waiting, 1 if self.error else CHUNK))

    def confirm(self, count: int) -> None:
        for _ in range(count):
            self.waiting.popleft()
        self.sent -= count


class Buffer:
    """What was put and is not confirmed. One at a time may use it.

    Args:
        size: how many segments it holds.
        address: where they go, for messages.
    """

    def __init__(self, size: int, *, address: str, metrics: PublisherMetrics) -> None:
        if size < 1:
            raise ValueError(f"buffer must hold at least 1 segment, got {size}")
        self._size = size
        self._address = address
        self._metrics = metrics
        self._lanes: defaultdict[str, _Lane] = defaultdict(_Lane)
        self._pauses = Pauses()
        self._broken: Exception | None = None
        self.closed = False

    @property
    def waiting(self) -> int:
        """How many segments are not confirmed."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    @property
    def entries(self) -> list[Entry]:
        """What is not confirmed; of one stream the oldest first."""
        return list(chain.from_iterable(lane.waiting for lane in self._lanes.values()))

    @property
    def refusal(self) -> Exception | None:
        """What a person has to mend before anything else is confirmed."""
        return self._broken or next((error for error in self._errors() if is_hopeless(error)), None)

    def must_wait(self) -> bool:
        """Whether `put` has to wait for room. Where it is going to fail anyway, it need not wait for that."""
        return self.waiting >= self._size and not self.closed and self.refusal is None

    def put(self, entry: Entry, waited_s: float | None = None) -> None:
        """Take a segment.

        Args:
            waited_s: how long its caller waited for room.

        Raises:
            RuntimeError: the publisher is closed.
            PublishFailed: Redis refuses what is sent, and waiting cannot help.
            BufferFull: there is no room.
        """
        if waited_s is not None:
            self._metrics.waited_s(waited_s)
        if self.closed:
            raise RuntimeError("this publisher is closed: the segment was not taken")
        if self.refusal:
            raise self._refused()
        if self.waiting >= self._size:
            raise self._full(waited_s or 0.0)
        lane = self._lanes[entry.stream]
        lane.waiting.append(entry)
        lane.put += 1
        self._metrics.waiting(self.waiting)

    def batches(self) -> list[Batch]:
        """What is to be sent next: of each stream the oldest, at most `CHUNK`."""
        batches = [(lane, lane.batch()) for lane in self._lanes.values() if lane.waiting]
        if repeated := sum(min(lane.sent, len(batch)) for lane, batch in batches):
            self._metrics.repeated(repeated)
        for lane, batch in batches:
            lane.sent = max(lane.sent, len(batch))
        return [batch for _, batch in batches]

    def record(self, batch: Batch, error: Exception | None) -> None:
        """What became of a batch, from `batches`: confirmed as a whole, or why not."""
        lane = self._lanes[batch[0].stream]
        lane.error = error
        if error is None:
            lane.confirm(len(batch))
            self._metrics.confirmed(len(batch))
            self._metrics.waiting(self.waiting)

    def pause_s(self) -> float:
        """How long to wait before the next try: not at all, unless the last one of some stream failed."""
        if any(self._errors()):
            return self._pauses.next_s()
        self._pauses.reset()
        return 0.0

    def broke(self, error: Exception) -> None:
        """Nothing will be sent any more: the sender itself has failed."""
        self._broken = error

    def mark(self) -> Mark:
        return {stream: lane.put for stream, lane in self._lanes.items()}

    def confirmed(self, mark: Mark) -> bool:
        """Whether all that was put before the mark is confirmed."""
        return all(self._lanes[stream].confirmed >= put for stream, put in mark.items())

    def unconfirmed(self, within_s: float) -> PublishFailed:
        """For whoever waited so long for confirmation, in vain, or need not wait since waiting cannot help."""
        entries, why = self.entries, ", and waiting cannot help" if self.refusal else f" within {within_s:.3g} s"
        remedy = REPEATING_IS_HARMLESS if self.closed or self._broken else "They are kept, and sent again."
        failed = PublishFailed(
            f"{len(entries)} segments not confirmed by {self._address}{why}; {self._cause()}. "
            f"{remedy} Their events are in the attribute `unconfirmed`.",
            entries,
        )
        failed.__cause__ = self.refusal or next(self._errors(), None)
        return failed

    def _refused(self) -> PublishFailed:
        if self._broken:
            why, fate = "the sender has ended", "not sent any more: `close` gives them back"
        else:
            why = f"what is sent to {self._address} is refused, and waiting cannot help"
            fate = "kept, and sent once that is mended"
        failed = PublishFailed(
            f"this segment was not taken: {why}; {self._cause()}. {self.waiting} segments are {fate}.", self.entries
        )
        failed.__cause__ = self.refusal
        return failed

    def _full(self, waited_s: float) -> BufferFull:
        waiting = self.waiting
        return BufferFull(
            f"this segment was not taken: {waiting} segments wait for {self._address}, which is all that the buffer "
            f"holds, and there was no room within {waited_s:.3g} s; {self._cause()}. Put it again later, or give the "
            "publisher a larger `buffer` or a longer `wait_up_to_s`.",
            waiting,
        )

    def _cause(self) -> str:
        error = self.refusal or next(self._errors(), None)
        return f"last error: {in_words(error)}" if error else "no error: it confirms more slowly than is published"

    def _errors(self) -> Iterator[Exception]:
        return (lane.error for lane in self._lanes.values() if lane.error)
