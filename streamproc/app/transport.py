"""Faust insists on a broker. This one is never connected: a service of ours reads the stream (docs/adr/0003)."""

from __future__ import annotations

from typing import Final

from faust.transport import drivers
from faust.transport.drivers.aiokafka import Transport

SCHEME: Final = "none"
BROKER: Final = f"{SCHEME}://"


class NoTransport(Transport):
    """Kafka's transport, under a name that says it is not used: Faust makes its objects and never starts them."""


drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:{NoTransport.__name__}"
