"""Python layers that people write themselves."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.layers.python import Layer

MODULE = """
import numpy as np
from caffe.layers.python import Layer

class Power(Layer):
    def __init__(self, layer_param, *args, **kwargs):
        super().__init__(layer_param, *args, **kwargs)
        self.calls = []

    def setup(self, bottom, top):
        assert len(bottom) == len(top) == 1
        self.exponent = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data ** self.exponent

    def backward(self, top, propagate_down, bottom):
        self.calls.append(list(propagate_down))
        bottom[0].diff[...] = (
            self.exponent * bottom[0].data ** (self.exponent - 1) * top[0].diff
        )

class Shift(Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(3)
        self.blobs[0].data[...] = [1, 2, 3]

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + self.blobs[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff
        self.blobs[0].diff[...] += top[0].diff.sum(0)

class Phase(Layer):
    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase

class Failing(Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        raise KeyError("my own mistake")

class NoForward(Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)

class NotALayer:
    pass
"""

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "layers_of_mine.py").write_text(MODULE)
    (tmp_path / "needs_more.py").write_text("import not_installed_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "layers_of_mine"


def own_layer(name: str, bottom: str = 'bottom: "x"', more: str = "", module: str = "") -> str:
    return (
        f'layer {{ name: "own" type: "Python" {bottom} top: "y" '
        f'python_param {{ module: "{module or "layers_of_mine"}" layer: "{name}" {more} }} }}'
    )


def test_forward_backward_and_reshape() -> None:
    text = 'param_str: "3" share_in_parallel: true'
    net = caffe.Net(f"force_backward: true {INPUT} {own_layer('Power', more=text)}", caffe.TRAIN)
    x = np.array([[1, 2, 3], [-1, -2, -3]], np.float32)
    np.testing.assert_array_equal(net.forward(x=x)["y"], x**3)
    net.blobs["y"].diff[...] = 2
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, 6 * x**2)
    net.blobs["x"].reshape(4, 1)
    net.forward()
    assert net.blobs["y"].data.shape == (4, 1)
    own = net.layers[list(net._layer_names).index("own")]
    assert type(own).__name__ == "Power"
    assert own.type == "Python"
    assert own.calls == [[True]]


def test_parameters_are_the_nets(tmp_path: Path) -> None:
    net = caffe.Net(f"force_backward: true {INPUT} {own_layer('Shift')}", caffe.TRAIN)
    x = np.ones((2, 3), np.float32)
    assert net.forward(x=x)["y"].tolist() == [[2, 3, 4]] * 2
    assert net.params["own"][0].data.tolist() == [1, 2, 3]
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert net.params["own"][0].diff.tolist() == [2, 2, 2]
    net.params["own"][0].data[...] = 7
    net.save(tmp_path / "own.caffemodel")
    other = caffe.Net(f"{INPUT} {own_layer('Shift')}", caffe.TEST)
    other.copy_from(tmp_path / "own.caffemodel")
    assert other.forward(x=x)["y"].tolist() == [[8, 8, 8]] * 2


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_phase(phase: int) -> None:
    net = caffe.Net(own_layer("Phase", bottom=""), phase)
    assert net.forward()["y"] == phase


def test_what_the_layer_raises_passes_through_with_its_traceback() -> None:
    net = caffe.Net(own_layer("Failing", bottom=""), caffe.TEST)
    with pytest.raises(KeyError, match="my own mistake") as caught:
        net.forward()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.filename.endswith("layers_of_mine.py")
    assert last.name == "forward"


def test_a_missing_method_is_named() -> None:
    net = caffe.Net(own_layer("NoForward", bottom=""), caffe.TEST)
    with pytest.raises(NotImplementedError, match=r"NoForward.*forward\(bottom, top\)"):
        net.forward()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (own_layer("Nothing"), "layers_of_mine.py.*no class 'Nothing'"),
        (own_layer("NotALayer"), "no subclass of caffe.Layer"),
        (own_layer("X", module="nowhere.at_all"), "no module 'nowhere.at_all' on sys.path"),
        (own_layer("X", module=".."), "'..' is no name of a module"),
        (own_layer("X", module="os."), "'os.' is no name of a module"),
        ('layer { name: "own" type: "Python" top: "y" }', "needs module and layer"),
    ],
)
def test_a_class_that_is_not_there(layer: str, said: str) -> None:
    with pytest.raises(caffe.NetError, match=f"layer 'own'.*{said}"):
        caffe.Net(f"{INPUT} {layer}", caffe.TEST)


def test_what_the_module_misses_is_its_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="not_installed_at_all"):
        caffe.Net(own_layer("X", bottom="", module="needs_more"), caffe.TEST)


def test_layer_is_pycaffes() -> None:
    assert caffe.Layer is Layer
