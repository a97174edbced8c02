"""A real Prometheus scrapes a running worker by our rules: an alert fires, alone; the dashboard's queries answer."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from exposed import asked, exposed
from grafana import DASHBOARD, QUERIES, plain
from manifests import load_all
from pods import Pods, pods, until
from promtool import LEFT_OUT, MONITORING, PROMETHEUS, RULES, WHY_LEFT_OUT

from streamproc.embedded import EmbeddedServer

pytestmark = pytest.mark.skipif(LEFT_OUT, reason=WHY_LEFT_OUT)

JOB: Final = "streamproc-worker"


class Prometheus:
    """A Prometheus that looks every second."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    async def answers(self) -> bool:
        def ready() -> bool:
            try:
                with urllib.request.urlopen(f"{self._url}/-/ready", timeout=10) as response:
                    return bool(response.status == 200)
            except OSError:
                return False

        return await asyncio.to_thread(ready)

    async def holds(self, expression: str) -> bool:
        return bool(await asyncio.to_thread(self.query, expression))

    def firing(self) -> list[dict[str, Any]]:
        return [one for one in self.get("alerts")["alerts"] if one["state"] == "firing"]


@contextmanager
def prometheus(directory: Path, worker_port: int) -> Iterator[Prometheus]:
    """Our configuration and rules, but for the address of the worker, and the patience: all happens at once here."""
    assert PROMETHEUS, "install prometheus: it comes with promtool in Debian's package prometheus"
    (config,) = load_all(MONITORING / "prometheus.yaml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (scrape,) = (one for one in config["scrape_configs"] if one["job_name"] == JOB)
    config["scrape_configs"] = [{"job_name": JOB, "static_configs": [{"targets": [f"127.0.0.1:{worker_port}"]}]}]
    assert scrape.keys() == {"job_name", "dns_sd_configs"}, "what else it says should be tried here, too"
    (rules,) = load_all(RULES)
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule["for"] = "0s"
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
async def system(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Pods]:
    async with pods(valkey.url, mongod.url) as one:
        yield one


def segments(first: int, *, count: int, every_nth_fails: int) -> list[dict[str, Any]]:
    return [
        {
            "segment_id": f"segment-{number}",
            "channel_id": "kan-11",
            "session_id": f"session-{number % 7}",
            "user_id": "dana",
            "received_at": datetime.now(UTC),
            "extraction_ms": 45,
            "dubbing_ms": 1100,
            "reinsertion_ms": 55,
            "source_language": "he",
            "target_language": "en",
            "error": "codec failed" if number % every_nth_fails == 0 else None,
        }
        for number in range(first, first + count)
    ]


async def test_errors_of_a_running_worker_raise_the_alert_alone(system: Pods, tmp_path: Path) -> None:
    worker = await system.start(SESSIONS_ENABLED="true")
    with prometheus(tmp_path, worker.port) as watching:
        await until(watching.answers, (tmp_path / "prometheus.log").read_text)
        # Twice: of a channel that was not there before, Prometheus knows no increase.
        system.publish(*segments(0, count=200, every_nth_fails=10))
        await until(lambda: watching.holds(f'streamproc_channel_segments_total{{job="{JOB}"}} == 200'))
        system.publish(*segments(200, count=200, every_nth_fails=10))
        await until(lambda: watching.holds('ALERTS{alertname="StreamprocErrorsHigh", alertstate="firing"}'))
        await system.settle()
        # What fired while the worker started has ended.
        await until(lambda: watching.holds('count(ALERTS{alertstate="firing"}) == 1'))
        (alert,) = watching.firing()
        assert alert["labels"] == {"alertname": "StreamprocErrorsHigh", "severity": "page", "job": JOB}
        assert alert["annotations"]["summary"].startswith("10% of all segments of the last 10 minutes have an error")
        every = [rule for group in watching.get("rules")["groups"] for rule in group["rules"]]
        assert [(rule["name"], rule["lastError"]) for rule in every if rule["health"] != "ok"] == []
        assert_all_is_scraped(watching)
        assert_queries_answer(watching)


def assert_all_is_scraped(watching: Prometheus) -> None:
    """Whatever rules and dashboard ask of a worker has come: the pages that name it are no proof that it does."""
    (rules,) = load_all(RULES)
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]] + QUERIES
    names = {name for expression in expressions for name, _ in asked(expression)} - {"ALERTS"}
    of_web = {name for name in exposed() if name.startswith("streamproc_http_")}
    assert [name for name in sorted(names - of_web) if not watching.query(name)] == []


def assert_queries_answer(watching: Prometheus) -> None:
    """Every query of the dashboard is carried out; none of a worker's own is empty."""
    empty = [query for query in QUERIES if not watching.query(plain(query).replace("[1m]", "[10m]"))]
    unknown = ("streamproc_http_", "limit_bytes")  # no web process here, and no maxmemory
    assert [query for query in empty if not any(name in query for name in unknown)] == []
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, _, label = variable["query"]["query"].removeprefix("label_values(").rpartition(", ")
            assert watching.get(f"label/{label.rstrip(')')}/values", **{"match[]": plain(metric)})
