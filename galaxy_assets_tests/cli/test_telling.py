"""The progress of a command that fetches, on a terminal and on one that obeys nothing."""

import os
import pty
import subprocess
import sys

import pytest

CODE = (
    "from galaxy_assets.cli.telling import telling, log\nwith telling() as pace: log.info('fetched'); pace.show('half')"
)


@pytest.mark.parametrize("term, rewrites", [("xterm", True), ("dumb", False)])
def test_a_terminal_that_obeys_nothing_is_sent_plain_lines(term, rewrites):
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", CODE], stderr=theirs, env=os.environ | {"TERM": term}, check=True, timeout=120
    )
    written = os.read(ours, 4096)
    assert b"fetched" in written and b"half" in written and (b"\x1b" in written) == rewrites
