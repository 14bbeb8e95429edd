"""What holds of every library that runs a plan's operations."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import caffe
from caffe.engine.backends import choice
from caffe.engine.backends.choice import LIBRARIES, PATIENCE, TRIAL
from caffe.engine.backends.libraries import Library
from caffe.engine.backends.onednn_graph import OneDnnGraph
from tests.helpers.plans import assert_the_layers_blobs, choices_of
from tests.helpers.translated import NET, PICTURES, joined

INSTALLED = [engine for engine, library in LIBRARIES.items() if library.is_installed()]


@pytest.fixture(params=LIBRARIES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of a library's engine."""
    if request.param not in INSTALLED:
        pytest.skip(f"the extra {request.param} is not installed")
    return str(request.param)


def test_new_weights_and_what_is_no_number_are_computed_as_by_the_layers(engine: str) -> None:
    caffe.set_engine(engine)
    try:
        net = joined()
        net.forward(a=PICTURES)
        net.params["conv"][0].data[...] *= -2
        assert_the_layers_blobs(net, 2e-5)
        assert choices_of(net)
        odd = PICTURES.copy()
        odd[0, 1, 3, 3] = np.nan
        found = net.forward(a=odd)["fc"].copy()
        caffe.set_engine("layerwise")
        np.testing.assert_array_equal(np.isnan(found), np.isnan(net.forward(a=odd)["fc"]))
        assert np.isnan(found).any()
        net.params["fc"][0].data[0, 0] = np.inf
        caffe.set_engine(engine)
        found = net.forward(a=PICTURES)["fc"].copy()
        caffe.set_engine("layerwise")
        np.testing.assert_array_equal(found[:, 0], net.forward(a=PICTURES)["fc"][:, 0])
    finally:
        caffe.set_engine("auto")


@pytest.mark.skipif(not INSTALLED, reason="none of the extras for engines is installed")
@pytest.mark.usefixtures("try_small_nets")
def test_auto_tries_all_and_keeps_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine preparing may take long, and one may seem hopeless.
    monkeypatch.setattr(choice, "LONGEST", float("inf"))
    monkeypatch.setattr(OneDnnGraph, "at_best", Library.at_best)
    net = joined()
    expected = net.forward(a=PICTURES)["fc"].copy()
    for _ in range(PATIENCE + len(LIBRARIES) * TRIAL):
        found = net.forward(a=PICTURES)["fc"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    told = net.explain()[1]
    assert all(LIBRARIES[engine].name in told for engine in INSTALLED)


PROGRAM = f"""
import os
import sys
import caffe
engine, name = sys.argv[1:]
caffe.set_engine(engine)
net = caffe.Net('''{NET}''', caffe.TEST)
print("before")
expected = net.forward()["fc"].copy()
print("run by " + name in net.explain()[1])
print(os.environ.get("ORT_DISABLE_TELEMETRY"))
if hasattr(os, "fork"):
    child = os.fork()
    if not child:
        import warnings
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = net.forward()["fc"]
        assert abs(found - expected).max() <= 1e-5 * abs(expected).max()
        if engine == "llvm":
            # Its threads are PyTorch's, and one is enough.
            assert not told and "run by " + name in net.explain()[1]
        else:
            assert name + " cannot run in a process that was forked" in str(told[0].message)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("after")
"""


def test_output_and_network_stay_the_programs_own_and_a_fork_does_without(engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, engine, LIBRARIES[engine].name],
        capture_output=True, text=True, check=False, timeout=120,
        env={name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    silence = "1" if engine == "onnxruntime" else "None"
    assert done.stdout.split() == ["before", "True", silence, "after"]
