"""Option A of the review: a document for each segment, in an ordinary collection.

The document is the review's, with its types, and five fields that it leaves out: without them the collection could not
answer the review's own questions (whose, from where, in which languages, how often tried again).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import bson
from bson import ObjectId
from pymongo import ASCENDING, IndexModel

from streamproc.core.windows import WindowKey

from .data import Segment, date
from .option import Document, Option, Pipeline, truncated

CHANNEL_INDEX: Final = "channel_id_1_received_at_1"
_COLLECTION: Final = "dubbing_video_segments"
_ADDED: Final = ("user_id", "platform", "source_language", "target_language", "retry_count")
_STARTED_AFTER: Final = timedelta(milliseconds=3)
_TOTAL_MS: Final = {"$add": ["$timings.extraction_ms", "$timings.dubbing_ms", "$timings.reinsertion_ms"]}
_SUMS: Final = {
    "segments": {"$sum": 1},
    "errors": {"$sum": {"$cond": [{"$gt": ["$error", None]}, 1, 0]}},
    "total_ms": {"$sum": _TOTAL_MS},
    "original_bytes": {"$sum": "$sizes.original_bytes"},
    "dubbed_bytes": {"$sum": "$sizes.dubbed_bytes"},
}


def documents(key: WindowKey, segments: Iterable[Segment]) -> list[Document]:
    """The documents of one window's segments, in their order."""
    channel, session, user = ObjectId(key.channel_id), ObjectId(key.session_id), ObjectId(key.user_id)
    return [
        {
            "channel_id": channel,
            "session_id": session,
            "segment_id": one.segment_id,
            "received_at": (received_at := date(one.received_at_ms)),
            "processing_started_at": received_at + _STARTED_AFTER,
            "processing_ended_at": received_at + _STARTED_AFTER + timedelta(milliseconds=one.total_ms),
            "timings": {
                "extraction_ms": one.extraction_ms,
                "dubbing_ms": one.dubbing_ms,
                "reinsertion_ms": one.reinsertion_ms,
            },
            "sizes": {"original_bytes": one.original_bytes, "dubbed_bytes": one.dubbed_bytes},
            "error": one.error,
            "user_id": user,
            "platform": "web",
            "source_language": "he",
            "target_language": one.target_language,
            "retry_count": one.retry_count,
        }
        for one in segments
    ]


def bytes_as_written(document: Document) -> int:
    """The size in BSON of a document with no more than the review's own fields, `_id` included."""
    own = {name: value for name, value in document.items() if name not in _ADDED}
    return len(bson.encode({"_id": ObjectId(), **own}))


def _of_channel(channel_id: str, since_ms: int, until_ms: int) -> Document:
    return {"channel_id": ObjectId(channel_id), **_between(since_ms, until_ms)}


def _of_user(user_id: str, since_ms: int, until_ms: int) -> Document:
    return {"user_id": ObjectId(user_id), **_between(since_ms, until_ms)}


def _between(since_ms: int, until_ms: int) -> Document:
    return {"received_at": {"$gte": date(since_ms), "$lt": date(until_ms)}}


def _sums(selected: Document, by: str | None) -> Pipeline:
    return [{"$match": selected}, {"$group": {"_id": truncated("$received_at", by), **_SUMS}}, {"$sort": {"_id": 1}}]


_WINDOW: Final = {
    "hour": truncated("$received_at", "hour"),
    **{name: {"$toString": f"${name}"} for name in ("channel_id", "session_id", "user_id")},
}

OPTION_A: Final = Option(
    name="a document per segment",
    collection=_COLLECTION,
    stored_in=_COLLECTION,
    #: The one that the review names, and the one without which a question or an erasure of a user would scan all.
    indexes=(
        IndexModel([("channel_id", ASCENDING), ("received_at", ASCENDING)], name=CHANNEL_INDEX),
        IndexModel([("user_id", ASCENDING), ("received_at", ASCENDING)]),
    ),
    of_channel=_of_channel,
    of_user=_of_user,
    sums=_sums,
    by_window=[{"$group": {"_id": _WINDOW, **_SUMS}}],
)
