"""Jobcast's settings as a pod gets them: environment over ConfigMap over the defaults that config/jobcast.toml documents."""

import re

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

from manifests import REPOSITORY, of_kind, pod_of

DOCUMENTED = REPOSITORY / "config/jobcast.toml"
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def documented():
    """Every setting there is, `section.key`, and its default as TOML, None where there is none."""
    section, found = None, {}
    for line in DOCUMENTED.read_text().splitlines():
        header = re.match(r"(?:# e\.g\. )?\[+([a-z]+)[^\]]*\]+$", line)
        if header:
            section = header[1]
        setting = re.match(r"(# e\.g\. |# |)([a-z0-9_]+) = (.+)$", line)
        if setting and section:
            default = setting[3] if setting[1] == "# " else None
            found.setdefault(f"{section}.{setting[2]}", default)
    return found


def seconds(text):
    """A duration such as "1h 30m" in seconds."""
    parts = re.findall(r"(\d+)\s*(ms|s|m|h|d)\b", text)
    if not parts or re.sub(r"(\d+)\s*(ms|s|m|h|d)\b", "", text).strip():
        raise ValueError(f"{text!r} is no duration")
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def file_of(manifests, workload):
    """The configuration file that the workload's pods read, parsed: of the ConfigMap mounted where --config points."""
    pod = pod_of(workload)
    container = pod["containers"][0]
    args = container["args"]
    path = args[args.index("--config") + 1]
    folder, _, name = path.rpartition("/")
    mount = next(mount for mount in container["volumeMounts"] if mount["mountPath"] == folder)
    volume = next(volume for volume in pod["volumes"] if volume["name"] == mount["name"])
    wanted = volume["configMap"]["name"]
    config = next(one for one in of_kind(manifests, "ConfigMap") if one["metadata"]["name"] == wanted)
    return tomllib.loads(config["data"][name])


def variables_of(workload):
    """The settings among the pod's variables, by `section.key`; None where a Secret has the value."""
    variables = pod_of(workload)["containers"][0].get("env", [])
    prefix = "JOBCAST__"
    return {
        one["name"][len(prefix) :].lower().replace("__", "."): one.get("value")
        for one in variables
        if one["name"].startswith(prefix)
    }


def value(manifests, workload, key):
    """A setting as TOML text or as parsed from the file, whichever of variable, file and default says it first."""
    variable = variables_of(workload).get(key)
    if variable is not None:
        return variable
    section, name = key.split(".")
    in_file = file_of(manifests, workload).get(section, {}).get(name)
    if in_file is not None:
        return in_file
    default = documented()[key]
    return None if default is None else tomllib.loads(f"x = {default}")["x"]
