"""The image: built from what the repository holds, run by nobody special, and honest about its health."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath

import pytest
from manifests import ROOT, load_all
from product import SETTINGS

DOCKERFILE = ROOT / "Dockerfile"
BUILD_TOOLS = r"\b(apt-get|apk|gcc|g\+\+|make|build-essential|pip3? install|uv|poetry|hatch|-dev)\b"

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Keyword and argument of each instruction, comments dropped and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(keyword, argument.strip()) for keyword, _, argument in (line.partition(" ") for line in lines if line)]


def stages() -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    for keyword, argument in instructions():
        if keyword == "FROM":
            found.append([])
        if found:
            found[-1].append((keyword, argument))
    return found


def arguments(keyword: str, stage: list[Instruction]) -> list[str]:
    return [argument for found, argument in stage if found == keyword]


def environment(stage: list[Instruction]) -> dict[str, str]:
    return dict(pair.split("=", 1) for argument in arguments("ENV", stage) for pair in argument.split())


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert hadolint, "hadolint is missing: install the test dependencies"
    subprocess.run([hadolint, "--failure-threshold", "style", DOCKERFILE], check=True)


def test_the_base_image_is_pinned_to_a_version() -> None:
    (base,) = arguments("ARG", instructions())
    assert re.fullmatch(r"PYTHON_IMAGE=python:\d+\.\d+-slim-\w+", base)
    assert [arguments("FROM", stage)[0].split()[0] for stage in stages()] == ["${PYTHON_IMAGE}"] * 2


def test_the_final_stage_runs_as_an_ordinary_user_that_kubernetes_names_alike() -> None:
    (user,) = arguments("USER", stages()[-1])
    (worker,) = load_all(ROOT / "k8s" / "base" / "worker-deployment.yaml")
    context = worker["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert context["runAsUser"] > 0


def test_nothing_is_built_or_run_as_root_after_the_user_is_set() -> None:
    keywords = [keyword for keyword, _ in stages()[-1]]
    assert not {"RUN", "COPY", "ADD"} & set(keywords[keywords.index("USER") :])


def test_the_final_stage_holds_no_build_tools() -> None:
    runs = " ".join(arguments("RUN", stages()[-1]))
    assert not re.search(BUILD_TOOLS, runs)
    assert "pip uninstall" in runs, "the base image brings pip along"


def test_the_final_stage_takes_only_the_environment_from_the_build() -> None:
    assert arguments("COPY", stages()[-1]) == ["--from=build /opt/streamproc /opt/streamproc"]
    assert environment(stages()[-1])["PATH"].startswith("/opt/streamproc/bin:")


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps `path` out: the last line that names it or a folder above it decides."""
    above = [PurePosixPath(path), *PurePosixPath(path).parents][:-1]
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    verdicts = [line[0] != "!" for line in lines if any(names(line.lstrip("!").rstrip("/"), part) for part in above)]
    return bool(verdicts) and verdicts[-1]


def names(pattern: str, path: PurePosixPath) -> bool:
    """Docker's globs: ``*`` stops at a slash, a leading ``**/`` stands for any folders or none."""
    anywhere, rest = pattern.startswith("**/"), pattern.removeprefix("**/")
    regex = re.escape(rest).replace(r"\*", "[^/]*")
    return re.fullmatch(("(.*/)?" if anywhere else "") + regex, str(path)) is not None


def test_the_build_copies_only_what_the_repository_holds_and_the_context_lets_in() -> None:
    sources = [source for argument in arguments("COPY", stages()[0]) for source in argument.split()[:-1]]
    assert sources
    for source in [*sources, "streamproc/stores/redis/lua/commit.lua"]:
        assert (ROOT / source).exists(), f"{source} does not exist"
        assert not ignored(source), f"{source} is not in the build context"


@pytest.mark.parametrize(
    "private",
    [".env", ".git/config", "dump.archive", "k8s/my-secret.yaml", "streamproc/cli/__pycache__/main.cpython-312.pyc"],
)
def test_the_build_context_leaves_out_what_is_not_the_product(private: str) -> None:
    assert ignored(private)


def test_the_entrypoint_is_the_program() -> None:
    (entrypoint,) = arguments("ENTRYPOINT", stages()[-1])
    assert json.loads(entrypoint) == ["streamproc"]


def test_the_image_is_labelled() -> None:
    labels = " ".join(arguments("LABEL", stages()[-1]))
    assert re.findall(r'org\.opencontainers\.image\.(\w+)="[^"]+"', labels) == ["title", "description"]


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server on a free loopback port that answers /healthz with `status` and anything else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Says nothing: pytest's output is for people."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def healthcheck(port: int) -> int:
    (argument,) = arguments("HEALTHCHECK", stages()[-1])
    python, *words = json.loads(argument.partition("CMD ")[2])
    assert python == "python"
    variables = {"STREAMPROC_WEB_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
    answer = subprocess.run([sys.executable, *words], check=False, env=variables, stderr=subprocess.DEVNULL)
    return answer.returncode


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_what_healthz_says(status: int, exit_code: int) -> None:
    with answering(status) as port:
        assert healthcheck(port) == exit_code


def test_the_health_check_fails_where_nobody_listens() -> None:
    with answering(200) as port:
        pass
    assert healthcheck(port) == 1


def test_the_port_is_the_same_in_the_image_and_in_the_settings_of_its_containers() -> None:
    (exposed,) = arguments("EXPOSE", stages()[-1])
    (compose,) = load_all(ROOT / "docker-compose.yml")
    (base,) = load_all(ROOT / "k8s" / "base" / "kustomization.yaml")
    assert environment(stages()[-1])["STREAMPROC_WEB_PORT"] == exposed
    assert compose["services"]["worker"]["environment"]["STREAMPROC_WEB_PORT"] == exposed
    assert f"STREAMPROC_WEB_PORT={exposed}" in base["configMapGenerator"][0]["literals"]


def test_the_image_sets_only_settings_of_the_product() -> None:
    assert {name for name in environment(stages()[-1]) if name.startswith("STREAMPROC_")} <= SETTINGS
