"""streamproc: exact hourly measurements from a stream of dubbed segments.

Importing the package is cheap: what a publisher needs is loaded when it is first asked for, and nothing of it pulls in
Faust or MongoDB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["BlockingSegmentPublisher", "InvalidEvent", "PublishFailed", "SegmentPublisher", "__version__"]

if TYPE_CHECKING:
    from streamproc.core.events import InvalidEvent
    from streamproc.publisher import BlockingSegmentPublisher, PublishFailed, SegmentPublisher


def __getattr__(name: str) -> Any:
    if name == "InvalidEvent":
        from streamproc.core.events import InvalidEvent  # noqa: PLC0415

        return InvalidEvent
    if name in ("SegmentPublisher", "BlockingSegmentPublisher", "PublishFailed"):
        from streamproc import publisher  # noqa: PLC0415

        return getattr(publisher, name)
    raise AttributeError(f"module 'streamproc' has no attribute {name!r}")
