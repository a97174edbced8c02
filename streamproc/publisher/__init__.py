"""Publishing finished segments: validate, pick the shard, XADD, repeat until confirmed.

Two forms with the same words: `SegmentPublisher` for asyncio, `BlockingSegmentPublisher` for plain threads. Both are
thin. What they share is pure:

    encoding   event -> entry of its shard's stream
    delivery   entries and replies -> what is to be sent again, and when to give up

Whoever publishes loads neither Faust nor MongoDB.
"""

from streamproc.core.events import InvalidEvent
from streamproc.publisher.blocking import BlockingSegmentPublisher
from streamproc.publisher.concurrent import SegmentPublisher
from streamproc.publisher.delivery import PublishFailed

__all__ = ["BlockingSegmentPublisher", "InvalidEvent", "PublishFailed", "SegmentPublisher"]
