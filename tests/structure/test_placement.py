"""Where a diagram's parts lie."""

from __future__ import annotations

import pytest

import caffe
from caffe.proto.files import parse_net
from caffe.structure.outline import outline
from caffe.structure.placement import place

pytest.importorskip("pydot", reason="pydot draws diagrams")

BLOCK = """layer { name: "c%d" type: "Convolution" bottom: "%s" top: "c%d"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layer { name: "r%d" type: "ReLU" bottom: "c%d" top: "c%d" }
layer { name: "s%d" type: "Eltwise" bottom: "%s" bottom: "c%d" top: "s%d" }
"""


def net(count: int) -> str:
    text = """layer { name: "x" type: "Input" top: "x"
      input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }"""
    before = "x"
    for i in range(count):
        text += BLOCK % (i, before, i, i, i, i, i, before, i, i)
        before = f"s{i}"
    return text


def test_parts_lie_within_and_below_what_they_read() -> None:
    found = place(outline(parse_net(net(1)), caffe.TEST))
    nodes = {node["layers"][0]: node for node in found["nodes"]}
    assert nodes["c0"]["layers"] == ["c0", "r0"]
    assert nodes["c0"]["family"] == "convolution"
    assert nodes["x"]["y"] < nodes["c0"]["y"] < nodes["s0"]["y"]
    for node in found["nodes"]:
        assert -1 <= node["x"] <= node["x"] + node["width"] <= found["width"] + 1
        assert -1 <= node["y"] <= node["y"] + node["height"] <= found["height"] + 1
    assert len(found["edges"]) == 3
    (down,) = [edge for edge in found["edges"] if abs(edge["tip"][1] - nodes["c0"]["y"]) < 2]
    assert down["points"][0][1] < down["tip"][1]


def test_repetitions_stand_once_unless_all_are_wanted() -> None:
    drawn = outline(parse_net(net(4)), caffe.TEST)
    folded, whole = place(drawn), place(drawn, fold=False)
    assert len(whole["nodes"]) == 9
    assert len(folded["nodes"]) < 9
    (box,) = folded["boxes"]
    assert "times" in box["lines"][0]
    stands = {name for node in folded["nodes"] for name in node["stands_for"]}
    assert stands == {name for node in whole["nodes"] for name in node["layers"]}


def test_what_takes_too_long_is_ended() -> None:
    with pytest.raises(caffe.CaffeError, match="longer than"):
        place(outline(parse_net(net(2)), caffe.TEST), seconds=0.001)
