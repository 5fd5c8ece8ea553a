"""transcode: a task that is a program. Makes a video smaller with ffmpeg, and tells how far it is.

The payload: {"input": "sample.mp4", "width": 320, "crf": 28}; `input` is a file in `examples/data`, the rest has defaults.
The result: {"path", "duration", "size"} of the new file, in `examples/transcode/out`.

Whatever kills the job (a cancel, its run limit, a stopping worker) sends SIGTERM to this program and to ffmpeg alike.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INPUTS = HERE.parent / "data"
OUT = HERE / "out"


def say(**line):
    print(json.dumps(line), flush=True)


def fail(sentence):
    sys.exit(sentence)  # on stderr, with exit code 1: the job's error


def read_payload():
    job = json.load(sys.stdin)
    if not isinstance(job, dict) or not isinstance(job.get("input"), str):
        fail('the payload is {"input": "sample.mp4"}, with "width" and "crf" if you like')
    unknown = set(job) - {"input", "width", "crf"}
    if unknown:
        fail(f"unknown field: {', '.join(sorted(unknown))}")
    width, crf = job.get("width", 320), job.get("crf", 28)
    if type(width) is not int or not 16 <= width <= 7680:
        fail("width is a whole number from 16 to 7680")
    if type(crf) is not int or not 0 <= crf <= 51:
        fail("crf is a whole number from 0 (best) to 51")
    source = (INPUTS / job["input"]).resolve()
    if not source.is_relative_to(INPUTS) or not source.is_file():
        fail(f"there is no file {job['input']!r} in examples/data (`make sample-video` makes sample.mp4)")
    return source, width - width % 2, crf


def duration_of(path):
    command = ["ffprobe", "-v", "error", "-show_entries", "format=format_name,duration", "-of", "json", f"file:{path}"]
    probed = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(probed.stdout)["format"]
        if found["format_name"] != "tty":  # ffmpeg plays any text as a film of a terminal
            return float(found["duration"])
    except (ValueError, KeyError):
        pass
    fail(f"{path.name} is no video that ffmpeg can read: {probed.stderr.strip()[-300:]}")


def main():
    if not shutil.which("ffmpeg") or not shutil.which("ffprobe"):
        fail("ffmpeg is not installed: apt install ffmpeg, or the like")
    source, width, crf = read_payload()
    total = duration_of(source)
    OUT.mkdir(exist_ok=True)
    job, attempt = os.environ["JOBCAST_JOB_ID"], os.environ["JOBCAST_ATTEMPT"]
    target, unfinished = OUT / f"{job}.mp4", OUT / f".{job}-{attempt}.mp4"

    stopping = False

    def stop(_signum, _frame):
        nonlocal stopping
        stopping = True  # and no more: ffmpeg may write until it has ended, so its file is removed after that

    signal.signal(signal.SIGTERM, stop)
    say(progress=0, message=f"{source.name} to {width} pixels wide")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", f"file:{source}", "-vf", f"scale={width}:-2",
               "-c:v", "libx264", "-crf", str(crf), "-c:a", "aac", "-progress", "pipe:1", f"file:{unfinished}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ffmpeg:
        if stopping:  # the signal came before there was an ffmpeg to hear it
            ffmpeg.terminate()
        facts = {}
        for line in ffmpeg.stdout:
            key, _, value = line.strip().partition("=")
            facts[key] = value
            if key == "progress":  # the last line of each report
                tell(facts, total)
    if ffmpeg.returncode != 0:
        unfinished.unlink(missing_ok=True)
        fail("stopped" if stopping else f"ffmpeg ended with {ffmpeg.returncode}")
    unfinished.rename(target)
    # One name whoever reads it: from the repository's root.
    path = target.relative_to(HERE.parent.parent).as_posix()
    say(result={"path": path, "duration": round(duration_of(target), 3), "size": target.stat().st_size})


def tell(facts, total):
    try:
        done = int(facts["out_time_us"]) / 1e6
    except (KeyError, ValueError):  # "N/A" before the first frame
        return
    percent = 100.0 if total <= 0 else max(0.0, min(100.0, 100 * done / total))
    say(progress=round(percent, 1), message=f"{done:.1f} of {total:.1f} s, {facts.get('speed', '').strip() or '?'}")


main()
