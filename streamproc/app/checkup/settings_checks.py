"""Do the settings of this process make sense together? Each by itself is checked when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from streamproc.app.checkup.diagnosis import Check, Diagnosis, red, yellow
from streamproc.app.settings import Settings
from streamproc.stores.mongo.collection import EXPIRE_AFTER_SECONDS

_CLAIM_COMMITS: Final = 4

RETENTION = Check(
    "retention",
    "read entries stay long enough to be looked at",
    short=yellow(
        "STREAMPROC_STREAM_RETENTION_SECONDS is below STREAMPROC_CLAIM_IDLE_SECONDS: nothing is lost, but an entry "
        "may be gone before anybody can see what became of it",
        "Raise STREAMPROC_STREAM_RETENTION_SECONDS",
    ),
)
HORIZON = Check(
    "horizon",
    "windows are final long before MongoDB expires them",
    beyond=red(
        f"window and horizon together reach the {EXPIRE_AFTER_SECONDS // 86_400} days after which MongoDB expires: "
        "Redis never finds stored what it wants to forget",
        "Lower STREAMPROC_LATE_HORIZON_SECONDS",
    ),
)
CLAIM = Check(
    "claim time",
    "nobody takes over what a worker is still gathering",
    hasty=yellow(
        f"STREAMPROC_CLAIM_IDLE_SECONDS is below {_CLAIM_COMMITS} times STREAMPROC_COMMIT_INTERVAL_SECONDS: workers "
        "take entries from each other",
        "Raise STREAMPROC_CLAIM_IDLE_SECONDS, or lower STREAMPROC_COMMIT_INTERVAL_SECONDS",
    ),
)
CHECKS: Final = (RETENTION, HORIZON, CLAIM)


def check_settings(settings: Settings) -> Iterator[Diagnosis]:
    kept_s, claim_s = settings.stream_retention_seconds, settings.claim_idle_seconds
    found = f"entries stay for {kept_s:g} s"
    yield RETENTION.trouble("short", found) if kept_s < claim_s else RETENTION.ok(found)
    final_s = settings.window_seconds + settings.late_horizon_seconds
    found = f"a window is final {final_s:g} s after its start"
    yield HORIZON.trouble("beyond", found) if final_s >= EXPIRE_AFTER_SECONDS else HORIZON.ok(found)
    found = f"entries are taken over after {claim_s:g} s"
    hasty = claim_s < _CLAIM_COMMITS * settings.commit_interval_seconds
    yield CLAIM.trouble("hasty", found) if hasty else CLAIM.ok(found)
