"""Odd nets and odd values: every engine gives what the layers give, or says that it cannot."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe.layers.layer import Layer, register
from caffe.layers.translation import openvino
from tests.helpers.plans import choices_of

ENGINES = ["layerwise", "torch", "auto", *(["openvino"] if find_spec("openvino") else [])]
RUNS = 8


@pytest.fixture(autouse=True)
def _as_it_was(own_layers: None, try_small_nets: None) -> None:
    caffe.set_random_seed(1)


def net_of(shape: tuple[int, ...], *layers: str) -> caffe.Net:
    dims = " ".join(f"dim: {n}" for n in shape)
    head = f"name: 'data' type: 'Input' top: 'data' input_param {{ shape {{ {dims} }} }}"
    return caffe.Net("\n".join(f"layer {{ {layer} }}" for layer in (head, *layers)), caffe.TEST)


CONVOLUTION = (
    "name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' "
    "convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: 'xavier' } }"
)
PRODUCT = (
    "name: 'fc' type: 'InnerProduct' bottom: 'data' top: 'fc' "
    "inner_product_param { num_output: 8 weight_filler { type: 'xavier' } }"
)
RELU = "name: 'relu' type: 'ReLU' bottom: '{0}' top: '{0}'"
CLIP = "name: 'clip' type: 'Clip' bottom: '{0}' top: '{0}' clip_param {{ min: 0 max: 6 }}"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_in_place_on_the_input_works_on_what_it_made_before(engine: str) -> None:
    net = net_of(
        (1, 2, 64, 64),
        "name: 'double' type: 'Power' bottom: 'data' top: 'data' power_param { scale: 2 }",
        "name: 'next' type: 'Power' bottom: 'data' top: 'next' power_param { shift: 1 }",
        "name: 'last' type: 'Power' bottom: 'next' top: 'last' power_param { shift: 1 }",
    )
    caffe.set_engine(engine)
    net.blobs["data"].data[...] = 1
    for i in range(1, RUNS):
        net.forward()
        found = [float(net.blobs[name].data.max()) for name in ("next", "data", "last")]
        assert found == [2**i + 1, 2**i, 2**i + 2]


@pytest.mark.parametrize("where", ["input", "weights", "bias", "scale"])
@pytest.mark.parametrize("activation", [RELU, CLIP])
@pytest.mark.parametrize("kind", ["conv", "fc"])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_number_stays_so(engine: str, kind: str, activation: str, where: str) -> None:
    layers = [CONVOLUTION if kind == "conv" else PRODUCT]
    if where == "scale":
        layers.append(f"name: 'scale' type: 'Scale' bottom: '{kind}' top: '{kind}'")
    net = net_of((2, 4, 6, 6), *layers, activation.format(kind))
    data = np.random.default_rng(0).normal(size=(2, 4, 6, 6))
    if where == "input":
        data[0, 0, 2, 2] = np.nan
    else:
        blob = net.params["scale"][0] if where == "scale" else net.params[kind][where == "bias"]
        blob.data.flat[3] = np.nan
    caffe.set_engine("layerwise")
    expected = np.isnan(net.forward(data=data)[kind])
    assert expected.any()
    caffe.set_engine(engine)
    for _ in range(RUNS):
        assert np.array_equal(np.isnan(net.forward(data=data)[kind]), expected)
    if where == "input":
        assert not np.isnan(net.forward(data=np.ones((2, 4, 6, 6)))[kind]).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sum_leaves_a_convolution_to_its_other_readers(engine: str) -> None:
    net = net_of(
        (1, 2, 3, 3),
        "name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { num_output: 2 "
        "kernel_size: 1 weight_filler { type: 'constant' value: 1 } }",
        "name: 'split' type: 'Split' bottom: 'c' top: 'c0' top: 'c1'",
        "name: 'sum' type: 'Eltwise' bottom: 'data' bottom: 'c1' top: 'sum'",
        "name: 'prelu' type: 'PReLU' bottom: 'c0' top: 'c0'",
    )
    caffe.set_engine(engine)
    data = np.arange(18.0).reshape(1, 2, 3, 3) - 9
    for _ in range(RUNS):
        found = {name: float(values.sum()) for name, values in net.forward(data=data).items()}
        assert found == {"c0": 19.5, "sum": -27.0}


@pytest.mark.parametrize("k", [0.5, 1, 1.5, 2.75])
@pytest.mark.parametrize("engine", ENGINES)
def test_normalisation_takes_any_k(engine: str, k: float) -> None:
    param = f"lrn_param {{ local_size: 3 alpha: 2 beta: 0.6 k: {k} }}"
    net = net_of((1, 6, 4, 5), f"name: 'n' type: 'LRN' bottom: 'data' top: 'n' {param}")
    x = np.random.default_rng(0).normal(size=(1, 6, 4, 5)).astype(np.float32)
    squares = np.pad(x * x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    total = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    caffe.set_engine(engine)
    np.testing.assert_allclose(net.forward(data=x)["n"], x / (k + 2 / 3 * total) ** 0.6, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "param"),
    [
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 }"),
        ("Tile", "tile_param { tiles: 2 }"),
        ("InnerProduct", "inner_product_param { num_output: 4 }"),
        ("Reduction", ""),
        ("SPP", "spp_param { pyramid_height: 2 }"),
    ],
)
def test_a_layer_that_changes_the_shape_is_refused_in_place(kind: str, param: str) -> None:
    with pytest.raises(caffe.NetError, match=r"layer 'x' .* cannot run in place: give its top a"):
        net_of((1, 4, 8, 8), f"name: 'x' type: '{kind}' bottom: 'data' top: 'data' {param}")


def test_a_backend_that_computes_otherwise_is_not_used() -> None:
    pytest.importorskip("openvino")

    @register("PlusOne")
    class PlusOne(Layer):
        is_pure = stays_finite = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    @openvino.rule(PlusOne)
    def _plus_two(layer: PlusOne, graph: Any, x: Any) -> Any:
        return graph.ops.add(x, graph.constant(2.0))

    net = net_of((2, 3), "name: 'plus' type: 'PlusOne' bottom: 'data' top: 'plus'")
    (choice,) = (net.forward(), choices_of(net))[1]
    warned = pytest.warns(caffe.CaffeWarning, match="OpenVINO computes otherwise .* layer 'plus'")
    with warned:
        for i in range(RUNS):
            assert (net.forward(data=np.full((2, 3), i))["plus"] == i + 1).all()
    assert not choice.is_open


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_weights_survive_nets_that_share_them_in_threads_and_are_saved(
    engine: str, tmp_path: Path
) -> None:
    first, second = (net_of((4, 512), *[PRODUCT, RELU.format("fc")]) for _ in range(2))
    second.share_with(first)
    weights = first.params["fc"][0].data_tensor().clone()
    data = np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32)
    expected = first.forward(data=data)["fc"].copy()
    wrong: list[object] = []

    def run(net: caffe.Net) -> None:
        caffe.set_engine(engine)
        for _ in range(60):
            found = net.forward(data=data)["fc"]
            if not np.allclose(found, expected, atol=1e-4):
                wrong.append(found.copy())

    threads = [threading.Thread(target=run, args=(net,)) for net in (first, second)]
    for thread in threads:
        thread.start()
    for i in range(5):
        first.save(tmp_path / f"{i}.caffemodel")
    for thread in threads:
        thread.join()
    assert not wrong
    for i in range(5):
        copy = net_of((4, 512), PRODUCT)
        copy.copy_from(tmp_path / f"{i}.caffemodel")
        assert torch.equal(copy.params["fc"][0].data_tensor(), weights)


def reading(net: caffe.Net, name: str, found: list[object]) -> None:
    try:
        found.append(net.blobs[name].data_tensor().clone())
    except Exception as error:
        found.append(error)


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_threads_that_look_at_one_blob_see_the_same(engine: str) -> None:
    caffe.set_engine(engine)
    for _ in range(10):
        net = net_of(
            (8, 4, 32, 32), CONVOLUTION, "name: 'tanh' type: 'TanH' bottom: 'conv' top: 't'"
        )
        expected = net.forward(data=np.ones((8, 4, 32, 32)))["t"].copy()
        found: list[object] = []
        threads = [threading.Thread(target=reading, args=(net, "conv", found)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for values in found:
            assert isinstance(values, torch.Tensor), values
            np.testing.assert_allclose(values.tanh(), expected, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_blob_reshaped_there_and_back_is_read_anew(engine: str) -> None:
    net = net_of(
        (1, 2),
        "name: 'y' type: 'Power' bottom: 'data' top: 'y' power_param { shift: 1 }",
        "name: 'z' type: 'Flatten' bottom: 'data' top: 'z'",
    )
    caffe.set_engine(engine)
    net.forward(data=np.zeros((1, 2)))
    net.blobs["data"].reshape(4, 2)
    net.blobs["data"].reshape(1, 2)
    out = net.forward(data=np.ones((1, 2)))
    assert out["y"].tolist() == [[2, 2]]
    assert out["z"].tolist() == [[1, 1]]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_in_place_may_return_another_view_of_its_bottom(engine: str) -> None:
    @register("Turned")
    class Turned(Layer):
        is_pure = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(2, 3)

    @register("Twins")
    class Twins(Layer):
        tops = 2

        def top_shapes(self, *bottoms: tuple[int, ...]) -> list[tuple[int, ...]]:
            return [bottoms[0], bottoms[0]]

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            y = x + 1
            return [y, y]

    net = net_of(
        (1, 2, 3, 3),
        "name: 'p' type: 'Power' bottom: 'data' top: 'p'",
        "name: 'turned' type: 'Turned' bottom: 'p' top: 'p'",
        "name: 'twins' type: 'Twins' bottom: 'p' top: 'a' top: 'b'",
        "name: 'twice' type: 'Power' bottom: 'a' top: 'a' power_param { scale: 2 }",
    )
    caffe.set_engine(engine)
    data = np.arange(18.0).reshape(1, 2, 3, 3)
    for _ in range(RUNS):
        out = net.forward(data=data)
        turned = data.transpose(0, 1, 3, 2) + 1
        assert np.array_equal(out["b"], turned)
        assert np.array_equal(out["a"], 2 * turned)


def test_openvinos_results_outlive_the_run_in_which_it_is_given_up() -> None:
    pytest.importorskip("openvino")

    @register("Half")
    class Half(Layer):
        is_pure = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 2

    for seed in range(8):
        net = net_of(
            (2, 4, 21, 21),
            "name: 'a' type: 'Half' bottom: 'data' top: 'a'",
            "name: 'drop' type: 'Dropout' bottom: 'a' top: 'drop'",
            "name: 'b' type: 'Half' bottom: 'drop' top: 'b'",
        )
        data = np.random.default_rng(seed).normal(size=(2, 4, 21, 21)).astype(np.float32)
        for _ in range(14):
            assert np.array_equal(net.forward(data=data)["b"], data / 4)
