"""Checks k8s/ and the Dockerfile without a cluster: `make test-k8s`. Arguments: the paths of kubectl and of hadolint."""

import subprocess
import sys

import broken
import rules
import schemas
import stop
from manifests import REPOSITORY, build, name_of

FOLDERS = ["k8s/base", "k8s/overlays/dev"]


class Tally:
    """Counts checks in groups; says what failed at once, and a line for each group."""

    def __init__(self):
        self.passed = self.failed = 0

    def group(self, title, checks):
        """`checks` are pairs: what is checked, and what is wrong with it (a list of sentences)."""
        passed = failed = 0
        for what, problems in checks:
            passed += not problems
            failed += bool(problems)
            for problem in problems:
                print(f"FAILED {title}: {what}: {problem}")
        print(f"k8s, {title}: {passed} passed, {failed} failed", flush=True)
        self.passed += passed
        self.failed += failed


def lint(hadolint):
    command = [hadolint, "--no-color", "Dockerfile"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    yield "Dockerfile", (done.stdout + done.stderr).splitlines() if done.returncode else []


def main(kubectl, hadolint):
    tally = Tally()
    built = {}
    for folder in FOLDERS:
        try:
            built[folder] = build(kubectl, REPOSITORY / folder)
            problems = []
        except RuntimeError as error:
            problems = [str(error)]
        tally.group(f"kustomize builds {folder}", [(folder, problems)])
    for folder, manifests in built.items():
        tally.group(f"schemas of {folder}", ((name_of(one), schemas.check(one)) for one in manifests))
        tally.group(f"rules of {folder}", ((rule.__name__, rule(manifests)) for rule in rules.ALL))
        tally.group(f"stop before kill in {folder}", [("terminationGracePeriodSeconds", stop.check(manifests))])
    if "k8s/base" in built:
        tried = broken.check(built["k8s/base"])
        tally.group("nonsense is refused", ((name, [] if found else ["it was let through"]) for name, found in tried))
    tally.group("hadolint", lint(hadolint))
    print(f"k8s: {tally.passed} passed, {tally.failed} failed")
    return tally.failed == 0 and len(built) == len(FOLDERS)


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
