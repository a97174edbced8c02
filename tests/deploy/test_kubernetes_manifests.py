"""The Kubernetes objects of every overlay, as they would be applied: strictly valid, and right for this product."""

from __future__ import annotations

import copy
import functools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from manifests import ROOT, Object, containers, identity, load_all, pod_spec, render
from product import check_command, check_settings

K8S = ROOT / "k8s"
OVERLAYS = ["dev", "production"]
WORKLOADS = {"Deployment", "Job"}
OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.30", "1.34"
DRAIN_SECONDS = 10
KUBECTL = shutil.which("kubectl")
TOOLS_REQUIRED = os.environ.get("STREAMPROC_REQUIRE_TOOLS") == "1"


@functools.cache
def overlay(name: str) -> list[Object]:
    return render(K8S / "overlays" / name)


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found


def validate(obj: Object) -> None:
    for version in (OLDEST_KUBERNETES, NEWEST_KUBERNETES):
        kubernetes_validate.validate(obj, version, strict=True)


def workloads(name: str) -> list[Object]:
    return [obj for obj in overlay(name) if obj["kind"] in WORKLOADS]


def secret_example() -> Object:
    (secret,) = load_all(K8S / "base" / "secret.example.yaml")
    return secret


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_of_an_overlay_is_strictly_valid(name: str) -> None:
    for obj in overlay(name):
        validate(obj)


def test_the_secret_example_is_strictly_valid() -> None:
    validate(secret_example())


def test_a_misspelled_field_is_refused() -> None:
    worker = copy.deepcopy(one(overlay("dev"), "Deployment", "streamproc-worker"))
    containers(worker)[0]["readynessProbe"] = containers(worker)[0].pop("readinessProbe")
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        validate(worker)


def test_every_file_is_applied_by_an_overlay_or_is_an_example() -> None:
    used = {folder / "kustomization.yaml" for folder in [K8S / "base", *(K8S / "overlays" / name for name in OVERLAYS)]}
    for path in list(used):
        (kustomization,) = load_all(path)
        named = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))]
        used |= {path.parent / name for name in named if (path.parent / name).is_file()}
    files = {path for path in K8S.rglob("*") if path.is_file() and not path.name.endswith(".example.yaml")}
    files -= set((K8S / "base" / "monitoring").rglob("*"))  # of Prometheus and Grafana themselves
    assert files == used


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.skipif(KUBECTL is None and not TOOLS_REQUIRED, reason="no kubectl on PATH to compare with")
def test_our_reading_of_an_overlay_is_kustomizes(name: str) -> None:
    assert KUBECTL, "install kubectl: its kustomize is what reads the overlays in earnest"
    answer = subprocess.run([KUBECTL, "kustomize", K8S / "overlays" / name], capture_output=True, text=True, check=True)
    theirs = yaml.safe_load_all(re.sub(r"(name: streamproc)-[a-z0-9]{10}$", r"\1", answer.stdout, flags=re.MULTILINE))
    assert {identity(obj): obj for obj in theirs} == {identity(obj): obj for obj in overlay(name)}


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("{replicas: 1, replicas: 3}")
    with pytest.raises(yaml.constructor.ConstructorError, match=r"repeated keys.*replicas"):
        load_all(tmp_path / "twice.yaml")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"resources": ["missing.yaml"]}, FileNotFoundError),
        ({"resources": [], "patches": [{"path": "orphan.yaml"}]}, LookupError),
        ({"resources": [], "commonLabels": {"a": "b"}}, ValueError),
    ],
)
def test_a_broken_overlay_is_refused(tmp_path: Path, fields: dict[str, Any], error: type[Exception]) -> None:
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"namespace": "n", **fields}))
    (tmp_path / "orphan.yaml").write_text("{apiVersion: v1, kind: Pod, metadata: {name: nobody}}")
    with pytest.raises(error):
        render(tmp_path)


@pytest.mark.parametrize("name", OVERLAYS)
def test_config_and_secret_together_are_valid_settings(name: str) -> None:
    config = one(overlay(name), "ConfigMap", "streamproc")["data"]
    secret = secret_example()["stringData"]
    assert not config.keys() & secret.keys()
    check_settings(config | secret)


