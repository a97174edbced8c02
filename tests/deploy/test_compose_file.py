"""docker-compose.yml: valid by the specification's own schema, started in order, scalable, and free of secrets."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.metadata import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from manifests import ROOT, Object, load_all
from product import check_command, check_settings

from streamproc import __version__

DRAIN_SECONDS = 10
SECRET = "a-secret-of-some-length"


def compose() -> Object:
    (document,) = load_all(ROOT / "docker-compose.yml")
    return document


def services() -> dict[str, Object]:
    found: dict[str, Object] = compose()["services"]
    return found


def ours() -> dict[str, Object]:
    return {name: service for name, service in services().items() if "build" in service}


def validate(document: Object) -> None:
    """Against the schema of compose-spec.io, which check-jsonschema carries along."""
    (path,) = [path for path in files("check-jsonschema") or [] if path.name == "compose-spec.json"]
    schema = json.loads(path.read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(document)


def test_the_file_is_valid_by_the_specification() -> None:
    validate(compose())


def test_a_misspelled_field_is_refused() -> None:
    document = compose()
    document["services"]["worker"]["comand"] = document["services"]["worker"].pop("command")
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        validate(document)


def test_dependencies_wait_for_what_their_condition_needs() -> None:
    waits = [
        (services()[needed], how["condition"])
        for service in services().values()
        for needed, how in service.get("depends_on", {}).items()
    ]
    assert waits
    for needed, condition in waits:
        if condition == "service_healthy":
            assert "test" in needed["healthcheck"]
        else:
            assert condition == "service_completed_successfully"
            assert needed.get("restart") in (None, "no") or needed["restart"].startswith("on-failure")


def test_nothing_of_ours_starts_before_the_stores_are_healthy_and_initialised() -> None:
    healthy, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert {name: service["depends_on"] for name, service in ours().items()} == {
        "init": {"redis": healthy, "mongo": healthy},
        "worker": {"redis": healthy, "mongo": healthy, "init": done},
        "web": {"redis": healthy, "mongo": healthy, "init": done},
        "publish": {"redis": healthy, "init": done},
    }


def test_every_volume_is_declared_and_used() -> None:
    mounts = [mount.split(":")[0] for service in services().values() for mount in service.get("volumes", [])]
    assert {source for source in mounts if not source.startswith("./")} == compose()["volumes"].keys()


def test_every_file_that_is_mounted_exists_and_is_not_written_to() -> None:
    mounts = [mount.split(":") for service in services().values() for mount in service.get("volumes", [])]
    files = [mount for mount in mounts if mount[0].startswith("./")]
    assert files
    for source, _, *mode in files:
        assert (ROOT / source).exists(), source
        assert mode == ["ro"]


def test_every_secret_is_a_file_outside_the_repository() -> None:
    secrets = compose()["secrets"]
    used = {name for service in services().values() for name in service.get("secrets", [])}
    assert used == secrets.keys()
    assert {str(Path(secret["file"]).parent) for secret in secrets.values()} == {"secrets"}
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_lines_at_the_top_make_every_secret(tmp_path: Path) -> None:
    top = [line.removeprefix("#   ") for line in (ROOT / "docker-compose.yml").read_text().splitlines()]
    lines = [line for line in top if line.startswith(("mkdir", "for name in"))]
    subprocess.run(["sh", "-euc", "\n".join(lines)], cwd=tmp_path, check=True)
    made = {path.name: path.read_text().strip() for path in (tmp_path / "secrets").iterdir()}
    assert made.keys() == compose()["secrets"].keys()
    assert all(len(value) == 64 for value in made.values())
    check_settings(ours()["web"]["environment"], {f"/run/secrets/{name}": value for name, value in made.items()})


def test_whoever_is_reached_from_outside_is_reached_from_this_machine_alone() -> None:
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert ports.keys() == {"worker", "web", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for listed in ports.values() for port in listed)


def test_every_image_is_pinned_to_a_version() -> None:
    for service in services().values():
        assert re.search(r":v?\d+\.\d+[\w.-]*$", service["image"])


def test_the_image_is_this_version_and_the_one_that_kubernetes_runs() -> None:
    (worker,) = load_all(ROOT / "k8s" / "base" / "worker-deployment.yaml")
    images = {service["image"] for service in ours().values()}
    assert images == {f"streamproc:{__version__}"} == {worker["spec"]["template"]["spec"]["containers"][0]["image"]}


def test_workers_can_be_scaled() -> None:
    worker = services()["worker"]
    assert "container_name" not in worker
    assert worker["ports"] == ["127.0.0.1::8080"], "no fixed port of the host, and only its loopback interface"


def test_a_worker_is_given_longer_than_its_drain() -> None:
    assert int(services()["worker"]["stop_grace_period"].removesuffix("s")) > 2 * DRAIN_SECONDS


def test_redis_keeps_what_it_holds() -> None:
    _, *words = services()["redis"]["command"]
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_every_environment_is_valid_settings() -> None:
    for service in ours().values():
        check_settings(service["environment"], {f"/run/secrets/{name}": SECRET for name in service["secrets"]})


def test_urls_name_services() -> None:
    for service in ours().values():
        urls = [value for name, value in service["environment"].items() if name.endswith("_URL")]
        assert {re.sub(r"^\w+://([\w-]+):.*", r"\1", url) for url in urls} == {"redis", "mongo"}


def test_every_command_exists() -> None:
    for service in ours().values():
        assert "entrypoint" not in service, "the image's entrypoint is the program"
        check_command(service["command"])


def test_no_secret_is_written_down() -> None:
    """Whatever is named like one is the path of a file."""
    variables = [item for service in services().values() for item in service.get("environment", {}).items()]
    named = {name: value for name, value in variables if re.search("PASSWORD|SECRET|TOKEN|KEY", name)}
    assert all(name.endswith("_FILE") and value.startswith("/run/secrets/") for name, value in named.items())
    assert not re.search(r"://[^/\s]*@", (ROOT / "docker-compose.yml").read_text())


def test_our_containers_are_confined() -> None:
    wanted: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    for service in ours().values():
        assert {key: service[key] for key in wanted} == wanted
