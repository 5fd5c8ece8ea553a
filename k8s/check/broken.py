"""Manifests that must be refused: each check is tried on what it is there to find, made from the real manifests by one
change. A check that lets one through checks nothing."""

import copy

import rules
import schemas
import stop
from manifests import of_kind

COMPONENT = "app.kubernetes.io/component"


def one(manifests, kind, name):
    return next(found for found in of_kind(manifests, kind) if found["metadata"]["name"].startswith(name))


def gateway(manifests):
    return one(manifests, "Deployment", "jobcast-gateway")


def pod(manifests):
    return gateway(manifests)["spec"]["template"]["spec"]


def container(manifests):
    return pod(manifests)["containers"][0]


def route(manifests):
    return one(manifests, "HTTPRoute", "jobcast")["spec"]["rules"][0]


def courier_blocks(manifests):
    return one(manifests, "NetworkPolicy", "jobcast-courier")["spec"]["egress"][0]["to"]


def file(manifests):
    return one(manifests, "ConfigMap", "jobcast-config")["data"]


def rename(table, old, new):
    table[new] = table.pop(old)


def replace(table, key, old, new):
    assert old in table[key], f"{old!r} is gone; mend k8s/check/broken.py"
    table[key] = table[key].replace(old, new)


def schema(manifests):
    return [problem for manifest in manifests for problem in schemas.check(manifest)]


