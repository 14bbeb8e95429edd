"""Ctrl-C at any moment: one line, exit status 130."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT can be sent there")
# Under nohup or in the background of a shell SIGINT is ignored, and is so by whoever is started.
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import caffe.cli; "
)


@needs_signals
@pytest.mark.parametrize(
    "module", ["caffe.cli.commands", "typer.main", "numpy", "torch._C", "torch.nn"]
)
def test_an_interrupt_while_modules_are_imported_is_one_line(module: str, net: Path) -> None:
    program = f"{START}caffe.cli.run()"
    # Python tells of each module that it has imported, on standard error.
    command = [sys.executable, "-X", "importtime", "-c", program, "time", "--net", str(net)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rpartition("|")[2].strip() == module:
                process.send_signal(signal.SIGINT)
                break
        rest = [line for line in process.stderr if not line.startswith("import time:")]
    assert rest == ["caffe: interrupted\n"]
    assert process.returncode == 130


@needs_signals
def test_interrupts_stay_ignored_where_they_are() -> None:
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from caffe.cli.interrupts import end_at_once, interruptible\n"
        "end_at_once()\n"
        "with interruptible(): signal.raise_signal(signal.SIGINT)\n"
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n"
