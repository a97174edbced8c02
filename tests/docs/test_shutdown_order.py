"""docs/architecture.md tells in which order a worker stops; a worker is watched while it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from pages import ROOT, section

from streamproc.embedded import EmbeddedServer

WATCHED = """
import mode, streamproc.app.pod as pod
def watch(owner, method, name):
    original = getattr(owner, method)
    async def watched(self, *args):
        print("stops", name(self), flush=True)
        await original(self, *args)
    setattr(owner, method, watched)
watch(mode.Service, "stop", lambda service: type(service).__name__)
watch(pod.Pod, "close", lambda _: "Pod.close")
import sys
sys.argv = ["streamproc", "worker", "--port", "0"]
from streamproc.cli.main import main
main()
"""


def test_services_stop_in_the_documented_order(valkey: EmbeddedServer, mongod: EmbeddedServer) -> None:
    urls = {"STREAMPROC_REDIS_URL": valkey.url, "STREAMPROC_MONGODB_URL": mongod.url}
    environment = {**os.environ, **urls, "STREAMPROC_PREFIX": "order", "STREAMPROC_MONGODB_DATABASE": "order"}
    environment["PYTHONPATH"] = str(ROOT)
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED], env=environment, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert '"ready"' in worker.stdout.readline()
        worker.terminate()
        stopped = list(dict.fromkeys(re.findall(r"^stops (\S+)$", worker.stdout.read(), re.MULTILINE)))
    assert worker.returncode == 0
    steps = re.findall(r"^\d+\. .*(?:\n   .*)*", section("docs/architecture.md", "Shutdown"), re.MULTILINE)
    documented = [name for step in steps for name in re.findall(r"`([\w.]+)`", step) if name in stopped]
    assert documented == [name for name in stopped if name in documented]
    assert {"Repeating", "Intake", "Preparing", "Pod.close"} <= set(documented)
