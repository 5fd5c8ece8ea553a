"""Every manifest against a schema that refuses what it doesn't know."""

import functools
import json
from pathlib import Path

import jsonschema
from kubernetes_validate import utils

from manifests import name_of

# The oldest Kubernetes that the manifests are written for (preStop's `sleep` is stable from there on), and the newest known.
VERSIONS = ["1.34", "1.37"]

HTTPROUTE = json.loads(Path(__file__).with_name("httproute.schema.json").read_text())
OWN = {("gateway.networking.k8s.io/v1", "HTTPRoute"): jsonschema.Draft202012Validator(HTTPROUTE)}

# It reads 5 MB for each manifest anew.
utils.schema_contents = functools.cache(utils.schema_contents)


def check(manifest):
    """What is wrong with one manifest, as sentences. A kind without a schema is wrong too: nothing goes unchecked."""
    own = OWN.get((manifest.get("apiVersion"), manifest.get("kind")))
    if own:
        return [f"{name_of(manifest)}: {error.json_path}: {error.message}" for error in own.iter_errors(manifest)]
    problems = []
    for version in VERSIONS:
        try:
            utils.validate(manifest, version, strict=True)
        except utils.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            problems.append(f"{name_of(manifest)}: {path}: {error.message} (Kubernetes {version})")
        except utils.SchemaNotFoundError as error:
            problems.append(f"{name_of(manifest)}: {error.message}")
    return problems
