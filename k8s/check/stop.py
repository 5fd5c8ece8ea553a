"""A pod is killed when its terminationGracePeriodSeconds are over: is that always after Jobcast has stopped by itself?"""

import re

import settings
from manifests import REPOSITORY, is_jobcast, name_of, of_kind, pod_of

# What a stop may take beyond what the configuration gives it, said where it is so: SLACK for all that isn't a stream or an
# attempt, then LEAVE for tasks that are told to leave at once.
MARGINS = {
    "crates/cli/src/command.rs": r"const SLACK: Duration = Duration::from_secs\((\d+)\);",
    "crates/service/src/stop.rs": r"const LEAVE: Duration = Duration::from_secs\((\d+)\);",
}
# What each role does one after the other when it stops.
STEPS = {"gateway": ["stream.drain"], "worker": ["worker.grace", "worker.kill_after"], "courier": ["courier.grace"]}


def margin():
    total = 0
    for file, pattern in MARGINS.items():
        found = re.search(pattern, (REPOSITORY / file).read_text())
        if not found:
            raise LookupError(f"{file}: there is no line like `{pattern}` any more; mend k8s/check/stop.py")
        total += int(found[1])
    return total


def sum_of(manifests, workload):
    """The longest that a pod's stop may take, in seconds, and how it is made up."""
    container = pod_of(workload)["containers"][0]
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    parts = {"preStop": sleep}
    for key in STEPS[container["args"][0]]:
        parts[key] = settings.seconds(settings.value(manifests, workload, key))
    parts["margin"] = margin()
    return sum(parts.values()), " + ".join(f"{name} {seconds:g}" for name, seconds in parts.items())


def check(manifests):
    problems = []
    for workload in filter(is_jobcast, of_kind(manifests, "Deployment")):
        grace = pod_of(workload).get("terminationGracePeriodSeconds", 30)
        longest, made_of = sum_of(manifests, workload)
        if longest >= grace:
            problems.append(f"{name_of(workload)}: {made_of} = {longest:g} s, not less than the grace period of {grace} s")
    return problems
