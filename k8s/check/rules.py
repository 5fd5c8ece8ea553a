"""What no schema knows: that the parts fit together, and that each is as careful as all. Each rule takes the manifests and
gives what is wrong, as sentences."""

import ipaddress

import settings
from manifests import containers_of, is_jobcast, labels_of, name_of, of_kind, pod_of, selected, workloads

# Made by hand or by a secret manager, never in git. (k8s/overlays/dev makes its own.)
SECRETS_FROM_OUTSIDE = {"jobcast"}
# Settings that are tables of tables, and so no line of config/jobcast.toml.
TABLES = {"auth.keys", "webhooks.owners"}
# Where a webhook must not get to, whatever its URL says.
INSIDE = ["10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "::1", "fc00::1", "fe80::1", "64:ff9b::a00:1"]


def selectors_find_their_pods(manifests):
    problems = []
    for one in workloads(manifests):
        selector = one["spec"]["selector"]["matchLabels"]
        if selected(manifests, selector) != [one]:
            problems.append(f"{name_of(one)}: its selector doesn't find its own pods alone")
        for spread in pod_of(one).get("topologySpreadConstraints", []):
            if not spread["labelSelector"]["matchLabels"].items() <= labels_of(one).items():
                problems.append(f"{name_of(one)}: a spread constraint counts other pods")
    for one in of_kind(manifests, "Service"):
        found = selected(manifests, one["spec"]["selector"])
        if len(found) != 1:
            problems.append(f"{name_of(one)}: selects pods of {len(found)} workloads")
        for port in one["spec"]["ports"]:
            if found and port["targetPort"] not in port_names(found[0]):
                problems.append(f"{name_of(one)}: its pods have no port {port['targetPort']!r}")
    for one in of_kind(manifests, "PodDisruptionBudget"):
        if len(selected(manifests, one["spec"]["selector"]["matchLabels"])) != 1:
            problems.append(f"{name_of(one)}: doesn't protect exactly one workload")
    return problems


def port_names(workload):
    return {port["name"] for one in containers_of(workload) for port in one.get("ports", [])}


def policies_cover_every_pod(manifests):
    """In both directions, and name ports that exist."""
    problems = []
    covered = {"Ingress": [], "Egress": []}
    for policy in of_kind(manifests, "NetworkPolicy"):
        found = selected(manifests, policy["spec"]["podSelector"].get("matchLabels", {}))
        if not found:
            problems.append(f"{name_of(policy)}: selects nothing")
        for direction in policy["spec"]["policyTypes"]:
            covered[direction] += found
        for ingress in policy["spec"].get("ingress", []):
            if not ingress.get("from") or not ingress.get("ports"):
                problems.append(f"{name_of(policy)}: lets in anybody, or to any port")
            for port in ingress.get("ports", []):
                if any(port["port"] not in port_names(one) for one in found):
                    problems.append(f"{name_of(policy)}: there is no port {port['port']!r}")
    for direction, found in covered.items():
        for one in workloads(manifests):
            if one not in found:
                problems.append(f"{name_of(one)}: no policy restricts its {direction.lower()}")
    return problems


def the_way_out_leads_to_the_internet_alone(manifests):
    """Who may call everybody may call nobody inside; and couriers may call somebody."""
    problems = []
    for policy in of_kind(manifests, "NetworkPolicy"):
        blocks = [to["ipBlock"] for egress in policy["spec"].get("egress", []) for to in egress.get("to", []) if "ipBlock" in to]
        for address in map(ipaddress.ip_address, INSIDE):
            if any(is_let_through(address, block) for block in blocks):
                problems.append(f"{name_of(policy)}: lets through to {address}")
        if policy["metadata"]["name"] == "jobcast-courier" and not any(
            is_let_through(ipaddress.ip_address("8.8.8.8"), block) for block in blocks
        ):
            problems.append(f"{name_of(policy)}: couriers reach no receiver")
    return problems


def is_let_through(address, block):
    nets = [ipaddress.ip_network(text) for text in [block["cidr"], *block.get("except", [])]]
    inside, *walls = [address.version == net.version and address in net for net in nets]
    return inside and not any(walls)


def scalers_own_the_replicas(manifests):
    problems = []
    targets = {}
    for one in of_kind(manifests, "HorizontalPodAutoscaler"):
        targets[one["spec"]["scaleTargetRef"]["name"]] = one
    for one in of_kind(manifests, "Deployment"):
        scaler = targets.pop(one["metadata"]["name"], None)
        if scaler is None:
            problems.append(f"{name_of(one)}: nobody scales it")
        elif scaler["spec"]["scaleTargetRef"]["kind"] != "Deployment" or "replicas" in one["spec"]:
            problems.append(f"{name_of(one)}: its replicas are said in two places")
        elif scaler["spec"]["minReplicas"] < 2:
            problems.append(f"{name_of(scaler)}: one pod is not available during a node's drain")
        # Without a request there is no percentage of it.
        if any("cpu" not in container["resources"].get("requests", {}) for container in containers_of(one)):
            problems.append(f"{name_of(one)}: has no CPU request to scale by")
    return problems + [f"hpa/{name}: scales nothing" for name in targets]


def pods_are_restricted(manifests):
    """The `restricted` standard, and a read-only root beside."""
    problems = []
    for one in workloads(manifests):
        pod = pod_of(one)
        context = pod.get("securityContext", {})
        wrong = []
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            wrong.append("may run as root")
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            wrong.append("has no seccomp profile")
        if pod.get("automountServiceAccountToken") is not False:
            wrong.append("gets a token of the API")
        if {"hostNetwork", "hostPID", "hostIPC"} & pod.keys():
            wrong.append("shares a namespace with its node")
        for volume in pod.get("volumes", []):
            if "hostPath" in volume:
                wrong.append("mounts a folder of its node")
        for container in containers_of(one):
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                wrong.append(f"{container['name']} may get more rights")
            if own.get("capabilities") != {"drop": ["ALL"]}:
                wrong.append(f"{container['name']} keeps capabilities")
            if own.get("readOnlyRootFilesystem") is not True:
                wrong.append(f"{container['name']} may write to its root")
            if own.get("runAsNonRoot", True) is not True or own.get("runAsUser", 1) == 0:
                wrong.append(f"{container['name']} runs as root")
        problems += [f"{name_of(one)}: {what}" for what in wrong]
    for one in of_kind(manifests, "Namespace"):
        if one["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            problems.append(f"{name_of(one)}: doesn't enforce the restricted standard")
    return problems


def containers_are_watched_and_bounded(manifests):
    problems = []
    for one in workloads(manifests):
        for container in containers_of(one):
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
                action = container.get(probe, {})
                port = (action.get("httpGet") or action.get("tcpSocket") or {}).get("port")
                if not action or (port is not None and port not in port_names(one)):
                    problems.append(f"{name_of(one)}: its {probe} is missing or asks at a port that isn't there")
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
                problems.append(f"{name_of(one)}: requests or limits are missing")
        asked = [containers_of(one)[0].get(probe, {}) for probe in ("livenessProbe", "readinessProbe")]
        paths = [probe.get("httpGet", {}).get("path") for probe in asked]
        if is_jobcast(one) and paths != ["/healthz", "/readyz"]:
            problems.append(f"{name_of(one)}: alive is /healthz, ready is /readyz, not {paths}")
    return problems


def images_are_one(manifests):
    problems = []
    images = {container["image"] for one in filter(is_jobcast, workloads(manifests)) for container in containers_of(one)}
    if len(images) != 1:
        problems.append(f"the roles run different images: {sorted(images)}")
    for one in workloads(manifests):
        for container in containers_of(one):
            name, _, tag = container["image"].rpartition(":")
            if not name or "/" in tag or tag == "latest":
                problems.append(f"{name_of(one)}: {container['image']} names no version")
    return problems


def references_lead_somewhere(manifests):
    problems = []
    kinds = ["ConfigMap", "Secret", "ServiceAccount"]
    have = {kind: {one["metadata"]["name"]: one for one in of_kind(manifests, kind)} for kind in kinds}
    namespaces = {one["metadata"].get("namespace") for one in manifests if one["kind"] != "Namespace"}
    if namespaces != {one["metadata"]["name"] for one in of_kind(manifests, "Namespace")}:
        problems.append(f"not all is in the one namespace: {namespaces}")
    for one in workloads(manifests):
        pod = pod_of(one)
        for volume in pod.get("volumes", []):
            if "configMap" in volume and volume["configMap"]["name"] not in have["ConfigMap"]:
                problems.append(f"{name_of(one)}: there is no ConfigMap {volume['configMap']['name']}")
        for container in containers_of(one):
            known = {volume["name"] for volume in pod.get("volumes", [])}
            known |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in known:
                    problems.append(f"{name_of(one)}: there is no volume {mount['name']}")
            for variable in container.get("env", []):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                if secret and not secret.get("optional") and not has_secret(have["Secret"], secret):
                    problems.append(f"{name_of(one)}: there is no Secret {secret['name']} with {secret['key']}")
        account = pod.get("serviceAccountName")
        if account and have["ServiceAccount"].get(account, {}).get("automountServiceAccountToken") is not False:
            problems.append(f"{name_of(one)}: there is no ServiceAccount {account} without a token")
    return problems


def has_secret(secrets, wanted):
    if wanted["name"] in SECRETS_FROM_OUTSIDE and not secrets:
        return True
    return wanted["key"] in secrets.get(wanted["name"], {}).get("data", {})


def settings_exist(manifests):
    """In the file and in the variables; and the roles listen where their ports say."""
    problems = []
    known = settings.documented()
    for one in filter(is_jobcast, workloads(manifests)):
        config = settings.file_of(manifests, one)
        keys = {f"{section}.{key}" for section, table in config.items() if section != "tasks" for key in table}
        keys |= settings.variables_of(one).keys()
        problems += [f"{name_of(one)}: there is no setting {key}" for key in sorted(keys - known.keys() - TABLES)]
        if settings.value(manifests, one, "auth.anonymous") not in (False, "true", "false"):
            problems.append(f"{name_of(one)}: auth.anonymous is neither true nor false")
        role = pod_of(one)["containers"][0]["args"][0]
        address, _, port = settings.value(manifests, one, f"{role}.listen").rpartition(":")
        if address not in ("0.0.0.0", "[::]"):
            problems.append(f"{name_of(one)}: listens where nobody outside the pod can reach it")
        if int(port) not in [port["containerPort"] for port in containers_of(one)[0]["ports"]]:
            problems.append(f"{name_of(one)}: listens on {port}, which is none of its ports")
    return problems


def rollouts_lose_nobody(manifests):
    problems = []
    for one in of_kind(manifests, "Deployment"):
        if one["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
            problems.append(f"{name_of(one)}: an update takes a pod away before the next one is there")
    return problems


def routes_keep_streams_open(manifests):
    problems = []
    services = {one["metadata"]["name"]: one for one in of_kind(manifests, "Service")}
    for route in of_kind(manifests, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            if rule.get("timeouts", {}).get("request") != "0s":
                problems.append(f"{name_of(route)}: streams are cut by the proxy's own time limit")
            for backend in rule["backendRefs"]:
                ports = [port["port"] for port in services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]]
                if backend["port"] not in ports:
                    problems.append(f"{name_of(route)}: there is no service {backend['name']}:{backend['port']}")
    for service in services.values():
        if service["spec"].get("sessionAffinity", "None") != "None":
            problems.append(f"{name_of(service)}: sticky sessions hinder streams from spreading")
    return problems


ALL = [
    selectors_find_their_pods,
    policies_cover_every_pod,
    the_way_out_leads_to_the_internet_alone,
    scalers_own_the_replicas,
    pods_are_restricted,
    containers_are_watched_and_bounded,
    images_are_one,
    references_lead_somewhere,
    settings_exist,
    rollouts_lose_nobody,
    routes_keep_streams_open,
]