@pytest.mark.parametrize("name", OVERLAYS)
def test_containers_take_their_settings_from_the_config_map_and_the_secret_alone(name: str) -> None:
    names = {kind: secret_or_map["metadata"]["name"] for kind, secret_or_map in sources(name).items()}
    for container in (container for obj in workloads(name) for container in containers(obj)):
        assert container["envFrom"] == [
            {"configMapRef": {"name": names["ConfigMap"]}},
            {"secretRef": {"name": names["Secret"]}},
        ]
        assert "env" not in container


def sources(name: str) -> dict[str, Object]:
    return {"ConfigMap": one(overlay(name), "ConfigMap", "streamproc"), "Secret": secret_example()}


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_secret_is_applied(name: str) -> None:
    assert "Secret" not in {obj["kind"] for obj in overlay(name)}
    assert not any(re.search(r"://[^/]*@", value) for value in sources(name)["ConfigMap"]["data"].values())


def test_the_secret_example_holds_no_password() -> None:
    passwords = [re.search(r"://[^/:]*:([^/@]*)@", value) for value in secret_example()["stringData"].values()]
    assert [found and found[1] for found in passwords] == ["CHANGE-ME", "CHANGE-ME"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_command_exists(name: str) -> None:
    for container in (container for obj in workloads(name) for container in containers(obj)):
        assert "command" not in container, "the image's entrypoint is the program"
        check_command(container["args"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_workload_runs_the_same_tagged_image(name: str) -> None:
    (image,) = {container["image"] for obj in workloads(name) for container in containers(obj)}
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+", image)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_pod_is_confined(name: str) -> None:
    for obj in workloads(name):
        spec = pod_spec(obj) or {}
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in containers(obj):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_service_can_overwrite_a_setting(name: str) -> None:
    assert all((pod_spec(obj) or {})["enableServiceLinks"] is False for obj in workloads(name))


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_run_under_the_service_account_without_a_token(name: str) -> None:
    for obj in workloads(name):
        account = one(overlay(name), "ServiceAccount", (pod_spec(obj) or {})["serviceAccountName"])
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_worker_is_probed_and_scraped_at_its_port(name: str) -> None:
    worker = one(overlay(name), "Deployment", "streamproc-worker")
    port = int(one(overlay(name), "ConfigMap", "streamproc")["data"]["STREAMPROC_WEB_PORT"])
    (container,) = containers(worker)
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    probes = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {
        "startupProbe": {"path": "/healthz", "port": "http"},
        "livenessProbe": {"path": "/healthz", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }
    annotations = worker["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_worker_is_given_longer_than_its_drain(name: str) -> None:
    worker = one(overlay(name), "Deployment", "streamproc-worker")
    assert (pod_spec(worker) or {})["terminationGracePeriodSeconds"] > 2 * DRAIN_SECONDS


@pytest.mark.parametrize("name", OVERLAYS)
def test_selectors_select_the_workers_alone(name: str) -> None:
    objects = overlay(name)
    worker = one(objects, "Deployment", "streamproc-worker")
    selectors = [obj["spec"]["selector"]["matchLabels"].items() for obj in objects if "selector" in obj.get("spec", {})]
    assert len(selectors) == 2
    for selector in selectors:
        selected = [obj for obj in workloads(name) if selector <= obj["spec"]["template"]["metadata"]["labels"].items()]
        assert selected == [worker]


@pytest.mark.parametrize(("name", "replicas"), [("dev", 1), ("production", 3)])
def test_overlays_differ_in_their_number_of_workers(name: str, replicas: int) -> None:
    assert one(overlay(name), "Deployment", "streamproc-worker")["spec"]["replicas"] == replicas


def test_overlays_can_live_in_one_cluster() -> None:
    namespaces = [{obj["metadata"].get("namespace") for obj in overlay(name)} - {None} for name in OVERLAYS]
    assert namespaces == [{"streamproc-dev"}, {"streamproc"}]
