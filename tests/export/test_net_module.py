"""Nets as PyTorch's modules: they compute as the net, train, and are compiled."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import torch

import caffe
from fuzz import layers
from tests.helpers.exported import CASES, Run, examples, run_torch
from tests.helpers.nets import NET, TINY

KINDS = [kind for kind in layers.MAKERS if kind != "Silence"]


def test_every_layer_computes_as_in_the_net() -> None:
    ran = 0
    for kind in (*KINDS, *CASES):
        run = _first_that_runs(kind)
        if run is None:
            continue
        module = caffe.export.module(run.net)
        for found, wanted in zip(
            run_torch(module, [run.given[n] for n in module.inputs]), run.wanted.values(),
            strict=True,
        ):  # fmt: skip
            np.testing.assert_array_equal(found, wanted, err_msg=kind)
        ran += 1
    assert ran > 90


def _first_that_runs(kind: str) -> Run | None:
    for seed, text in enumerate(examples(kind)):
        with suppress(caffe.CaffeError):
            return Run(text, seed, kind)
    return None


def test_parameters_are_called_by_layer_and_number_and_are_copies() -> None:
    net = caffe.Net(NET, caffe.TEST)
    module = caffe.export.module(net)
    assert list(module.state_dict()) == [
        *("conv.0", "conv.1", "bn.0", "bn.1", "bn.2", "scale.0", "right.0", "right.1")
    ]
    assert {n for n, _ in module.named_buffers()} == {"bn.0", "bn.1", "bn.2"}
    with torch.no_grad():
        module.get_parameter("conv.0").fill_(7)
    assert not (net.params["conv"][0].data == 7).any()


def test_it_learns() -> None:
    torch.manual_seed(0)
    module = caffe.export.module(caffe.Net(TINY, caffe.TEST), ["ip"])
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    x, target = torch.randn(2, 3, 8, 8), torch.randn(2, 5)
    losses = []
    for _ in range(30):
        loss = (module(data=x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4


def test_train_and_eval_choose_the_phase() -> None:
    module = caffe.export.module(Run(NET.replace("include { phase: TRAIN }", ""), 0).net)
    x = torch.randn(1, 3, 9, 9)
    assert not module.training
    module.train()
    before = module.get_buffer("bn.0").clone()
    module(x)
    assert not torch.equal(module.get_buffer("bn.0"), before)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_shared_parameters_stay_shared() -> None:
    text = layers.given("a", (1, 4)) + "".join(
        f"layer {{ name: '{n}' type: 'InnerProduct' bottom: 'a' top: '{n}' param {{ name: 'w' }} "
        "inner_product_param { num_output: 2 bias_term: false "
        "weight_filler { type: 'gaussian' } } }"
        for n in ("left", "right")
    )
    module = caffe.export.module(caffe.Net(text, caffe.TEST))
    assert module.get_parameter("left.0") is module.get_parameter("right.0")
    assert len(list(module.parameters())) == 1


def test_it_is_compiled_as_one_graph() -> None:
    run = Run(NET, 0)
    module = caffe.export.module(run.net)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    np.testing.assert_allclose(
        run_torch(compiled, [run.given["data"]])[0], run.wanted["sum"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_is_recorded(dynamic: bool) -> None:
    run = Run(NET, 0)
    program = caffe.export.program(run.net, dynamic_batch=dynamic)
    np.testing.assert_allclose(
        run_torch(program.module(), [run.given["data"]])[0], run.wanted["sum"], rtol=1e-5, atol=1e-5
    )
    if dynamic:
        assert program.module()(torch.zeros(3, 3, 9, 9)).shape[0] == 3


def test_large_products_are_recorded_for_any_number_of_pictures() -> None:
    # On the CPU a few rows are multiplied another way, which is not to be recorded.
    text = layers.given("x", (2, 520)) + (
        "layer { name: 'y' type: 'InnerProduct' bottom: 'x' top: 'y'"
        " inner_product_param { num_output: 512 weight_filler { type: 'xavier' } } }"
    )
    net = caffe.Net(text, caffe.TEST)
    program = caffe.export.program(net, dynamic_batch=True)
    x = np.random.default_rng(0).normal(size=(300, 520)).astype(np.float32)
    weight, bias = (blob.data for blob in net.params["y"])
    found = run_torch(program.module(), [x])[0]
    np.testing.assert_allclose(found, x @ weight.T + bias, rtol=1e-4, atol=1e-4)


def test_layers_of_the_forks_are_recorded() -> None:
    for kind in ("Lstm", "Embed", "Upsample", "LSTMUnit", "ResizeBilinear"):
        one = CASES[kind][0]
        run = Run(one.net(), 0, kind)
        program = caffe.export.program(run.net)
        given = [run.given[name] for name in run.net.inputs]
        assert not run.differences(run_torch(program.module(), given)), one


def test_names_that_modules_cannot_have() -> None:
    text = layers.given("a", (1, 4)) + (
        "layer { name: 'a.b' type: 'Scale' bottom: 'a' top: 'b' }"
        "layer { name: 'forward' type: 'Scale' bottom: 'b' top: 'c' }"
    )
    module = caffe.export.module(caffe.Net(text, caffe.TEST))
    assert list(module.state_dict()) == ["a_b.0", "forward_.0"]
    assert module(torch.ones(1, 4)).tolist() == [[1, 1, 1, 1]]


def test_wrong_inputs_are_told() -> None:
    module = caffe.export.module(caffe.Net(NET, caffe.TEST))
    with pytest.raises(caffe.NetError, match="inputs are data: give each of them once"):
        module(torch.zeros(1), torch.zeros(1))
    with pytest.raises(caffe.ArgumentError, match=r"caffe\.Net"):
        caffe.export.module("net.prototxt")  # type: ignore[arg-type]


def test_a_layer_that_decides_by_values_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    text = (
        layers.given("a", (3, 2))
        + layers.given("s", (3,))
        + ("layer { name: 'some' type: 'CTCGreedyDecoder' bottom: 'x' top: 'f' }")
        .replace("'x'", "'t'")
        .replace("layer {", layers.given("t", (4, 2, 3)) + "layer {", 1)
    )
    with pytest.raises(caffe.NetError, match=r"'some' \(CTCGreedyDecoder\).*values.*before it"):
        caffe.export.program(caffe.Net(text, caffe.TEST))
    assert not capfd.readouterr().err
