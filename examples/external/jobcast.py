"""Jobcast for programs that have a queue of their own. JOBCAST_URL says where it is, JOBCAST_KEY is the key, if one is needed.
    job = jobcast.submit("digest", external=True)             # hand job["jobId"] and job["leaseToken"] to the queue
    with jobcast.Report(job_id, lease_token) as report: ...   # where the work is done: report.progress(50), report.text("…")
    for event in jobcast.follow(job_id): print(event)         # anywhere"""
import contextlib, http.client, json, os, random, threading, time, urllib.error, urllib.request, uuid
BASE, KEY = os.environ.get("JOBCAST_URL", "http://127.0.0.1:8080").rstrip("/"), os.environ.get("JOBCAST_KEY")
HEADERS = {"Content-Type": "application/json", **({"Authorization": f"Bearer {KEY}"} if KEY else {})}
BROKEN = OSError, ValueError, http.client.HTTPException  # no answer, or half of one
class Refused(Exception): "The gateway said no, and why; lease-lost, for one: the job isn't ours to report of any more."
class Cancelled(BaseException): "The job was cancelled. Not an Exception, so that no task takes it for an error of its own."

def send(path, body, headers, timeout):
    request = urllib.request.Request(BASE + path, body and json.dumps(body).encode(), {**HEADERS, **headers})
    try:
        return urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code in (408, 429): raise  # later, perhaps
        raise Refused(f"{path} answered {error.code} {error.read().decode(errors='replace')}") from None

def call(path, body=None, headers={}, patience=15):
    """Sends until there is an answer, for so many seconds. Whatever is sent here may be sent again: it is done once."""
    end, pause = time.monotonic() + patience, 0.1
    while True:
        try:
            with send(path, body, headers, timeout=10) as answer: return json.load(answer)
        except BROKEN:
            if time.monotonic() > end: raise
        time.sleep(random.uniform(0.5, 1) * (pause := min(pause * 2, 5)))

def submit(task, payload=None, key=None, **fields):  # as docs/API.md has them; the same key again finds the same job
    return call("/api/jobs", {"task": task, "payload": payload, **fields}, {"Idempotency-Key": f'"{key or uuid.uuid4()}"'})

class Report:
    """Starts the job and keeps it alive. `with` it, a block's good end completes the job with `report.result`, and an exception
    fails it. A cancellation ends the block in silence, at its next report; long work may ask `report.over.is_set()`."""
    def __init__(self, job_id, lease_token, heartbeat=10):
        self.path, self.token, self.every = f"/api/work/{job_id}/", lease_token, heartbeat
        self.batch, self.result, self.over = 0, None, threading.Event()
        threading.Thread(target=self.beat, daemon=True).start()
    def __enter__(self): return self
    def __exit__(self, kind, error, _):
        self.over.set()
        with contextlib.suppress(Cancelled):
            if kind is None: self.tell("complete", batch=self.batch + 1, result=self.result)
            elif kind is not Cancelled: self.tell("fail", error=f"{kind.__name__}: {error}")
        return kind is Cancelled
    def beat(self):
        while not self.over.is_set():
            with contextlib.suppress(*BROKEN, Refused, Cancelled):  # the next report hears it too
                self.tell("heartbeat", patience=0)
            self.over.wait(self.every)
    def tell(self, what, patience=300, **fields):
        if call(self.path + what, {"leaseToken": self.token, **fields}, patience=patience)["cancelled"]:
            self.over.set()
            raise Cancelled
    def write(self, what, **fields):
        self.batch += 1  # a repeat is known by it, so there is one write at a time
        self.tell(what, batch=self.batch, **fields)
    def progress(self, percent=None, message=None): self.write("progress", progress=percent, message=message)
    def output(self, output): self.write("output", output=output)
    def text(self, text): self.write("output", text=text)

def follow(job_id, cursor=""):
    """The job's events, each once and in order, to its end. Where no stream can be had, they are polled from the job's log."""
    path, after, broken, fields = f"/api/jobs/{job_id}/events", {"Last-Event-ID": cursor}, 0, {}
    while after["Last-Event-ID"] is not None:
        try:
            with send(path, None, {**after, "Accept": "text/event-stream"}, timeout=20) as stream:  # heartbeats: 15 ± 3 s
                if stream.status == 204: return  # the cursor is the end
                for line in stream:
                    name, _, fields[name] = line.decode().rstrip("\n").partition(": ")
                    if line != b"\n": continue
                    broken, after["Last-Event-ID"] = 0, fields["id"]
                    yield json.loads(fields["data"])
        except BROKEN:
            broken, page = broken + 1, call(path, None, {**after, "Accept": "application/json"}, patience=float("inf"))
            yield from page["events"]
            after["Last-Event-ID"] = page["next"]
        time.sleep(random.uniform(0.3, 0.6) * min(2 ** broken, 30))
