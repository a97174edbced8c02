"""What keeps session documents in step, as the settings name it: for workers and commands."""

from __future__ import annotations

from typing import Final

from streamproc.app.connections import Connections
from streamproc.metrics import Metrics
from streamproc.roles.session_keeper import SessionKeeper
from streamproc.stores.mongo.reading import MeasurementReader
from streamproc.stores.mongo.sessions import SessionStore
from streamproc.stores.redis.behind import BehindSessions
from streamproc.stores.redis.shard import Shard

# Nobody waits for session documents.
_PATIENCE_S: Final = 60.0


def make_session_keeper(connections: Connections, shard: Shard, metrics: Metrics) -> SessionKeeper:
    """The keeper of a shard's sessions."""
    settings = connections.settings
    sessions, measurements = stores_of(connections)
    behind = BehindSessions(shard)
    return SessionKeeper(behind, sessions, measurements, metrics, settings.session_policy, shard=shard.number)


def stores_of(connections: Connections) -> tuple[SessionStore, MeasurementReader]:
    """The session documents, and the measurements that their totals come from."""
    sessions = SessionStore(connections.database, connections.settings.sessions_collection)
    return sessions, MeasurementReader(connections.database, silence_s=_PATIENCE_S)
