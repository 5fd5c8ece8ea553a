#!/usr/bin/env python3
"""A Jobcast worker over HTTP, with the standard library alone. Its task is `shout`: {"text": "so quiet"} → SO QUIET.
    JOBCAST_KEY=… python3 worker.py [http://127.0.0.1:8080]     (Ctrl-C gives a running job back)
"""
import contextlib, http.client, json, os, random, signal, sys, threading, urllib.error, urllib.request

BASE = (sys.argv[1:] or ["http://127.0.0.1:8080"])[0].rstrip("/")
KEY = os.environ.get("JOBCAST_KEY")
HEADERS = {"Content-Type": "application/json", **({"Authorization": f"Bearer {KEY}"} if KEY else {})}

class Over(BaseException):
    """The attempt is over: cancelled, or taken from us. Not an Exception, so that no task swallows it."""

def call(path, body, over, timeout=10):
    """Posts until there is an answer. Any call may be repeated, so a lost answer or a gateway's restart is harmless."""
    request, pause = urllib.request.Request(BASE + path, json.dumps(body).encode(), HEADERS), 0.2
    while True:
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.loads(answer.read() or b"null")  # 204, nothing to do: null
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                gone, why = error.code in (404, 409, 410), error.read().decode(errors="replace")
                raise Over if gone else ValueError(f"{path} answered {error.code} {why}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            print(f"{BASE}{path}: {error}; trying again", file=sys.stderr)
        if over.wait(pause * random.uniform(0.5, 1)):
            raise Over
        pause = min(pause * 2, 5)

class Attempt:
    def __init__(self, job):
        self.path, self.token = f"/api/work/{job['jobId']}/", job["leaseToken"]
        self.batch, self.over = 0, threading.Event()
        threading.Thread(target=self.heartbeats, daemon=True).start()

    def heartbeats(self):
        with contextlib.suppress(Over, Exception):
            while not self.over.wait(2):  # seconds: often enough for a lease of 5 s, and to hear of a cancellation soon
                self.send("heartbeat")
        self.over.set()

    def send(self, what, **fields):
        if call(self.path + what, {"leaseToken": self.token, **fields}, self.over)["cancelled"] or self.over.is_set():
            raise Over

    def write(self, what, **fields):  # progress or output
        self.batch += 1  # so the gateway knows a repeat
        self.send(what, batch=self.batch, **fields)

def shout(attempt, payload):
    if not isinstance(payload, dict) or not isinstance(payload.get("text"), str):
        raise ValueError('the payload must be like {"text": "so quiet"}')
    words = payload["text"].upper().split()
    for n, word in enumerate(words, 1):
        attempt.write("output", text=word if n == 1 else " " + word)
        if n % (len(words) // 100 + 1) == 0:
            attempt.write("progress", progress=n * 100 / len(words), message=f"{n} of {len(words)} words")
    return {"text": " ".join(words), "words": len(words)}

def work(attempt, payload):
    try:
        try:
            attempt.send("complete", result=shout(attempt, payload))
        except Exception as error:  # a ValueError is a bad payload, or a refusal: another attempt would fare no better
            attempt.send("fail", error=f"{type(error).__name__}: {error}", retry=not isinstance(error, ValueError))
    except BaseException:  # cancelled, taken from us, or Ctrl-C
        attempt.over.set()  # so one try, not more: without an answer the lease runs out
        with contextlib.suppress(Over):
            attempt.send("release")
        raise
    attempt.over.set()

with contextlib.suppress(KeyboardInterrupt):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    while True:
        if job := call("/api/work/claim?wait=20", {"tasks": ["shout"]}, threading.Event(), timeout=30):
            with contextlib.suppress(Over):
                work(Attempt(job), job["payload"])
