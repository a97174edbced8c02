"""The Kubernetes objects of every overlay, as they would be applied: strictly valid, and right for this product."""

from __future__ import annotations

import copy
import functools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import ROOT, Object, containers, load_all, pod_spec, pod_template, render
from product import check_command, check_settings
from strictness import Invalid, validate

from streamproc.web.pages import OPEN_PATHS
from streamproc.web.routes import ROUTES

K8S = ROOT / "k8s"
OVERLAYS = ["dev", "production"]
DRAIN_SECONDS = 10
SECRETS_AT = "/etc/streamproc/secret"
MOST_IN_A_CONFIG_MAP = 256 * 1024  # as an annotation of `kubectl apply`
NOT_FOR_STRANGERS = {"/metrics", "/healthz", "/readyz"}


@functools.cache
def overlay(name: str) -> list[Object]:
    return render(K8S / "overlays" / name)


@pytest.fixture(scope="module")
def with_hpa(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Production as the comment in its kustomization says, for a cluster without KEDA."""
    folder = tmp_path_factory.mktemp("variant") / "k8s"
    shutil.copytree(K8S, folder)
    path = folder / "overlays" / "production" / "kustomization.yaml"
    text = path.read_text()
    assert "  - ../../components/keda\n" in text
    path.write_text(text.replace("  - ../../components/keda\n", "  - ../../components/hpa\n"))
    return render(path.parent)


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found


def config(name: str) -> dict[str, str]:
    (found,) = [obj for obj in overlay(name) if obj["kind"] == "ConfigMap" and "STREAMPROC_WEB_PORT" in obj["data"]]
    data: dict[str, str] = found["data"]
    return data


def workloads(name: str) -> list[Object]:
    return [obj for obj in overlay(name) if pod_spec(obj) is not None]


def ours(name: str) -> list[Object]:
    """The workloads that run our image."""
    return [obj for obj in workloads(name) if "streamproc" in containers(obj)[0]["image"]]


def selected(objects: list[Object], labels: dict[str, str]) -> list[str]:
    """The names of the workloads whose pods have these labels."""
    found = [(obj["metadata"]["name"], pod_template(obj)) for obj in objects]
    return [name for name, template in found if template and labels.items() <= template["metadata"]["labels"].items()]


def secret_example() -> Object:
    (secret,) = load_all(K8S / "base" / "secret.example.yaml")
    return secret


# All files


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_of_an_overlay_is_strictly_valid(name: str) -> None:
    for obj in overlay(name):
        validate(obj)


def test_the_secret_example_and_the_other_autoscaler_are_strictly_valid(with_hpa: list[Object]) -> None:
    for obj in [secret_example(), *with_hpa]:
        validate(obj)


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("Deployment", ("spec", "template", "spec"), "teminationGracePeriodSeconds"),
        ("CronJob", ("spec",), "shedule"),
        ("Ingress", ("spec", "rules", 0), "hosts"),
        ("NetworkPolicy", ("spec", "ingress", 0, "ports", 0), "ports"),
        ("ScaledObject", ("spec", "triggers", 0), "metaData"),
        ("ScaledObject", ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior"), "scaledown"),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0), "ports"),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0), "severity"),
    ],
)
def test_a_misspelled_field_is_refused(kind: str, path: tuple[Any, ...], wrong: str) -> None:
    obj = copy.deepcopy(next(obj for obj in overlay("production") if obj["kind"] == kind))
    functools.reduce(lambda place, step: place[step], path, obj)[wrong] = "x"
    with pytest.raises(Invalid, match=wrong):
        validate(obj)


def test_no_file_repeats_a_key() -> None:
    for path in K8S.rglob("*.yaml"):
        load_all(path)


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("{replicas: 1, replicas: 3}")
    with pytest.raises(yaml.constructor.ConstructorError, match=r"repeated keys.*replicas"):
        load_all(tmp_path / "twice.yaml")


def test_every_file_is_used_or_is_an_example() -> None:
    """By an overlay, by the variant that production's comment names, or by docker-compose.yml."""
    used: set[Path] = set()
    for folder in [*(K8S / "overlays" / name for name in OVERLAYS), K8S / "components" / "hpa"]:
        reach(folder, used)
    mounted = re.findall(r"\./(k8s/[\w./-]+):", (ROOT / "docker-compose.yml").read_text())
    used |= {file for path in mounted for file in [ROOT / path, *(ROOT / path).rglob("*")]}
    files = {path for path in K8S.rglob("*") if path.is_file() and not path.name.endswith(".example.yaml")}
    assert files - used == set()


def reach(folder: Path, used: set[Path]) -> None:
    """Add the files that a kustomization leads to."""
    (kustomization,) = load_all(folder / "kustomization.yaml")
    used.add(folder / "kustomization.yaml")
    used |= {folder / patch["path"] for patch in kustomization.get("patches", []) if "path" in patch}
    for generator in kustomization.get("configMapGenerator", []):
        used |= {folder / file.split("=")[-1] for file in generator.get("files", [])}
    for name in [*kustomization.get("resources", []), *kustomization.get("components", [])]:
        path = (folder / name).resolve()
        if path.is_dir():
            reach(path, used)
        else:
            used.add(path)


# Settings and secrets


@pytest.mark.parametrize("name", OVERLAYS)
def test_config_and_secret_together_are_valid_settings(name: str, tmp_path: Path) -> None:
    """With the example filled in: its keys are the files that the config map names, where pods see them."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    filled_in = {
        f"{SECRETS_AT}/{key}": value.replace("CHANGE-ME", "a-secret-of-some-length").replace(
            f"{SECRETS_AT}/ca.pem", str(authority)
        )
        for key, value in secret_example()["stringData"].items()
    }
    assert f"{SECRETS_AT}/ca.pem" in filled_in
    check_settings(config(name), filled_in)


@pytest.mark.parametrize("name", OVERLAYS)
def test_containers_take_their_settings_from_the_config_map_and_see_the_secret_as_files(name: str) -> None:
    for obj in ours(name):
        (container,) = containers(obj)
        (source,) = container["envFrom"]
        assert source["configMapRef"]["name"].startswith("streamproc-")
        assert "env" not in container
        assert {"name": "secret", "mountPath": SECRETS_AT, "readOnly": True} in container["volumeMounts"]
        volumes = {volume["name"]: volume for volume in (pod_spec(obj) or {})["volumes"]}
        assert volumes["secret"]["secret"] == {"secretName": "streamproc", "defaultMode": 0o440}


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_secret_is_applied(name: str) -> None:
    assert "Secret" not in {obj["kind"] for obj in overlay(name)}
    assert not any(re.search(r"://[^/]*@", value) for value in config(name).values())


def test_the_secret_example_holds_no_password() -> None:
    secrets = secret_example()["stringData"]
    passwords = [re.search(r"://[^/:]*:([^/@]*)@", secrets[key]) for key in ("redis-url", "mongodb-url")]
    assert [found and found[1] for found in passwords] == ["CHANGE-ME", "CHANGE-ME"]
    assert {secrets[key] for key in secrets.keys() - {"redis-url", "mongodb-url"}} == {"CHANGE-ME"}


# Pods


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_command_exists(name: str) -> None:
    for container in (container for obj in ours(name) for container in containers(obj)):
        assert "command" not in container, "the image's entrypoint is the program"
        check_command(container["args"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_workload_of_ours_runs_the_same_tagged_image(name: str) -> None:
    (image,) = {container["image"] for obj in ours(name) for container in containers(obj)}
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+", image)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_pod_is_confined(name: str) -> None:
    """As the namespace's label asks for: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    for obj in workloads(name):
        spec = pod_spec(obj) or {}
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False, "a Service's name would become a setting"
        for container in containers(obj):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_of_ours_run_under_a_service_account_without_a_token(name: str) -> None:
    for obj in ours(name):
        account = one(overlay(name), "ServiceAccount", (pod_spec(obj) or {})["serviceAccountName"])
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize(("kind", "readiness"), [("worker", "/readyz"), ("web", "/healthz")])
def test_workers_and_web_processes_are_probed_at_their_port(name: str, kind: str, readiness: str) -> None:
    (container,) = containers(one(overlay(name), "Deployment", f"streamproc-{kind}"))
    assert container["ports"] == [{"name": "http", "containerPort": int(config(name)["STREAMPROC_WEB_PORT"])}]
    probes = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {
        "startupProbe": {"path": "/healthz", "port": "http"},
        "livenessProbe": {"path": "/healthz", "port": "http"},
        "readinessProbe": {"path": readiness, "port": "http"},
    }


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("deployment", ["streamproc-worker", "streamproc-web"])
def test_whoever_serves_is_given_longer_than_it_needs_to_leave(name: str, deployment: str) -> None:
    spec = pod_spec(one(overlay(name), "Deployment", deployment)) or {}
    (container,) = containers(one(overlay(name), "Deployment", deployment))
    pause = re.search(r"sleep\((\d+)\)", str(container.get("lifecycle", "")))
    assert spec["terminationGracePeriodSeconds"] > 1.5 * DRAIN_SECONDS + int(pause[1] if pause else 0)


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_upgrade_and_a_drained_node_take_one_pod_at_a_time(name: str) -> None:
    for deployment in ("streamproc-worker", "streamproc-web"):
        rolling = one(overlay(name), "Deployment", deployment)["spec"]["strategy"]
        assert rolling == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        assert one(overlay(name), "PodDisruptionBudget", deployment)["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("name", OVERLAYS)
def test_jobs_at_fixed_times_never_run_twice_at_once(name: str) -> None:
    for job in (obj for obj in overlay(name) if obj["kind"] == "CronJob"):
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        assert job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0


@pytest.mark.parametrize("name", OVERLAYS)
def test_days_are_archived_where_there_is_an_archive(name: str) -> None:
    suspended = one(overlay(name), "CronJob", "streamproc-archive")["spec"]["suspend"]
    assert suspended is ("STREAMPROC_ARCHIVE_URL" not in config(name))


# What refers to what


@pytest.mark.parametrize("name", OVERLAYS)
def test_selectors_select_what_they_are_named_for(name: str) -> None:
    objects = overlay(name)
    for obj in objects:
        spec = obj.get("spec", {})
        if obj["kind"] in ("Deployment", "PodDisruptionBudget"):
            assert selected(objects, spec["selector"]["matchLabels"]) == [obj["metadata"]["name"]]
            spread = (spec.get("template") or {}).get("spec", {}).get("topologySpreadConstraints", [])
            assert all(rule["labelSelector"] == spec["selector"] for rule in spread)
        elif obj["kind"] == "Service":
            (name_of_it,) = selected(objects, spec["selector"])
            ports = {port["name"] for port in containers(one(objects, "Deployment", name_of_it))[0]["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= ports


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_prometheus_and_the_proxy_may_speak_to_the_pods(name: str) -> None:
    policies = {obj["metadata"]["name"]: obj["spec"] for obj in overlay(name) if obj["kind"] == "NetworkPolicy"}
    everybody, web = policies["streamproc"], policies["streamproc-web"]
    names = {obj["metadata"]["name"] for obj in ours(name)}
    assert set(selected(overlay(name), everybody["podSelector"]["matchLabels"])) == names
    assert selected(overlay(name), web["podSelector"]["matchLabels"]) == ["streamproc-web"]
    for policy in (everybody, web):
        assert policy["policyTypes"] == ["Ingress"]
        assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": "http", "protocol": "TCP"}]]
        assert all(rule["from"] for rule in policy["ingress"])


def test_whoever_serves_metrics_is_scraped_each_kind_as_a_job_of_its_own() -> None:
    monitors = [obj for obj in overlay("production") if obj["kind"] == "PodMonitor"]
    for monitor in monitors:
        labels, (endpoint,) = monitor["spec"]["selector"]["matchLabels"], monitor["spec"]["podMetricsEndpoints"]
        assert selected(overlay("production"), labels) == [monitor["metadata"]["name"]]
        assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    (prometheus,) = load_all(K8S / "base" / "monitoring" / "prometheus.yaml")
    jobs = {job["job_name"] for job in prometheus["scrape_configs"]}
    assert {monitor["metadata"]["name"] for monitor in monitors} == jobs == {"streamproc-worker", "streamproc-web"}


def test_the_ingress_leads_to_all_that_is_for_strangers_and_to_nothing_else() -> None:
    (ingress,) = [obj for obj in overlay("production") if obj["kind"] == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    assert [rule["host"]] == ingress["spec"]["tls"][0]["hosts"]
    paths = rule["http"]["paths"]
    for path in paths:
        service = one(overlay("production"), "Service", path["backend"]["service"]["name"])
        assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}

    def reached(path: str) -> bool:
        return any(
            path == rule["path"] if rule["pathType"] == "Exact" else f"{path}/".startswith(f"{rule['path']}/")
            for rule in paths
        )

    served = {*OPEN_PATHS, *(route.path for route in ROUTES)}
    assert len(served) > 10
    assert {path for path in served if not reached(path)} == NOT_FOR_STRANGERS


def test_the_alerts_are_those_of_the_rule_file() -> None:
    """Which is what Prometheus reads where there is no operator, and what the tests of the alerts are about."""
    (rules,) = load_all(K8S / "base" / "monitoring" / "rules.yaml")
    assert one(overlay("production"), "PrometheusRule", "streamproc")["spec"] == rules


def test_grafana_is_given_the_dashboard() -> None:
    config_map = one(overlay("production"), "ConfigMap", "streamproc-dashboard")
    assert config_map["metadata"]["labels"] == {"grafana_dashboard": "1"}
    dashboard = (K8S / "base" / "monitoring" / "dashboard.json").read_text()
    assert config_map["data"] == {"streamproc.json": dashboard}
    assert len(dashboard) < MOST_IN_A_CONFIG_MAP


# Overlays


def test_workers_are_as_many_as_the_autoscaler_says(with_hpa: list[Object]) -> None:
    for objects, kind in ((overlay("production"), "ScaledObject"), (with_hpa, "HorizontalPodAutoscaler")):
        assert "replicas" not in one(objects, "Deployment", "streamproc-worker")["spec"]
        autoscalers = [obj for obj in objects if obj["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")]
        assert [(obj["kind"], obj["spec"]["scaleTargetRef"]["name"]) for obj in autoscalers] == [
            (kind, "streamproc-worker")
        ]
        spec = autoscalers[0]["spec"]
        assert spec.get("minReplicaCount", spec.get("minReplicas")) >= 2, "windows close while nothing comes, too"
    assert one(overlay("dev"), "Deployment", "streamproc-worker")["spec"]["replicas"] == 1


def test_overlays_can_live_in_one_cluster() -> None:
    namespaces = [{obj["metadata"].get("namespace") for obj in overlay(name)} - {None} for name in OVERLAYS]
    assert namespaces == [{"streamproc-dev"}, {"streamproc"}]
