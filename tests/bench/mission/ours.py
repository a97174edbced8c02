"""Our option: one measurement for each window, in the time-series collection, as the product makes and stores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel

from streamproc.core.fold import fold
from streamproc.core.revisions import write_number
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo.collection import COLLECTION, INDEXED, META_FIELD, TIME_FIELD

from .data import Segment, date, detail_of
from .option import Document, Option, Pipeline, truncated

_SUMS: Final = {
    "segments": {"$sum": "$segments_processed"},
    "errors": {"$sum": "$error_count"},
    "total_ms": {"$sum": "$total_processing_time_ms"},
    "original_bytes": {"$sum": "$total_original_bytes"},
    "dubbed_bytes": {"$sum": "$total_dubbed_bytes"},
}


def document(key: WindowKey, segments: Sequence[Segment], random_bits: int) -> Document:
    """What a flush stores of one window."""
    measurement = fold(key, {one.segment_id: detail_of(one) for one in segments})
    return measurement.document(write_number(key.start_ms, random_bits))


def _of_channel(channel_id: str, since_ms: int, until_ms: int) -> Document:
    return {"metadata.channel_id": channel_id, **_between(since_ms, until_ms)}


def _of_user(user_id: str, since_ms: int, until_ms: int) -> Document:
    return {"metadata.user_id": user_id, **_between(since_ms, until_ms)}


def _between(since_ms: int, until_ms: int) -> Document:
    return {"timestamp": {"$gte": date(since_ms), "$lt": date(until_ms)}}


def _sums(selected: Document, by: str | None) -> Pipeline:
    return [{"$match": selected}, {"$group": {"_id": truncated("$timestamp", by), **_SUMS}}, {"$sort": {"_id": 1}}]


_WINDOW: Final = {
    "hour": "$timestamp",
    **{name: f"$metadata.{name}" for name in ("channel_id", "session_id", "user_id")},
}

OURS: Final = Option(
    name="a measurement per window",
    collection=COLLECTION,
    #: A time-series collection is a view of its buckets, and these are dumped: https://jira.mongodb.org/browse/TOOLS-2857
    stored_in=f"system.buckets.{COLLECTION}",
    indexes=[IndexModel([(f"{META_FIELD}.{name}", ASCENDING), (TIME_FIELD, DESCENDING)]) for name in INDEXED],
    of_channel=_of_channel,
    of_user=_of_user,
    sums=_sums,
    by_window=[{"$group": {"_id": _WINDOW, **_SUMS}}],
)
