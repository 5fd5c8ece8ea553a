"""Has a child and a grandchild, and none of the three ends by itself. With {"stubborn": true} all of them ignore SIGTERM."""
import json
import os
import signal
import sys
import time

if json.load(sys.stdin).get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.fork()
os.write(1, f'{{"output": {os.getpid()}}}\n'.encode())  # one write, so that no line is cut by another
while True:
    time.sleep(60)
