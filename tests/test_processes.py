"""Nets in other processes and threads than they were made in."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")

TEXT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 64, 64] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param {
  num_output: 100 weight_filler { type: "xavier" } } }
"""

# Run in an interpreter of its own, with threads that a fork leaves behind. A child ends as any
# program does, so that what cannot be taken apart in it shows.
START = f"""
import os, signal, sys, warnings
import numpy as np
import torch
import caffe

warnings.simplefilter("error")
signal.alarm(400)
torch.set_num_threads(4)
TEXT = '''{TEXT}'''

def in_child(*checks):
    child = os.fork()
    if not child:
        signal.alarm(200)
        for check in checks:
            check()
        sys.exit()
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"the child ended with {{status}}"
"""

NETS = """
x = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)

def is_right(found, wanted):
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()

def try_engine(engine):
    caffe.set_engine(engine)
    net = caffe.Net(TEXT, caffe.TEST)
    trained = caffe.Net("force_backward: true" + TEXT, caffe.TEST)
    for _ in range(7):
        want = net.forward(data=x)["ip"].copy()
    trained.forward(data=x)
    gradient = trained.backward(ip=np.ones((2, 100)))["data"].copy()
    net.forward(data=x)

    def unseen():
        conv = net.blobs["conv"].data
        assert conv.shape == (2, 32, 64, 64) and conv.any() and (conv >= 0).all()

    def parents():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(7):
                is_right(net.forward(data=x)["ip"], want)
        assert len(told) == (engine == "openvino"), told

    def own():
        mine = caffe.Net(TEXT, caffe.TEST)
        mine.share_with(net)
        for _ in range(7):
            is_right(mine.forward(data=x)["ip"], want)

    def backward():
        trained.forward(data=x)
        is_right(trained.backward(ip=np.ones((2, 100)))["data"], gradient)

    def grandchild():
        in_child(lambda: is_right(net.forward(data=x)["ip"], want), own)

    in_child(unseen, parents, own, backward, grandchild)
    is_right(net.forward(data=x)["ip"], want)

for name in sys.argv[1:]:
    try_engine(name)
"""


def run(program: str, *arguments: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", START + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr


@needs_fork
def test_a_forked_process_runs_its_parents_nets_and_its_own() -> None:
    run(NETS, "layerwise", "torch", "auto")


@needs_fork
def test_a_fork_of_a_process_that_has_used_openvino_says_that_it_does_without() -> None:
    pytest.importorskip("openvino")
    run(NETS, "openvino")


DATA = """
text = '''layer { name: "d" type: "ImageData" top: "data" top: "label"
  image_data_param { source: "%s" batch_size: 2 } }''' % sys.argv[1]
net = caffe.Net(text, caffe.TEST)
net.forward()

def reads():
    for _ in range(3):
        net.forward()
        assert net.blobs["data"].data.shape == (2, 3, 4, 4)
        first, second = net.blobs["label"].data
        assert second == (first + 1) % 4

in_child(reads)
reads()
"""


@needs_fork
def test_a_forked_process_reads_its_data_by_a_thread_of_its_own(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{tmp_path / 'a.png'} {label}\n" for label in range(4)))
    run(DATA, str(listed))


def outputs(model: bytes) -> np.ndarray:
    """Run a pickled net on ones; a function of a module, as another process finds it."""
    net: caffe.Net = pickle.loads(model)
    return net.forward(data=np.ones((2, 3, 64, 64)))["ip"].copy()


def test_a_spawned_process_runs_a_net_that_is_sent_to_it() -> None:
    net = caffe.Net(TEXT, caffe.TEST)
    want = net.forward(data=np.ones((2, 3, 64, 64)))["ip"]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        got = pool.submit(outputs, pickle.dumps(net)).result(timeout=100)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ["layerwise", "torch", "auto"])
def test_threads_run_nets_of_their_own_at_once(engine: str) -> None:
    caffe.set_random_seed(3)
    net = caffe.Net(TEXT, caffe.TEST)
    data = np.random.default_rng(0).random((4, 2, 3, 64, 64), np.float32)
    want = [net.forward(data=x)["ip"].copy() for x in data]

    def run_own(number: int) -> np.ndarray:
        caffe.set_engine(engine)
        own = caffe.Net(TEXT, caffe.TEST)
        own.share_with(net)
        for _ in range(7):
            found = own.forward(data=data[number])["ip"]
        return found.copy()

    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(run_own, range(4)), want, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
