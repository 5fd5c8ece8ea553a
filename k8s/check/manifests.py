"""What `kubectl kustomize` makes of a folder, and ways to find one's way in it."""

import subprocess
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


def build(kubectl, folder):
    """The manifests of a folder, in order. Raises RuntimeError with kustomize's own words."""
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def name_of(manifest):
    return f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"


def of_kind(manifests, *kinds):
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def workloads(manifests):
    return of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def labels_of(workload):
    return workload["spec"]["template"]["metadata"].get("labels", {})


def containers_of(workload):
    pod = pod_of(workload)
    return pod.get("initContainers", []) + pod["containers"]


def is_jobcast(workload):
    return workload["metadata"]["name"].startswith("jobcast-")


def selected(manifests, labels):
    """The workloads whose pods have all of these labels."""
    return [one for one in workloads(manifests) if labels.items() <= labels_of(one).items()]
