"""What requests look like on the wire, as far as a proxy must know one from another."""

from __future__ import annotations

import hashlib
from typing import Final

from streamproc.stores.redis import scripts

#: What a request for a command begins with: in MongoDB's messages, an element of type string, named for the command.
INSERT: Final = b"\x02insert\x00"
MONGODB_REQUESTS: Final = (INSERT, b"\x02find\x00", b"\x02delete\x00")
_SCRIPTS: Final = ("commit", "claim", "take_due", "finish")
WORKER_REQUESTS: Final = (
    b"XREADGROUP",
    *(hashlib.sha1(scripts.source(name).encode()).hexdigest().encode() for name in _SCRIPTS),
)
REDIS_REQUESTS: Final = (b"XADD", *WORKER_REQUESTS)
