"""Counts, twenty times a second: attempt 1 without end, later ones to `n`. For tests that make an attempt lose its lease."""
import itertools
import json
import os
import sys
import time

n = json.load(sys.stdin)["n"]
attempt = int(os.environ["JOBCAST_ATTEMPT"])
for i in itertools.count(1) if attempt == 1 else range(1, n + 1):
    print(json.dumps({"output": {"attempt": attempt, "count": i}}), flush=True)
    time.sleep(0.05)
print(json.dumps({"result": {"count": n}}), flush=True)
