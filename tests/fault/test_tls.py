"""Workers that reach Redis and MongoDB over TLS, under an authority of our own, while connections are cut.

Redis' server here is the system's: the wheel's Valkey is built without TLS.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
from certificates import Certificates, make_certificates
from chaos.proxy import Proxy
from pods import get, pods, troubles, until

from streamproc.embedded import start_mongod, start_redis
from streamproc.publisher.blocking import BlockingSegmentPublisher

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None and os.environ.get("STREAMPROC_REQUIRE_TOOLS") != "1",
    reason="no redis-server on PATH, the one that speaks TLS",
)
CUTS = 5


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def redis_port(certificates: Certificates) -> Iterator[int]:
    """Where a Redis speaks TLS."""
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(certificates.authority)]
    options += ["--tls-cert-file", str(certificates.certificate), "--tls-key-file", str(certificates.key)]
    with start_redis(extra_args=options):
        yield port


@pytest.fixture(scope="module")
def mongodb_port(certificates: Certificates) -> Iterator[int]:
    """Where a MongoDB speaks TLS with whoever begins with it."""
    with start_mongod(extra_args=mongod_options(certificates)) as server:
        yield server.port


def mongod_options(certificates: Certificates) -> list[str]:
    files = ["--tlsCertificateKeyFile", str(certificates.both), "--tlsCAFile", str(certificates.authority)]
    return ["--tlsMode", "allowTLS", "--tlsAllowConnectionsWithoutCertificates", *files]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_url(port: int, authority: Path) -> str:
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority}"


def mongodb_url(port: int, authority: Path) -> str:
    return f"mongodb://127.0.0.1:{port}/?tls=true&tlsCAFile={authority}"


async def test_every_hour_is_exact_over_tls_while_connections_are_cut(
    certificates: Certificates, redis_port: int, mongodb_port: int
) -> None:
    rng = random.Random(7)
    authority = certificates.authority
    async with (
        Proxy(redis_port, rng) as to_redis,
        Proxy(mongodb_port, rng) as to_mongodb,
        pods(redis_url(redis_port, authority), mongodb_url(mongodb_port, authority), SWEEP_SECONDS="1") as system,
    ):
        through = {
            "REDIS_URL": redis_url(to_redis.port, authority),
            "MONGODB_URL": mongodb_url(to_mongodb.port, authority),
        }
        workers = [await system.start(**through) for _ in range(2)]
        async with system.load(800):
            for _ in range(CUTS):
                goal = await system.counted() + 200

                async def counted(goal: int = goal) -> bool:
                    return await system.counted() >= goal

                await until(counted, system.logs)
                assert to_redis.cut() > 0
                to_mongodb.cut()
        await system.assert_exact_once_swept()
        for worker in workers:
            assert worker.ended is None
            assert not [line for line in troubles(worker) if "Traceback" in line]
    encrypted = tls_connections(mongodb_port)
    assert sum(encrypted.values()) > 0


def tls_connections(port: int) -> dict[str, int]:
    """How many connections mongod has had over TLS, by version."""
    with pymongo.MongoClient[dict[str, dict[str, int]]]("127.0.0.1", port) as client:
        counts: dict[str, int] = client.admin.command("serverStatus")["transportSecurity"]
    return counts


async def test_a_worker_that_does_not_know_the_authority_says_which_setting_names_it(
    certificates: Certificates, redis_port: int, mongodb_port: int, tmp_path: Path
) -> None:
    stranger = make_certificates(tmp_path).authority
    authority = certificates.authority
    async with pods(redis_url(redis_port, authority), mongodb_url(mongodb_port, authority)) as system:
        worker = await system.start(
            REDIS_URL=redis_url(redis_port, stranger), MONGODB_URL=mongodb_url(mongodb_port, stranger)
        )

        async def told() -> bool:
            _, body = await get(worker, "/readyz")
            return "ssl_ca_certs=" in body and "tlsCAFile=" in body

        await until(told, system.logs)


async def test_a_blocking_publisher_reaches_redis_over_tls(certificates: Certificates, redis_port: int) -> None:
    url = redis_url(redis_port, certificates.authority)

    def publish() -> str:
        with BlockingSegmentPublisher(url, prefix="tls") as publisher:
            return publisher.publish(
                segment_id="1",
                channel_id="kan-11",
                session_id="session-1",
                user_id="user-1",
                received_at="2026-01-01T00:00:00Z",
                extraction_ms=1,
                dubbing_ms=2,
                reinsertion_ms=3,
                source_language="he",
                target_language="en",
            )

    assert await asyncio.to_thread(publish)
