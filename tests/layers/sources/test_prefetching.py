"""Threads that read ahead end with their net."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from tests.helpers.sources import image_net


def prefetch_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "caffe-prefetch"]


def test_threads_end_with_their_net(listed: tuple[Path, list[np.ndarray]]) -> None:
    gc.collect()
    before = len(prefetch_threads())
    net = image_net(listed[0])
    net.forward()
    assert len(prefetch_threads()) == before + 1
    del net
    gc.collect()
    deadline = time.monotonic() + 5
    while len(prefetch_threads()) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(prefetch_threads()) == before


def test_the_interpreter_ends_while_a_thread_reads_ahead(
    listed: tuple[Path, list[np.ndarray]],
) -> None:
    code = (
        "import sys, caffe; net = caffe.Net(sys.argv[1], caffe.TEST); net.forward(); print('done')"
    )
    text = (
        f'layer {{ name: "in" type: "ImageData" top: "data" top: "label" image_data_param {{ '
        f'source: "{listed[0]}/list.txt" root_folder: "{listed[0]}/" }} }}'
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code, text],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
