"""Small numbers, so that a short schedule meets every limit. Times are milliseconds."""

from __future__ import annotations

from typing import Final

from streamproc.core.windows import Windowing

WINDOWING: Final = Windowing(length_ms=10_000, grace_ms=1_000, horizon_ms=30_000, quiet_ms=1_000, future_ms=5_000)

#: Entries that a consumer reads at once.
BATCH: Final = 3
#: After so long a pending entry is taken over, and so often somebody looks for such.
CLAIM_IDLE_MS: Final = 2_000
CLAIM_EVERY_MS: Final = 2_000
#: Pending entries that one XAUTOCLAIM looks at. Redis: ten times COUNT. Here twice, so that a round has several calls.
CLAIM_LOOKS_AT: Final = 2 * BATCH
#: Deliveries from which on an entry is tried alone.
POISON_DELIVERIES: Final = 3
#: How many must have begun to try an entry alone, and not finished, before it is poison.
FATAL_TRIALS: Final = 2

#: Windows that a flusher takes at once, and for how long they are its own.
FLUSH_WINDOWS: Final = 3
VISIBILITY_MS: Final = 2_000

FORGET_WINDOWS: Final = 2
ERASE_WINDOWS: Final = 2
CONSUMER_IDLE_MS: Final = 3_000
SWEEP_MS: Final = 20_000
AGAIN_MS: Final = 20_000
#: Whoever applies all erasures again, and dies over it, is replaced by another after this time.
LEASE_MS: Final = 2_000

#: `XTRIM ~` removes whole nodes of this many entries.
NODE: Final = 2
