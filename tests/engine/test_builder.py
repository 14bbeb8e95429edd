"""Making a net and its plan takes time with the number of layers, not with its square."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import caffe
from caffe.structure.outline import outline
from tests.helpers.stopwatch import MOST, growth

INPUT = """layer { name: "x0" type: "Input" top: "x0"
        input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }"""
CONVOLUTION = "convolution_param { num_output: 2 kernel_size: 3 pad: 1 }"
RESIDUAL = (
    """layer { name: "a%(k)d" type: "Convolution" bottom: "x%(k)d" top: "a%(k)d" %(c)s }
layer { name: "r%(k)d" type: "ReLU" bottom: "a%(k)d" top: "a%(k)d" }
layer { name: "b%(k)d" type: "Convolution" bottom: "a%(k)d" top: "b%(k)d" %(c)s }
layer { name: "x%(n)d" type: "Eltwise" bottom: "b%(k)d" bottom: "x%(k)d" top: "x%(n)d" }
layer { name: "s%(n)d" type: "ReLU" bottom: "x%(n)d" top: "x%(n)d" }
""",
    {"c": CONVOLUTION},
)
HEADS = (
    """layer { name: "h%(k)d" type: "Convolution" bottom: "x0" top: "h%(k)d" %(c)s }
layer { name: "p%(k)d" type: "AbsVal" bottom: "h%(k)d" top: "p%(k)d" }
""",
    {"c": CONVOLUTION},
)


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    caffe.set_engine("torch")
    yield
    caffe.set_engine("auto")


def text_of(kind: tuple[str, dict[str, str]], count: int) -> str:
    block, more = kind
    return INPUT + "".join(block % {**more, "k": k, "n": k + 1} for k in range(count))


def net_of(kind: tuple[str, dict[str, str]], count: int) -> caffe.Net:
    return caffe.Net(text_of(kind, count), caffe.TEST)


def plan_anew(net: caffe.Net) -> None:
    net.blobs["x0"].reshape(1 + net.blobs["x0"].num % 2, 2, 4, 4)
    net.forward()


@pytest.mark.parametrize(
    ("work", "kind", "count"),
    [
        # So many that what grows with the square would show.
        (plan_anew, RESIDUAL, 220),
        (plan_anew, HEADS, 150),
        (str, RESIDUAL, 120),
        (lambda net: net.explain(), RESIDUAL, 60),
        (lambda net: net.reshape(), HEADS, 60),
    ],
    ids=["plan of a row", "plan of heads", "table", "explain", "reshape"],
)
def test_time_grows_with_the_number_of_layers(
    work: Callable[[caffe.Net], Any], kind: tuple[str, dict[str, str]], count: int
) -> None:
    def made(blocks: int) -> caffe.Net:
        net = net_of(kind, blocks)
        net.forward()
        return net

    assert growth(work, made, count, runs=2) <= MOST


@pytest.mark.parametrize("kind", [RESIDUAL, HEADS], ids=["blocks in a row", "heads side by side"])
def test_nets_and_outlines_are_made_in_time_with_their_layers(
    kind: tuple[str, dict[str, str]],
) -> None:
    def make(text: str) -> None:
        caffe.Net(text, caffe.TEST)
        outline(caffe.proto.files.parse_net(text), caffe.TEST)

    assert growth(make, lambda count: text_of(kind, count), 60, runs=3) <= MOST


def test_every_block_is_joined_into_one_operation() -> None:
    net = net_of(RESIDUAL, 40)
    net.forward()
    assert sum(how.startswith("sum, in its convolution") for how in net.explain()) == 40
