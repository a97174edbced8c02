"""Session documents as their owners have them: the old model, its nine indexes, and a judge of what is added to them.

Fields and indexes are those of the product's `LiveDubbingSession`. Its base class is Beanie's `Document`, a pydantic
model that passes over fields which it does not know; so does this one.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from streamproc.stores.mongo.collection import COLLECTION as MEASUREMENTS
from streamproc.stores.mongo.sessions import COLLECTION as SESSIONS

THIRTY_DAYS_S: Final = 30 * 86_400
INDEXES: Final = [
    IndexModel([("session_id", ASCENDING)], unique=True),
    IndexModel([("user_id", ASCENDING)]),
    IndexModel([("channel_id", ASCENDING)]),
    IndexModel([("status", ASCENDING)]),
    IndexModel([("started_at", DESCENDING)]),
    IndexModel([("user_id", ASCENDING), ("status", ASCENDING)]),
    IndexModel([("channel_id", ASCENDING), ("status", ASCENDING)]),
    IndexModel([("status", ASCENDING), ("last_activity_at", ASCENDING)]),
    IndexModel(
        [("ended_at", ASCENDING)],
        expireAfterSeconds=THIRTY_DAYS_S,
        partialFilterExpression={"status": "completed"},
    ),
]


class DubbingMetrics(BaseModel):
    """What the product itself keeps of a session."""

    segments_processed: int = 0
    avg_latency_ms: float = 0.0
    error_count: int = 0


class LiveDubbingSession(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    session_id: str
    user_id: str
    channel_id: str
    source_language: str = "he"
    target_language: str = "en"
    voice_id: str
    status: str = "active"
    started_at: datetime
    ended_at: datetime | None
    last_activity_at: datetime
    sync_delay_ms: int = 600
    metrics: DubbingMetrics
    last_error: str | None
    platform: str = "web"


def old_session(session_id: str, started_at: datetime, **fields: Any) -> dict[str, Any]:
    """A document as the old model writes it."""
    written = {
        "_id": ObjectId(),
        "session_id": session_id,
        "user_id": "dana",
        "channel_id": "kan-11",
        "voice_id": "voice-7",
        "started_at": started_at,
        "ended_at": None,
        "last_activity_at": started_at,
        "metrics": {"segments_processed": 17, "avg_latency_ms": 1203.5, "error_count": 1},
        "last_error": "the product's own",
        **fields,
    }
    return LiveDubbingSession.model_validate(written).model_dump(by_alias=True)


_SUMS: Final = (
    *("segments_processed", "error_count", "retry_count", "total_original_bytes", "total_dubbed_bytes"),
    *("total_processing_time_ms", "sum_extraction_ms", "sum_dubbing_ms", "sum_reinsertion_ms"),
)


#: Measurements by session and user, then by hour and channel.
Hours = dict[tuple[str, str], dict[tuple[Any, str], dict[str, Any]]]


async def differences(database: Any, sessions: str = SESSIONS) -> list[str]:
    """Where a document's totals are not the sum of its stored hours, or a document without hours has any.

    Knows nothing of how the totals are made: it goes through both collections and adds up.
    """
    hours: Hours = {}
    async for hour in database[MEASUREMENTS].find():
        metadata = hour["metadata"]
        of_session = hours.setdefault((metadata["session_id"], metadata["user_id"]), {})
        key = metadata["hour"], metadata["channel_id"]
        held = of_session.get(key)
        rank = metadata["revision"], metadata["write"]
        if held is None or rank > (held["metadata"]["revision"], held["metadata"]["write"]):
            of_session[key] = hour
    documents = [one async for one in database[sessions].find()]
    # Long work on many: the client, which looks after its connections, must not be kept from that.
    return await asyncio.to_thread(_compare, documents, hours)


def _compare(documents: list[dict[str, Any]], hours: Hours) -> list[str]:
    found = []
    for document in documents:
        name = document["session_id"]
        expected = _added(list(hours.get((name, document["user_id"]), {}).values()))
        held = document.get("hourly_metrics")
        got = {field: _whole(held[field]) for field in expected or _SUMS} if held and held["windows"] else None
        if got != expected:
            found.append(f"{name}: {got}, and its hours come to {expected}")
    return found


def _added(hours: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not hours:
        return None
    sums = {name: sum(_whole(hour[name]) for hour in hours) for name in _SUMS}
    languages: dict[str, int] = {}
    for hour in hours:
        for language, count in hour["target_languages"].items():
            languages[language] = languages.get(language, 0) + count
    return {
        **sums,
        "windows": len(hours),
        "target_languages": languages,
        "first_segment_at": min(hour["first_segment_at"] for hour in hours),
        "last_segment_at": max(hour["last_segment_at"] for hour in hours),
        "last_hour": max(hour["timestamp"] for hour in hours),
    }


def _whole(value: Any) -> Any:
    """Milliseconds as whole microseconds: sums of these are exact."""
    return round(value * 1000) if isinstance(value, float) else value
