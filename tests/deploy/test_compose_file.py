"""docker-compose.yml: valid by the specification's own schema, started in order, scalable, and free of secrets."""

from __future__ import annotations

import json
import re
from importlib.metadata import files
from typing import Any

import jsonschema
import pytest
from manifests import ROOT, Object, load_all
from product import check_command, check_settings

from streamproc import __version__

DRAIN_SECONDS = 10


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
        "publish": {"redis": healthy, "init": done},
    }


def test_every_volume_is_declared_and_used() -> None:
    mounts = [mount.split(":") for service in services().values() for mount in service.get("volumes", [])]
    assert {volume for volume, _ in mounts} == compose()["volumes"].keys()


def test_every_image_is_pinned_to_a_version() -> None:
    for service in services().values():
        assert re.search(r":\d+\.\d+[\w.-]*$", service["image"])


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
        check_settings(service["environment"])


def test_urls_name_services() -> None:
    for service in ours().values():
        urls = [value for name, value in service["environment"].items() if name.endswith("_URL")]
        assert {re.sub(r"^\w+://([\w-]+):.*", r"\1", url) for url in urls} == {"redis", "mongo"}


def test_every_command_exists() -> None:
    for service in ours().values():
        assert "entrypoint" not in service, "the image's entrypoint is the program"
        check_command(service["command"])


def test_no_secret_is_written_down() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"password|secret|token|://[^/\s]*@", strip_comments(text), re.IGNORECASE)


def strip_comments(text: str) -> str:
    return re.sub(r"#.*", "", text)


def test_our_containers_are_confined() -> None:
    wanted: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    for service in ours().values():
        assert {key: service[key] for key in wanted} == wanted
