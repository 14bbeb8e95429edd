"""What a layer raises, which becomes an error that names it, and whose its gradients are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import caffe
from caffe.errors import CaffeError, OutOfMemoryError
from caffe.layers.layer import Layer, Parameter, register
from caffe.proto.caffe_pb2 import FillerParameter

pytestmark = pytest.mark.usefixtures("own_layers", "engine_set_back")

TEXT = """layer { name: "i" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "odd" type: "Odd" bottom: "data" top: "out" %s }"""


@pytest.fixture
def engine_set_back() -> Iterator[None]:
    yield
    caffe.set_engine("auto")


def raising(what: BaseException) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any) -> Any:
        raise what

    return method


def net_of(settings: str = "", **members: Any) -> caffe.Net:
    """Return a net with a layer that has these members."""
    register("Odd")(type("Odd", (Layer,), members))
    return caffe.Net(TEXT % settings, caffe.TEST)


@pytest.mark.parametrize("engine", ["layerwise", "torch"])
@pytest.mark.parametrize("method", ["setup", "parameters", "top_shapes", "forward", "__init__"])
def test_an_error_of_any_method_names_layer_and_blob(method: str, engine: str) -> None:
    caffe.set_engine(engine)
    members = {"forward": lambda self, x: x, "is_pure": True, method: raising(IndexError("5"))}
    with pytest.raises(CaffeError, match=r"layer 'odd' \(Odd\): IndexError: 5") as caught:
        net_of(**members).forward()
    assert method == "__init__" or "bottoms 'data' (2, 3); parameters none" in str(caught.value)
    assert isinstance(caught.value.__cause__, IndexError)


def test_an_error_of_backward_names_layer_and_blob() -> None:
    net = net_of(
        "loss_weight: 1",
        forward=lambda self, x: x.sum(),
        top_shapes=lambda self, x: [()],
        backward=raising(ZeroDivisionError("division by zero")),
    )
    net.inside.steps[1].node.need_backward = True
    net.forward()
    with pytest.raises(CaffeError, match=r"'odd'.*ZeroDivisionError: division.*'data' \(2, 3\)"):
        net.backward()


def test_an_error_of_a_filler_names_the_layer() -> None:
    filler = FillerParameter(type="xavier")

    def parameters(self: Layer, *bottoms: Sequence[int]) -> list[Parameter]:
        return [Parameter((2, 2), FillerParameter(type="bilinear")), Parameter((), filler)]

    with pytest.raises(CaffeError, match=r"layer 'odd' \(Odd\).*bilinear"):
        net_of(parameters=parameters)


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda self, x: [], "returned 0 results for 1 tops"),
        (lambda self, x: x[:1], r"returned the shape \(1, 3\), but top_shapes \(2, 3\)"),
    ],
)
def test_a_pure_layer_returns_what_it_says(forward: Callable[..., Any], words: str) -> None:
    caffe.set_engine("torch")
    with pytest.raises(CaffeError, match=words):
        net_of(forward=forward, is_pure=True).forward()


def test_a_lack_of_memory_is_told_as_such() -> None:
    net = net_of(forward=raising(MemoryError()))
    with pytest.raises(OutOfMemoryError, match=r"'odd'.*out of memory; a smaller batch needs less"):
        net.forward()


def test_who_stops_the_program_stops_it() -> None:
    with pytest.raises(KeyboardInterrupt):
        net_of(forward=raising(KeyboardInterrupt())).forward()


def test_of_many_bottoms_some_are_named() -> None:
    inputs = "".join(f'layer {{ name: "i{k}" type: "Input" top: "b{k}" }}' for k in range(99))
    bottoms = " ".join(f'bottom: "b{k}"' for k in range(99))
    register("Odd")(type("Odd", (Layer,), {"bottoms": 99, "top_shapes": raising(KeyError("x"))}))
    with pytest.raises(CaffeError, match=r"KeyError: 'x' .*'b7' \(\) and 91 more; parameters none"):
        caffe.Net(f'{inputs} layer {{ name: "o" type: "Odd" {bottoms} top: "t" }}', caffe.TEST)


def test_what_a_failed_forward_left_uncomputed_is_an_error_until_the_next() -> None:
    caffe.set_engine("torch")
    fails = [False]

    def forward(self: Layer, x: Any) -> Any:
        if fails[0]:
            raise KeyError(12345)
        return x + 1

    register("Odd")(type("Odd", (Layer,), {"forward": forward, "is_pure": True}))
    big = """layer { name: "i" type: "Input" top: "data" input_param { shape { dim: 9000 } } }
    layer { name: "a" type: "AbsVal" bottom: "data" top: "a" }
    layer { name: "odd" type: "Odd" bottom: "a" top: "b" }"""
    net = caffe.Net(big, caffe.TEST)
    net.forward()
    fails[0] = True
    with pytest.raises(CaffeError, match=r"'odd'.*KeyError: 12345"):
        net.forward()
    with pytest.raises(CaffeError, match="run the net again"):
        _ = net.blobs["a"].data
    fails[0] = False
    net.forward()
    assert (net.blobs["b"].data == net.blobs["a"].data + 1).all()


@pytest.mark.parametrize("engine", ["layerwise", "torch"])
def test_gradients_of_a_sum_are_each_blobs_own(engine: str) -> None:
    # The layer gives both bottoms the very gradient by its top.
    given = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        "input_param { shape { dim: 2 dim: 3 } } }"
        for name in "ab"
    )
    text = f"""force_backward: true {given}
    layer {{ name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }}
    layer {{ name: "more" type: "Power" bottom: "sum" top: "more" power_param {{ scale: 2 }} }}"""
    caffe.set_engine(engine)
    net = caffe.Net(text, caffe.TEST)
    for written in ("a", "b", "sum"):
        net.forward()
        net.blobs["more"].diff[...] = 5
        net.backward()
        net.blobs[written].diff[...] = 7
        for name in ("a", "b", "sum"):
            assert (net.blobs[name].diff == (7 if name == written else 10)).all()
