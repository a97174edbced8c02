"""What docs/deployment.md has a reader type and look for is what the deployment files have."""

from __future__ import annotations

import re

import pytest
import yaml
from pages import ROOT, read, section, snippets, table

COMPOSE, PRODUCTION, KIND = "Compose", "Kubernetes, in production", "Kubernetes, on your machine"
SECRET = yaml.safe_load(read("k8s/base/secret.example.yaml"))


def objects() -> set[tuple[str, str]]:
    """(kind, name) of all objects in k8s/."""
    documents = [one for path in (ROOT / "k8s").rglob("*.yaml") for one in yaml.safe_load_all(path.read_text())]
    return {(one["kind"], one["metadata"]["name"]) for one in documents if "metadata" in one}


def test_compose_is_started_as_its_file_says() -> None:
    at_the_top = re.findall(r"^#   (.+)$", read("docker-compose.yml"), re.MULTILINE)
    assert snippets("docs/deployment.md", "sh")[1].splitlines() == at_the_top


def test_every_address_of_compose_is_published() -> None:
    published = set(re.findall(r'"(127\.0\.0\.1:\d+):\d+"', read("docker-compose.yml")))
    assert {f"http://{address}" for address in published} == {
        row[0].strip("`") for row in table(section("docs/deployment.md", COMPOSE)) if row[0].startswith("`http")
    }


def test_the_secret_on_the_page_has_the_keys_of_the_template() -> None:
    keys = re.findall(r"--from-literal=([\w.-]+)=", section("docs/deployment.md", KIND))
    assert set(keys) == SECRET["stringData"].keys() - {"ca.pem"}
    services = {name for kind, name in objects() if kind == "Service"}
    hosts = re.findall(r"--from-literal=\S+=\w+://([\w-]+):", section("docs/deployment.md", KIND))
    assert set(hosts) <= services


@pytest.mark.parametrize("heading", [KIND, PRODUCTION])
def test_commands_name_objects_that_exist(heading: str) -> None:
    named = re.findall(r"\b(deployment|service)/(streamproc-\w+)", section("docs/deployment.md", heading))
    assert named
    assert {(kind.capitalize(), name) for kind, name in named} <= objects()


def test_the_table_of_objects_leaves_no_kind_out() -> None:
    described = " ".join(row[0] for row in table(section("docs/deployment.md", PRODUCTION)))
    below = [ROOT / "k8s" / "base", ROOT / "k8s" / "components" / "ingress"]
    paths = [path for folder in below for path in folder.rglob("*.yaml") if not path.name.endswith(".example.yaml")]
    documents = [one for path in paths for one in yaml.safe_load_all(path.read_text()) if "metadata" in one]
    kinds = {one["kind"] for one in documents} - {"Namespace"}
    named = {kind for kind in kinds if kind in described or f"{kind[:-1]}ies" in described}
    assert kinds - named == set()


def test_pods_see_the_secret_where_the_page_says() -> None:
    name = "/etc/streamproc/secret"
    assert f"`{name}`" in read("docs/deployment.md")
    assert f"mountPath: {name}\n" in read("k8s/base/worker-deployment.yaml")