# What is changed, what has to find it, and how it is changed.
CHANGES = [
    ("a typo in a probe's name", schema, lambda m: rename(container(m), "readinessProbe", "readinesProbe")),
    ("a text for a number", schema, lambda m: pod(m).update(terminationGracePeriodSeconds="60")),
    ("a number for a text", schema, lambda m: container(m)["env"].append({"name": "A", "value": 1})),
    ("a field in the wrong place", schema, lambda m: gateway(m)["spec"].update(minReplicas=2)),
    ("an API version that is gone", schema,
     lambda m: one(m, "HorizontalPodAutoscaler", "jobcast-gateway").update(apiVersion="autoscaling/v2beta2")),
    ("a kind that doesn't exist", schema, lambda m: gateway(m).update(kind="Deploymnet")),
    ("a typo in a policy", schema,
     lambda m: rename(one(m, "NetworkPolicy", "jobcast-gateway")["spec"], "podSelector", "podselector")),
    ("a typo in a route", schema, lambda m: rename(route(m), "timeouts", "timeout")),
    ("a route's time without a unit", schema, lambda m: route(m)["timeouts"].update(request="0")),
    ("a route's port as a text", schema, lambda m: route(m)["backendRefs"][0].update(port="http")),
    ("a route's path without its slash", schema, lambda m: route(m)["matches"][0]["path"].update(value="api")),
    ("a drain longer than the grace period", stop.check,
     lambda m: replace(file(m), "jobcast.toml", 'drain = "30s"', 'drain = "1m"')),
    ("a grace period that is the sum, not more", stop.check, lambda m: pod(m).update(terminationGracePeriodSeconds=55)),
    ("a grace period left to its default", stop.check, lambda m: pod(m).pop("terminationGracePeriodSeconds")),
    ("a drain set by a variable", stop.check,
     lambda m: container(m)["env"].append({"name": "JOBCAST__STREAM__DRAIN", "value": "45s"})),
    ("a long preStop", stop.check, lambda m: container(m)["lifecycle"]["preStop"]["sleep"].update(seconds=20)),
    ("a worker that takes its time", stop.check,
     lambda m: replace(file(m), "jobcast.toml", 'grace = "1m"', 'grace = "1m 30s"')),
    ("a courier that takes its time", stop.check,
     lambda m: replace(file(m), "jobcast.toml", 'grace = "15s"', 'grace = "45s"')),
    ("pods with another label", rules.selectors_find_their_pods,
     lambda m: gateway(m)["spec"]["template"]["metadata"]["labels"].update({COMPONENT: "gate"})),
    ("a service to a port that isn't there", rules.selectors_find_their_pods,
     lambda m: one(m, "Service", "jobcast-gateway")["spec"]["ports"][0].update(targetPort="web")),
    ("a budget for all at once", rules.selectors_find_their_pods,
     lambda m: one(m, "PodDisruptionBudget", "jobcast-worker")["spec"]["selector"]["matchLabels"].pop(COMPONENT)),
    ("a pod without a policy", rules.policies_cover_every_pod,
     lambda m: m.remove(one(m, "NetworkPolicy", "jobcast-worker"))),
    ("a policy that lets in anybody", rules.policies_cover_every_pod,
     lambda m: one(m, "NetworkPolicy", "jobcast-gateway")["spec"]["ingress"][0].pop("from")),
    ("a courier that may call inside", rules.the_way_out_leads_to_the_internet_alone,
     lambda m: courier_blocks(m)[0]["ipBlock"]["except"].remove("169.254.0.0/16")),
    ("a courier that may call inside by IPv6", rules.the_way_out_leads_to_the_internet_alone,
     lambda m: courier_blocks(m)[1]["ipBlock"].pop("except")),
    ("a courier that may call nobody", rules.the_way_out_leads_to_the_internet_alone, lambda m: courier_blocks(m).pop(0)),
    ("replicas said twice", rules.scalers_own_the_replicas, lambda m: gateway(m)["spec"].update(replicas=2)),
    ("a scaler of nothing", rules.scalers_own_the_replicas,
     lambda m: one(m, "HorizontalPodAutoscaler", "jobcast-gateway")["spec"]["scaleTargetRef"].update(name="jobcast")),
    ("a container that keeps its capabilities", rules.pods_are_restricted,
     lambda m: container(m)["securityContext"].pop("capabilities")),
    ("a container with a writable root", rules.pods_are_restricted,
     lambda m: container(m)["securityContext"].update(readOnlyRootFilesystem=False)),
    ("a second container without care", rules.pods_are_restricted,
     lambda m: pod(m)["containers"].append({"name": "b", "image": "b:1"})),
    ("a pod as root", rules.pods_are_restricted, lambda m: pod(m)["securityContext"].update(runAsUser=0)),
    ("a pod with a token", rules.pods_are_restricted, lambda m: pod(m).pop("automountServiceAccountToken")),
    ("no limit on memory", rules.containers_are_watched_and_bounded, lambda m: container(m)["resources"].pop("limits")),
    ("liveness by readiness", rules.containers_are_watched_and_bounded,
     lambda m: container(m)["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("a gateway of another version", rules.images_are_one,
     lambda m: container(m).update(image="registry.example.com/jobcast:0.0.9")),
    ("an image without a version", rules.images_are_one,
     lambda m: container(m).update(image="localhost:5000/jobcast")),
    ("a ConfigMap that isn't there", rules.references_lead_somewhere,
     lambda m: pod(m)["volumes"][0]["configMap"].update(name="config")),
    ("another Secret", rules.references_lead_somewhere,
     lambda m: container(m)["env"][0]["valueFrom"]["secretKeyRef"].update(name="redis")),
    ("a setting that isn't there", rules.settings_exist,
     lambda m: replace(file(m), "jobcast.toml", "[stream]\n", "[stream]\ndrian = \"1s\"\n")),
    ("a gateway on the loopback", rules.settings_exist,
     lambda m: replace(file(m), "jobcast.toml", "0.0.0.0:8080", "127.0.0.1:8080")),
    ("a rollout with a gap", rules.rollouts_lose_nobody, lambda m: gateway(m)["spec"].pop("strategy")),
    ("a route with Envoy's own limit", rules.routes_keep_streams_open, lambda m: route(m).pop("timeouts")),
    ("a sticky service", rules.routes_keep_streams_open,
     lambda m: one(m, "Service", "jobcast-gateway")["spec"].update(sessionAffinity="ClientIP")),
]


def check(manifests):
    """For each change: its name, and whether it was found."""
    for name, finds, change in CHANGES:
        changed = copy.deepcopy(manifests)
        change(changed)
        if finds is schema:
            changed = [new for new, old in zip(changed, manifests) if new != old]
        yield name, bool(finds(changed))
