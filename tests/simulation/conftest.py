from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamproc.embedded import start_valkey

from .redis_under_faults import SERVER_ARGUMENTS, Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with start_valkey(extra_args=SERVER_ARGUMENTS) as valkey:
        simulated = Server(valkey.port)
        yield simulated
        simulated.close()
