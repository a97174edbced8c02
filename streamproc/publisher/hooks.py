"""What a buffered publisher tells of itself while it works."""

from __future__ import annotations


class PublisherMetrics:
    """Told what a buffered publisher does. Does nothing: override what you want to know.

    Called in `put` and from the sender, by one at a time: be quick, do not call the publisher, do not raise. An
    exception raised here in the sender ends it, and comes out of the next `put`, `flush` or `close`.
    """

    def confirmed(self, segments: int) -> None:
        """So many more segments are in Redis, and on as many replicas as were asked for."""

    def repeated(self, segments: int) -> None:
        """So many segments were sent again, since they were not confirmed. They still count once."""

    def waiting(self, segments: int) -> None:
        """So many segments are in the buffer now."""

    def waited_s(self, seconds: float) -> None:
        """A `put` met a full buffer, and waited so long for room, whether it got any or not."""
