"""Reads the deployment files: strict YAML, and the objects of a kustomization as they would be applied."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
KNOWN_FIELDS = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator", "images", "patches"}


class StrictLoader(yaml.SafeLoader):
    """YAML in which a repeated key is an error: of two equal keys the readers silently keep one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        repeated = {key for key in keys if keys.count(key) > 1}
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"repeated keys {sorted(repeated)}", node.start_mark)
        return super().construct_mapping(node, deep)


def load_all(path: Path) -> list[Object]:
    return list(yaml.load_all(path.read_text(), StrictLoader))


def identity(obj: Object) -> tuple[str, str, str]:
    return obj["apiVersion"], obj["kind"], obj["metadata"]["name"]


def merged(old: Any, new: Any) -> Any:
    """`old` under the strategic merge patch `new`: maps are merged, null removes, lists of named things go by name."""
    if isinstance(old, dict) and isinstance(new, dict):
        both = old | {key: merged(old.get(key), value) for key, value in new.items()}
        return {key: value for key, value in both.items() if value is not None}
    if (
        isinstance(old, list)
        and isinstance(new, list)
        and all(isinstance(item, dict) and "name" in item for item in new)
    ):
        by_name = {item["name"]: item for item in old}
        return list(merged(by_name, {item["name"]: item for item in new}).values())
    return copy.deepcopy(new)


def render(folder: Path) -> list[Object]:
    """The objects that `kubectl apply -k folder` would send, apart from the digest in the names of generated maps.

    Raises:
        FileNotFoundError: it names a file that does not exist.
        LookupError: it patches or merges into an object that does not exist.
        ValueError: it uses a field of kustomize that this small reading of it does not know.
    """
    (kustomization,) = load_all(folder / "kustomization.yaml")
    if unknown := kustomization.keys() - KNOWN_FIELDS:
        raise ValueError(f"{folder / 'kustomization.yaml'}: render() does not know {sorted(unknown)}")
    objects = [obj for name in kustomization.get("resources", []) for obj in resource(folder / name)]
    for generator in kustomization.get("configMapGenerator", []):
        generate(objects, **generator)
    for patch in kustomization.get("patches", []):
        apply(objects, load_all(folder / patch["path"]))
    for image in kustomization.get("images", []):
        rename_images(objects, image)
    for obj in objects:
        move(obj, kustomization["namespace"])
    return objects


def resource(path: Path) -> list[Object]:
    return render(path) if path.is_dir() else load_all(path)


def generate(objects: list[Object], name: str, literals: list[str], behavior: str = "create") -> None:
    data = dict(literal.split("=", 1) for literal in literals)
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    if behavior == "merge":
        apply(objects, [obj])
    else:
        objects.append(obj)


def apply(objects: list[Object], patches: Iterable[Object]) -> None:
    places = {identity(obj): place for place, obj in enumerate(objects)}
    for patch in patches:
        if identity(patch) not in places:
            raise LookupError(f"there is no {identity(patch)} to patch")
        place = places[identity(patch)]
        objects[place] = merged(objects[place], patch)


def rename_images(objects: list[Object], image: dict[str, str]) -> None:
    for container in (container for obj in objects for container in containers(obj)):
        if container["image"].rpartition(":")[0] == image["name"]:
            container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"


def move(obj: Object, namespace: str) -> None:
    obj["metadata"]["name" if obj["kind"] == "Namespace" else "namespace"] = namespace


def pod_spec(obj: Object) -> Object | None:
    spec: Object | None = obj.get("spec", {}).get("template", {}).get("spec")
    return spec


def containers(obj: Object) -> list[Object]:
    spec = pod_spec(obj) or {}
    return [*spec.get("initContainers", []), *spec.get("containers", [])]
