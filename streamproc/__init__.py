"""streamproc: exact hourly measurements from a stream of dubbed segments.

Importing the package is cheap: what a publisher needs is loaded when it is first asked for, and nothing of it pulls in
Faust or MongoDB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "BlockingBufferedSegmentPublisher",
    "BlockingSegmentPublisher",
    "BufferFull",
    "BufferedSegmentPublisher",
    "DubbingMetricsService",
    "InvalidEvent",
    "PublishFailed",
    "PublisherMetrics",
    "SegmentPublisher",
    "__version__",
    "gdpr_delete_user_dubbing_data",
]

if TYPE_CHECKING:
    from streamproc.answers.service import DubbingMetricsService
    from streamproc.app.erasing import gdpr_delete_user_dubbing_data
    from streamproc.core.events import InvalidEvent
    from streamproc.publisher import (
        BlockingBufferedSegmentPublisher,
        BlockingSegmentPublisher,
        BufferedSegmentPublisher,
        BufferFull,
        PublisherMetrics,
        PublishFailed,
        SegmentPublisher,
    )


def __getattr__(name: str) -> Any:
    if name == "InvalidEvent":
        from streamproc.core.events import InvalidEvent  # noqa: PLC0415

        return InvalidEvent
    if name == "DubbingMetricsService":
        from streamproc.answers.service import DubbingMetricsService  # noqa: PLC0415

        return DubbingMetricsService
    if name == "gdpr_delete_user_dubbing_data":
        from streamproc.app.erasing import gdpr_delete_user_dubbing_data  # noqa: PLC0415

        return gdpr_delete_user_dubbing_data
    if name in __all__:
        from streamproc import publisher  # noqa: PLC0415

        return getattr(publisher, name)
    raise AttributeError(f"module 'streamproc' has no attribute {name!r}")
