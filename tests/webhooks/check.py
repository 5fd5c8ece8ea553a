"""Tries docs/WEBHOOKS.md's Python, and the library from PyPI, on webhooks that Jobcast signed. Arguments: a file of them, a file of
old ones (one JSON object a line, by `webhook_vectors`)."""

import importlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from standardwebhooks.webhooks import Webhook

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs/WEBHOOKS.md"
# Every block of the guide is tried below.
BLOCKS = ["verify.py", "verify_with_library.py", "receiver.py", "simplest.py"]
SOON = 60


def extract(folder):
    text = GUIDE.read_text()
    blocks = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", text, re.M | re.S))
    assert list(blocks) == BLOCKS and text.count("```python") == len(BLOCKS), f"the guide's blocks are {list(blocks)}"
    for name, code in blocks.items():
        (folder / name).write_text(code)
    sys.path.insert(0, str(folder))


class Vector:
    def __init__(self, line):
        vector = json.loads(line)
        self.secrets, self.body = vector["secrets"], vector["body"].encode()
        self.headers = {name: value for name, value in vector["headers"].items() if value is not None}

    def altered(self):
        """What must be refused: what was changed, the headers and the body."""
        headers, body = self.headers, self.body
        id, timestamp, signature = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        yield "a longer body", headers, body + b" "
        yield "a shorter body", headers, body[:-1]
        yield "another body", headers, body.replace(b"job.", b"jab.", 1)
        yield "another id", {**headers, "webhook-id": id[:-1] + ("0" if id[-1] != "0" else "1")}, body
        yield "another time", {**headers, "webhook-timestamp": str(int(timestamp) + 1)}, body
        yield "no time", {**headers, "webhook-timestamp": "now"}, body
        other = " ".join(part[:3] + ("A" if part[3] != "A" else "B") + part[4:] for part in signature.split(" "))
        yield "another signature", {**headers, "webhook-signature": other}, body
        yield "another version", {**headers, "webhook-signature": signature.replace("v1,", "v2,")}, body
        yield "half a signature", {**headers, "webhook-signature": signature[:20]}, body
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            yield f"no {name}", {key: value for key, value in headers.items() if key != name}, body


def refuses(call, what):
    try:
        answer = call()
    except Exception:
        return
    raise AssertionError(f"{what} was taken: {answer!r}")


def library(headers, body, secrets):
    """The library as it is, with each secret on its own: during a rotation both verify."""
    for secret in secrets:
        webhook = Webhook(secret if secret.startswith("whsec_") else secret.encode())
        assert webhook.verify(body, headers) == json.loads(body)
    return headers["webhook-id"]


def takes(verify, vectors):
    for vector in vectors:
        for secrets in [vector.secrets, *([secret] for secret in vector.secrets), ["hush", *vector.secrets]]:
            if verify is library and secrets[0] == "hush":
                continue
            assert verify(vector.headers, vector.body, secrets) == vector.headers["webhook-id"]


def refuses_altered(verify, vectors, old):
    for vector in vectors:
        for what, headers, body in vector.altered():
            refuses(lambda: verify(headers, body, vector.secrets), what)
        refuses(lambda: verify(vector.headers, vector.body, ["hush"]), "another secret")
    for vector in old:
        refuses(lambda: verify(vector.headers, vector.body, vector.secrets), "an old one")


def simplest(vectors):
    verify = importlib.import_module("simplest").verify
    for vector in vectors:
        first = vector.secrets[0]
        assert verify(vector.headers, vector.body, first)
        assert not verify(vector.headers, vector.body + b" ", first) and not verify(vector.headers, vector.body, "hush")
        assert not verify({}, vector.body, first)


class Receiver:
    """The guide's receiver, as a process."""

    def __init__(self, folder, secrets):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        env = {**os.environ, "PORT": str(self.port), "WEBHOOK_SECRET": " ".join(secrets), "INBOX": str(folder / "inbox.db")}
        self.log = folder / "receiver.log"
        with self.log.open("ab") as log:
            command = [sys.executable, "-B", "-W", "error", str(folder / "receiver.py")]
            self.process = subprocess.Popen(command, env=env, stdout=log)

    def post(self, headers, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", body, headers)
        begin = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(request, timeout=SOON) as response:
                    return response.status
            except urllib.error.HTTPError as error:
                return error.code
            except urllib.error.URLError:
                # It has just been started.
                assert self.process.poll() is None and time.monotonic() < begin + SOON, "the receiver is away"
                time.sleep(0.05)

    def lines(self, count):
        begin = time.monotonic()
        while True:
            lines = self.log.read_text().splitlines()
            if len(lines) >= count or time.monotonic() > begin + SOON:
                return lines
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()


def receiver(folder, vectors):
    vectors = vectors[:20]
    jobs = [json.loads(vector.body)["data"] for vector in vectors]
    expected = [f"{job['task']} {job['id']} {job['status']}" for job in jobs]
    secrets = [secret for vector in vectors for secret in vector.secrets]
    # Killed in the middle, it knows what it has seen.
    for half in (vectors[:10], vectors):
        process = Receiver(folder, secrets)
        try:
            for vector in half:
                assert [process.post(vector.headers, vector.body) for _ in range(2)] == [204, 204]
                for what, headers, body in vector.altered():
                    assert process.post(headers, body) == 401, what
            assert process.lines(len(half)) == expected[: len(half)], "each once, in order"
        finally:
            process.kill()


def main(vectors, old):
    vectors, old = ([Vector(line) for line in pathlib.Path(file).read_text().strip("\n").split("\n")] for file in (vectors, old))
    assert len(vectors) >= 200 and old, "there are vectors"
    assert any(len(vector.secrets) == 2 for vector in vectors) and any("whsec_" not in vector.secrets[0] for vector in vectors)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        extract(folder)
        own, with_library = (importlib.import_module(name).verify for name in ("verify", "verify_with_library"))
        checks = [("simplest.py", lambda: simplest(vectors)), ("receiver.py", lambda: receiver(folder, vectors))]
        for name, verify in [("the library", library), ("verify.py", own), ("verify_with_library.py", with_library)]:
            checks.append((f"{name} takes all", lambda verify=verify: takes(verify, vectors)))
            checks.append((f"{name} refuses all altered", lambda verify=verify: refuses_altered(verify, vectors, old)))
        for name, check in checks:
            try:
                check()
                passed += 1
            except Exception as error:
                failed += 1
                print(f"FAILED webhooks, Python: {name}: {type(error).__name__}: {error}")
    print(f"webhooks, Python: {passed} passed, {failed} failed", flush=True)
    return failed == 0


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
