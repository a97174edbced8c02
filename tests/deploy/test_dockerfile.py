"""The image: built from what the repository holds, run by nobody special, and honest about its health."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath

import pytest
from manifests import ROOT, load_all
from product import SETTINGS

from streamproc import __version__
from streamproc.embedded import EmbeddedServer

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
    labels = dict(
        re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', " ".join(arguments("LABEL", stages()[-1])))
    )
    assert labels.keys() == {"title", "description", "version"}
    assert labels["version"] == __version__


def test_the_extras_that_are_installed_exist() -> None:
    (extras,) = re.findall(r'install "\./\[([\w,]+)\]"', " ".join(arguments("RUN", stages()[0])))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the steps of the build stage put the environment, in a scratch folder, from what the context lets in.

    What the product depends on is that of the tests: here it matters what of *us* gets into the image.
    """
    folder = tmp_path_factory.mktemp("image")
    source, target = folder / "src", folder / "streamproc"
    for argument in arguments("COPY", stages()[0]):
        *names_of, place = argument.split()
        for name in names_of:
            copy_from_the_context(name, source / place / (Path(name).name if place == "./" else ""))
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for step in arguments("RUN", stages()[0]):
        command = step.replace("/opt/streamproc", str(target)).replace(" install ", " install --quiet --no-deps ")
        subprocess.run(["sh", "-euc", command], cwd=source, check=True, env={**os.environ, "PATH": tools})
    (packages,) = target.glob("lib/*/site-packages")
    (packages / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    return target


def copy_from_the_context(name: str, place: Path) -> None:
    """COPY of one file or folder, without what .dockerignore keeps out."""
    files = [ROOT / name] if (ROOT / name).is_file() else (path for path in (ROOT / name).rglob("*") if path.is_file())
    for path in files:
        if not ignored(str(path.relative_to(ROOT))):
            to = place if path == ROOT / name else place / path.relative_to(ROOT / name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


def test_what_the_build_installs_works_without_the_repository(
    installed: Path, valkey: EmbeddedServer, mongod: EmbeddedServer, mongo_database_name: str, tmp_path: Path
) -> None:
    """Scripts and the dashboard's files among it: `init` runs some, the wheel's list is asked for all."""
    variables = {
        "STREAMPROC_REDIS_URL": valkey.url,
        "STREAMPROC_PREFIX": mongo_database_name,
        "STREAMPROC_MONGODB_URL": mongod.url,
        "STREAMPROC_MONGODB_DATABASE": mongo_database_name,
    }
    (entrypoint,) = arguments("ENTRYPOINT", stages()[-1])
    program = str(installed / "bin" / json.loads(entrypoint)[0])
    answer = subprocess.run([program, "init"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "ready: stream, group, collection and indexes exist"
    (package,) = installed.glob("lib/*/site-packages/streamproc")
    there = {path.relative_to(package) for path in package.rglob("*") if "__pycache__" not in path.parts}
    here = {path.relative_to(ROOT / "streamproc") for path in (ROOT / "streamproc").rglob("*")}
    assert there == {path for path in here if "__pycache__" not in path.parts}


def test_no_pip_gets_into_the_image(installed: Path) -> None:
    assert not list(installed.glob("bin/pip*"))
    assert not list(installed.glob("lib/*/site-packages/pip"))


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
