"""Counts: emits outputs 1 to `n` of its attempt, `seconds` in all, then returns n. For tests that check what arrives."""
import json
import os
import sys
import time

job = json.load(sys.stdin)
n, seconds = job["n"], job.get("seconds", 0)
attempt = int(os.environ["JOBCAST_ATTEMPT"])
start = time.monotonic()
for i in range(1, n + 1):
    print(json.dumps({"output": {"attempt": attempt, "count": i}}), flush=True)
    print(json.dumps({"progress": 100 * i / n, "message": f"{i} of {n}"}), flush=True)
    time.sleep(max(0.0, start + seconds * i / n - time.monotonic()))
print(json.dumps({"result": {"count": n}}), flush=True)
