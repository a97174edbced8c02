"""What a person is told when a server fails us, whichever it is. The words are with each store, in its `failures`."""

from __future__ import annotations

from typing import Final

from pymongo.errors import PyMongoError

from streamproc.core.failures import Explanation
from streamproc.stores.archive import failures as archive
from streamproc.stores.mongo import failures as mongo
from streamproc.stores.mongo.collection import CollectionMismatch
from streamproc.stores.mongo.collection import ServerTooOld as MongoTooOld
from streamproc.stores.redis import failures as redis
from streamproc.stores.redis.connect import ServerTooOld as RedisTooOld
from streamproc.stores.redis.shard import LayoutMismatch

#: A server is away, or refuses us.
SERVER_FAILURES: Final = (*redis.FAILURES, *mongo.FAILURES, *archive.FAILURES)


class MustNotRun(RuntimeError):
    """A server answers, and only other settings make it one that this process can work with. The message says which."""


#: Server or data do not suit these settings. The messages say all that a person needs.
UNSUITABLE: Final = (LayoutMismatch, CollectionMismatch, MongoTooOld, RedisTooOld, MustNotRun)


def explain(error: BaseException) -> Explanation:
    """Cause and remedy of one of `SERVER_FAILURES`. Never a password or a user's id."""
    if isinstance(error, archive.ArchiveTrouble):
        return error.explanation
    return mongo.explain(error) if isinstance(error, PyMongoError) else redis.explain(error)


def server_of(error: BaseException) -> str:
    """Whose error it is: ``redis``, ``mongodb`` or ``archive``."""
    if isinstance(error, archive.ArchiveTrouble):
        return "archive"
    return "mongodb" if isinstance(error, PyMongoError) else "redis"
