"""The sign that something is being loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
from caffe.cli.loading import NOTHING, SIGN  # noqa: E402

PROGRAM = """
import sys, time
from caffe.cli.loading import loading_sign
with loading_sign():
    time.sleep(float(sys.argv[1]))
    if len(sys.argv) > 2:
        print(sys.argv[2], file=sys.stderr)
        time.sleep(0.5)
"""


def seen(*arguments: str) -> str:
    """What a terminal shows of the program, as it comes."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stderr=theirs) as process:
        os.close(theirs)
        text = b""
        try:
            while more := os.read(ours, 1000):
                text += more
        # What Linux says at a terminal's end.
        except OSError:
            pass
        os.close(ours)
    assert process.returncode == 0
    return text.decode().replace("\r\n", "\n")


def test_the_sign_stands_until_something_is_printed() -> None:
    assert seen("0.8", "done") == f"{SIGN}{NOTHING}done\n"


def test_the_sign_is_gone_where_nothing_is_printed() -> None:
    assert seen("0.8") == f"{SIGN}{NOTHING}"


def test_no_sign_comes_behind_what_is_printed() -> None:
    assert seen("0", "done") == "done\n"


def test_no_sign_is_in_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "0.5"], capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""
