"""Publishing finished segments: validate, pick the shard, XADD, repeat until confirmed.

Two ways, each in two forms with the same words, for asyncio and (`Blocking...`) for plain threads:

    SegmentPublisher            `publish` returns when Redis has confirmed the segment
    BufferedSegmentPublisher    `put` returns at once; the segment is confirmed in the background

The forms are thin. What they share is pure:

    encoding      event -> entry of its shard's stream
    delivery      entries and replies -> what is to be sent again, and when to give up
    buffer        the same for a buffer with a bound: what is sent next, what a caller is told
    transaction   batches -> commands; replies -> what became of each batch
    failures      what passes by waiting, and what callers catch

Whoever publishes loads neither Faust nor MongoDB. The page for users is docs/publishing.md.
"""

from streamproc.core.events import InvalidEvent
from streamproc.publisher.blocking import BlockingSegmentPublisher
from streamproc.publisher.buffered import BufferedSegmentPublisher
from streamproc.publisher.buffered_blocking import BlockingBufferedSegmentPublisher
from streamproc.publisher.concurrent import SegmentPublisher
from streamproc.publisher.failures import BufferFull, PublishFailed
from streamproc.publisher.hooks import PublisherMetrics

__all__ = [
    "BlockingBufferedSegmentPublisher",
    "BlockingSegmentPublisher",
    "BufferFull",
    "BufferedSegmentPublisher",
    "InvalidEvent",
    "PublishFailed",
    "PublisherMetrics",
    "SegmentPublisher",
]
