"""Short numbers on the CPU: the classes of trained models stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.compiled import llvm
from tests.helpers.golden import trained_net
from tests.helpers.precision import needs_bfloat16

pytestmark = [needs_bfloat16, pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")]


@pytest.fixture(autouse=True, params=["torch", "openvino", "llvm"])
def engine(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    if request.param == "llvm" and not llvm.has_short_numbers():
        pytest.skip("no kernels of short numbers can be compiled here")
    caffe.set_engine(request.param)
    yield
    caffe.set_engine("auto")
    caffe.set_precision("float32")


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "astronaut"])
def test_the_default_classifier_says_the_same(name: str) -> None:
    data = pytest.importorskip("skimage.data", reason="the extra demo is not installed")
    picture = getattr(data, name)()
    model = caffe.zoo.load()
    expected = model.classify(picture)
    caffe.set_precision("bfloat16")
    found = model.classify(picture)
    assert found[0][0] == expected[0][0]
    assert found != expected


@pytest.mark.parametrize(
    "name",
    [
        "cifar10_quick_v1fmt__cifar10_quick_iter_5000",
        "hyperlpr_segmentation__Segmentation",
        "lenet_v2fmt__lenet_iter_10000",
        "squeezenet_v1.0__squeezenet_v1_0",
    ],
)
def test_trained_models_say_the_same(name: str, shared: Path) -> None:
    net, _ = trained_net(shared / "goldens" / "real" / f"{name}.npz", shared)
    expected = {name: values.copy() for name, values in net.forward().items()}
    caffe.set_precision("bfloat16")
    for name, values in net.forward().items():
        found, wanted = (v.reshape(len(v), -1).argmax(1) for v in (values, expected[name]))
        assert np.array_equal(found, wanted)
