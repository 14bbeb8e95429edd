"""Every engine computes what the layers compute, over the whole range of their parameters."""

from __future__ import annotations

import importlib.util
from random import Random

import pytest

import caffe
from caffe import onednn
from caffe.compiled import llvm
from caffe.engine.backends.llvm_layers import llvm as compiled
from caffe.engine.backends.mnn_layers import mnn
from caffe.engine.backends.onednn_graph import graph
from caffe.engine.plan.operation import operation
from caffe.layers.registry import registry
from caffe.layers.translation import openvino
from caffe.proto.caffe_pb2 import NetParameter
from caffe.proto.text import parse_text
from fuzz import engines, layers, nets
from tests.helpers.plans import choices_of

EACH = 8
"""How many cases of each type are run; `python -m fuzz` runs as many as there is time for."""

NETS = 60

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
HAS_MNN = all(importlib.util.find_spec(name) for name in ("MNN", "flatbuffers"))
HAS_ONNX_RUNTIME = all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnx"))
OTHERS = ("torch", "openvino") if HAS_OPENVINO else ("torch",)


@pytest.mark.parametrize("kind", layers.MAKERS)
def test_a_layer_over_its_parameters(kind: str) -> None:
    ran = 0
    # MNN knows few layers.
    is_mnns = HAS_MNN and registry()[kind].computes_as in mnn.kinds()
    is_translated = HAS_ONNX_RUNTIME and registry()[kind].computes_as in openvino.kinds()
    is_onednns = onednn.joins_graphs() and registry()[kind].computes_as in graph.kinds()
    others = (*OTHERS, *["onnxruntime"] * is_translated, *["mnn"] * is_mnns)
    is_llvms = bool(llvm.width()) and registry()[kind].computes_as in compiled.kinds()
    others = (*others, *["onednn"] * is_onednns, *["llvm"] * is_llvms)
    for seed in range(EACH):
        text = layers.draw(Random(f"{kind} {seed}"), kind).net()
        for engine in others:
            found = engines.compare(text, seed, engine)
            assert not found, f"{engine}: {', '.join(map(str, found))} in\n{text}"
            ran += found is not None
    assert ran >= len(others) * EACH // 4


@pytest.mark.parametrize("seed", range(NETS))
def test_a_net_of_layers_that_engines_join(seed: int) -> None:
    text = nets.draw_net(Random(seed)).text
    others = OTHERS if seed % 4 == 0 else ("torch",)
    if seed % 4 == 1:
        others = (*others, *["onnxruntime"] * HAS_ONNX_RUNTIME, *["mnn"] * HAS_MNN)
    if seed % 4 == 2:
        others = (*others, *["onednn"] * onednn.joins_graphs())
    if llvm.width():
        others = (*others, "llvm")
    for engine in others:
        found = engines.compare(text, seed, engine)
        assert not found, f"{engine}: {', '.join(map(str, found))} in\n{text}"


def test_there_are_cases_for_every_rule() -> None:
    reached = set()
    for kind in layers.MAKERS:
        for seed in range(60):
            text = layers.draw(Random(f"{kind} {seed}"), kind).net()
            param = parse_text(text, NetParameter()).layer[-1]
            reached.add(registry()[kind].for_param(param).computes_as)
    # Other tests write rules for layers of their own.
    ours = {*openvino.kinds(), *operation.kinds()}
    assert reached >= {kind for kind in ours if kind.__module__.startswith("caffe.")}


@pytest.mark.skipif(not HAS_OPENVINO, reason="the extra openvino is not installed")
@pytest.mark.parametrize(
    ("bottom", "layer"),
    [
        ("1 8", "type: 'ReLU' relu_param { minimum: 3 maximum: 0.5 }"),
        ("6", "type: 'BatchNorm'"),
        ("1 2 1 1", "type: 'Convolution' convolution_param { num_output: 8 kernel_size: 5 "
         "stride: 7 pad_b: 3 weight_filler { type: 'gaussian' } }"),
        ("1 1 7 7", "type: 'Convolution' convolution_param { num_output: 1 kernel_size: 2 pad: 4 "
         "weight_filler { type: 'gaussian' } }"),
    ],
)  # fmt: skip
def test_what_openvino_would_refuse_or_compute_otherwise(bottom: str, layer: str) -> None:
    shape = tuple(map(int, bottom.split()))
    text = f"{layers.given('a', shape)} layer {{ name: 'l' bottom: 'a' top: 'l' {layer} }}"
    assert engines.compare(text, 0, "openvino") == []


@pytest.mark.parametrize("engine", OTHERS)
def test_not_a_number_that_a_layer_makes_stays(engine: str) -> None:
    text = (
        layers.given("a", (1, 4, 5, 5))
        + """
        layer { name: "root" type: "Power" bottom: "a" top: "root" power_param { power: 0.5 } }
        layer { name: "conv" type: "Convolution" bottom: "root" top: "conv" convolution_param {
                num_output: 3 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }
        layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
        """
    )
    assert engines.compare(text, 0, engine) == []


@pytest.mark.skipif(not HAS_OPENVINO, reason="the extra openvino is not installed")
def test_what_openvino_raises_is_told_as_ours() -> None:
    text = layers.given("a", (1, 2, 3, 3)) + (
        "layer { name: 'l' type: 'TanH' bottom: 'a' top: 'l' }"
    )
    net = caffe.Net(text, caffe.TEST)
    with engines.running("openvino"):
        net.forward()
        (choice,) = choices_of(net)
        with pytest.raises(caffe.CaffeError, match=r"layer 'l' .*caffe\.set_engine"):
            choice.chosen.compile(choice._operations, {}, [])
