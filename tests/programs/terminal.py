"""Runs a program in a terminal of its own, and prints as JSON what a person saw: the screen at the end, as lines, and everything
that was written. With --after TEXT KEYS the keys are typed once TEXT was written. Ends as the program did.

    terminal.py COLUMNS [--after TEXT KEYS] PROGRAM ARGUMENT…
"""
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios

TOKEN = re.compile("\x1b\\[([0-9;?]*)([A-Za-z])|\r|\n|\x1b.|[^\x1b\r\n]", re.S)


class Screen:
    """As much of a terminal as progress bars use, without an end of its paper."""

    def __init__(self, columns):
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0

    def down(self, rows=1):
        self.row += rows
        self.lines += [""] * (self.row + 1 - len(self.lines))

    def write(self, text):
        for token in TOKEN.finditer(text):
            number, command = token.group(1), token.group(2)
            if command:
                self.command(int(number) if number.isdigit() else None, command)
            elif token.group() == "\r":
                self.column = 0
            elif token.group() == "\n":
                self.down()
                self.column = 0
            elif not token.group().startswith("\x1b"):
                if self.column == self.columns:
                    self.down()
                    self.column = 0
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[:self.column] + token.group() + line[self.column + 1:]
                self.column += 1

    def command(self, number, command):
        if command == "A":
            self.row = max(0, self.row - (number or 1))
        elif command == "B":
            self.down(number or 1)
        elif command == "K":
            line = self.lines[self.row]
            self.lines[self.row] = "" if number == 2 else line[:self.column]
        elif command == "J":
            self.lines[self.row:] = [self.lines[self.row][:self.column]]
        elif command not in "mhl":
            raise ValueError(f"a terminal is asked for {command!r}")


columns, rest = int(sys.argv[1]), sys.argv[2:]
after, keys = "", ""
if rest[0] == "--after":
    after, keys, rest = rest[1], rest[2], rest[3:]

child, terminal = pty.fork()
if child == 0:
    # Before the program looks.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    os.environ["TERM"] = "xterm-256color"
    os.execvp(rest[0], rest)

written = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody writes any more
        break
    if not piece:
        break
    written += piece
    if keys and after in written.decode(errors="replace"):
        os.write(terminal, keys.encode())
        keys = ""

_, status = os.waitpid(child, 0)
text = written.decode(errors="replace")
screen = Screen(columns)
screen.write(text)
print(json.dumps({"screen": [line.rstrip() for line in screen.lines], "written": text}))
sys.exit(os.waitstatus_to_exitcode(status) % 256)
