"""A terminal for tests: programs run in it, and what stands on it after what they wrote.

Belongs here: as much of a terminal as the live view needs: lines, the cursor, and whether it is shown. Colours are
counted and dropped. Does not belong here: what is run in it.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

_SECONDS = 300  # that a program may take
_SEQUENCE = re.compile(r"\x1b\[(?P<private>\??)(?P<number>[\d;]*)(?P<letter>[A-Za-z])|(?P<other>[^\x1b]+)")


class Screen:
    """Lines of a terminal that has room for all; those that are too long are counted in `too_long`."""

    def __init__(self, columns: int):
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0
        self.cursor, self.colours, self.too_long = True, 0, 0

    def write(self, text: str) -> "Screen":
        """Write what a program printed."""
        for found in _SEQUENCE.finditer(text):
            if found["other"]:
                self._print(found["other"])
            elif found["letter"] == "A":
                self.row = max(self.row - int(found["number"] or 1), 0)
            elif found["letter"] == "K" and found["number"] == "2":
                self.lines[self.row] = ""
            elif found["private"] and found["number"] == "25":
                self.cursor = found["letter"] == "h"
            elif found["letter"] == "m":
                self.colours += re.search(r"\b(3[0-7]|9[0-7]|38)\b", found["number"]) is not None
        return self

    def _print(self, text: str) -> None:
        for letter in text:
            if letter == "\n":
                self.row, self.column = self.row + 1, 0
                if self.row == len(self.lines):
                    self.lines.append("")
            elif letter == "\r":
                self.column = 0
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
                self.column += 1
                self.too_long += self.column > self.columns

    @property
    def text(self) -> str:
        """The lines, without what stands behind them."""
        return "\n".join(line.rstrip() for line in self.lines).strip("\n")


def in_terminal(
    command: Sequence[str], columns: int, rows: int, environment: Mapping[str, str], until: str = ""
) -> tuple[int, str]:
    """Run a program in a terminal of its own; its exit status and what it printed.

    Ctrl-C is typed when `until` was printed.
    """
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    ends = {"stdin": its, "stdout": its, "stderr": its}
    process = subprocess.Popen(command, **ends, env=environment, start_new_session=True, preexec_fn=_controlling)
    os.close(its)
    printed, end = "", time.monotonic() + _SECONDS
    try:
        while time.monotonic() < end:
            if not select.select([mine], [], [], 0.1)[0]:
                continue
            try:
                found = os.read(mine, 65536)
            except OSError:  # Linux says so that nobody has the other end any more
                break
            if not found:
                break
            printed += found.decode(errors="replace")
            if until and until in printed:
                os.write(mine, b"\x03")
                until = ""
        return process.wait(10), printed
    finally:
        process.kill()
        process.wait()
        os.close(mine)


def _controlling() -> None:
    """Make the terminal the one whose Ctrl-C reaches the process, which may have been started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
