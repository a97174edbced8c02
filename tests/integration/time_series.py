"""Measurements for the tests of the time-series collection, folded from segments like real ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from streamproc.core.details import Detail
from streamproc.core.fold import fold
from streamproc.core.revisions import Stored
from streamproc.core.windows import WindowKey

HOUR_MS = 3_600_000
# Long past, but well within the 90 days after which MongoDB deletes: it would do so in the middle of a test.
FIRST_HOUR_MS = (int(time.time() * 1000) // HOUR_MS - 240) * HOUR_MS

Document = dict[str, Any]


def window(hour: int = 0, *, channel: str = "sports", session: str = "s-1", user: str = "u-1") -> WindowKey:
    return WindowKey(FIRST_HOUR_MS + hour * HOUR_MS, channel, session, user)


def measurement(
    key: WindowKey, *, segments: int = 3, write: int = 1, languages: Mapping[str, int] | None = None
) -> Document:
    """The document of window `key` with that many segments; `languages` replaces the tally of source languages."""
    held = {f"seg-{number}": _detail(key.start_ms + number) for number in range(segments)}
    document = fold(key, held).document(write)
    return document | ({"source_languages": dict(languages)} if languages is not None else {})


def stored(document: Document, key: WindowKey) -> Stored:
    """What a look-up of `key` says of `document`."""
    metadata = document["metadata"]
    return Stored(key, metadata["revision"], metadata["write"], document["segments_digest"])


def _detail(received_at_ms: int) -> Detail:
    return Detail(
        received_at_us=received_at_ms * 1000,
        extraction_us=45_200,
        dubbing_us=1_100_250,
        reinsertion_us=55_000,
        total_us=1_200_450,
        original_bytes=2_097_152,
        dubbed_bytes=2_104_320,
        source_language="he",
        target_language="en",
    )
