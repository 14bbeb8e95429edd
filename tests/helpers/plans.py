"""Looking into what the engine has prepared for a net."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.engine.backends.choice import Choice
from caffe.engine.plan.plan import Plan


def plan_of(net: caffe.Net) -> Plan:
    """The only plan that a net has after a forward."""
    (plan,) = net._runner.plans
    return plan


def choices_of(net: caffe.Net) -> list[Choice]:
    """What is tried out for those of the plan's stretches that something else could run."""
    return [s.choice for s in plan_of(net)._stretches if s.choice is not None]


def run_by(engine: str) -> Any:
    """A fixture with which every test of a module is run by one engine, on the same numbers."""

    @pytest.fixture(autouse=True)
    def run() -> Iterator[None]:
        caffe.set_random_seed(3)
        caffe.set_engine(engine)
        yield
        caffe.set_engine("auto")

    return run


def assert_the_layers_blobs(net: caffe.Net, tolerance: float = 1e-5) -> None:
    """Compare what the engine's backend gives with each layer's own forward, over the same net."""
    engine = caffe.mode.engine()
    rng = np.random.default_rng(0)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    net.forward()
    assert all(choice.compiled is not None for choice in choices_of(net))
    found = {name: blob.data.copy() for name, blob in net.blobs.items()}
    caffe.set_engine("layerwise")
    net.forward()
    caffe.set_engine(engine)
    for name, blob in net.blobs.items():
        expected = blob.data
        assert found[name].shape == expected.shape
        np.testing.assert_allclose(found[name], expected, atol=tolerance * np.abs(expected).max())
