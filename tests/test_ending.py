"""A process whose threads compute ends as any other does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.places import REPOSITORY

PROGRAM = """
import atexit, sys, threading, time
import numpy as np

# What is registered first runs last: the thread that ends the process may still compute then.
atexit.register(lambda: print(own.forward(data=x)["ip"].shape))
import caffe
from tests.test_processes import TEXT

engine = sys.argv[1]
made = [caffe.Net("force_backward: true" + TEXT, caffe.TEST) for _ in range(2)]
own = caffe.Net(TEXT, caffe.TEST)
x = np.ones((2, 3, 64, 64), np.float32)

def run(net):
    caffe.set_engine(engine)
    while True:
        net.forward(data=x)
        net.backward(ip=np.ones((2, 100), np.float32))

for net in made:
    threading.Thread(target=run, args=[net], daemon=True).start()
time.sleep(0.5)
"""


@pytest.mark.parametrize("engine", ["layerwise", "torch", "auto"])
def test_daemon_threads_that_compute_do_not_abort_it(engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, engine], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 100)\n"
