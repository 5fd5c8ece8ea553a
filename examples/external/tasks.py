"""What RQ's workers do: an ordinary RQ task that reports to Jobcast while it works."""
import os, time

import jobcast


def census(job_id, lease_token, path, pause=0.0):
    """Counts the words of a text, a thousand lines at a time."""
    with jobcast.Report(job_id, lease_token, heartbeat=5) as report:
        words, done, size = 0, 0, os.path.getsize(path)
        with open(path, "rb") as text:
            for number, line in enumerate(text, 1):
                words, done = words + len(line.split()), done + len(line)
                if number % 1000 == 0:
                    report.output({"lines": number, "words": words})
                    report.progress(100 * done / size, f"{number} lines")
                    time.sleep(pause)
        report.result = {"words": words}
