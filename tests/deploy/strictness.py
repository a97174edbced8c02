"""Strict validation without a cluster: an object with a field that its kind does not have is refused.

Kubernetes' own kinds by its schemas, which kubernetes-validate carries along. Custom resources by models that
cloudcoil's packages generate from the operators' CustomResourceDefinitions, closed against unknown fields here: the API
server drops such fields in silence, or refuses them, as it is asked to.
"""

from __future__ import annotations

import functools
import importlib
import json
from typing import Any

import jsonschema
import kubernetes_validate
from manifests import Object

OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.30", "1.34"
CUSTOM_RESOURCES = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}


class Invalid(Exception):
    """Names the field that is wrong or unknown."""


def validate(obj: Object) -> None:
    """Raises Invalid."""
    try:
        if obj["apiVersion"] in CUSTOM_RESOURCES:
            validator(obj["apiVersion"], obj["kind"]).validate(obj)
        else:
            for version in (OLDEST_KUBERNETES, NEWEST_KUBERNETES):
                kubernetes_validate.validate(obj, version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        raise Invalid(f"{obj['kind']} {obj['metadata']['name']}: {error.message}") from error


@functools.cache
def validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    model = getattr(importlib.import_module(CUSTOM_RESOURCES[api_version]), kind)
    schema: dict[str, Any] = model.model_json_schema(by_alias=True)
    for one in [schema, *schema["$defs"].values()]:
        if "properties" in one:
            one["additionalProperties"] = False
    as_python_writes_it = json.loads(json.dumps(schema).replace('"^(?i)', '"(?i)^'))
    return jsonschema.Draft202012Validator(as_python_writes_it)
