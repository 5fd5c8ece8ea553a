"""A web application in small: hands work to RQ, and shows how it goes as Jobcast tells it.
    python app.py ../data/book.txt [--pause 0.2]     REDIS_URL is RQ's server, JOBCAST_URL where Jobcast is
"""
import argparse, os

from redis import Redis
from rq import Queue

import jobcast


def start(path, pause):
    """What a request would do: the job exists before RQ hears of it, so it ends by itself (`unclaimed`) should RQ never do."""
    job = jobcast.submit("census", {"path": path}, external={"lease": 15}, queueTimeout=600)
    queue = Queue("census", connection=Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")))
    queue.enqueue("tasks.census", job["jobId"], job["leaseToken"], path, pause, job_id=job["jobId"])
    return job["jobId"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds to rest after each thousand lines")
    args = parser.parse_args()
    job_id = start(os.path.abspath(args.path), args.pause)
    print(job_id, flush=True)
    for event in jobcast.follow(job_id):
        print(event.get("seq", "-"), event["type"], event.get("output") or event.get("result") or event.get("error") or "", flush=True)
