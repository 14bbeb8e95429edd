"""Convolutions' gradients are PyTorch's own, whichever way they are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import caffe
from caffe import onednn
from caffe.compiled import llvm
from caffe.layers import convolution_in_training, winograd_in_training
from caffe.layers.convolution_in_training import Convolved

CASES = {
    "product": (32, 8, 1, 2, 0, 1, 1),
    "padded product": (32, 8, 1, 1, 1, 1, 1),
    "planes": (64, 8, 3, 2, 1, 2, 1),
    "planes in groups": (128, 8, 3, 1, 1, 1, 2),
    "few channels": (3, 8, 5, 1, 2, 1, 1),
    "each channel by itself": (8, 8, 3, 1, 1, 1, 8),
    "one channel": (1, 8, 3, 1, 1, 1, 1),
}


@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_autograd(case: str, is_last: bool) -> None:
    channels, outputs, kernel, stride, pad, dilation, group = CASES[case]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels, 9, 11, generator=generator, requires_grad=True)
    weight = torch.randn(
        outputs, channels // group, kernel, kernel, generator=generator, requires_grad=True
    )
    bias = torch.zeros(outputs, requires_grad=True)
    y = F.conv2d(x, weight, bias, stride, pad, dilation, group)
    diff = torch.randn(y.shape, generator=generator)
    expected = torch.autograd.grad(y, (x, weight, bias), diff)

    order = torch.channels_last if is_last else torch.contiguous_format
    windows = ((stride, stride), (pad, pad), (dilation, dilation))
    convolved = Convolved(*windows, group, transposed=False)
    given = (t.detach().contiguous(memory_format=order) for t in (diff, x))
    found = convolved.gradients(*given, weight.detach(), True, [True, True, True])
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 4])
def test_gradients_of_what_spreads_one_column(channels: int) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(7, 10, 1, channels, generator=generator).permute(0, 3, 1, 2).requires_grad_()
    weight = torch.randn(channels, 1, 2, 3, generator=generator, requires_grad=True)
    y = F.conv_transpose2d(x.double(), weight.double(), None, (1, 2))
    diff = torch.randn(7, 11, 3, 1, generator=generator).permute(0, 3, 1, 2)
    expected = torch.autograd.grad(y, (x, weight), diff.double())
    convolved = Convolved((1, 2), (0, 0), (1, 1), 1, transposed=True)
    given = diff, x.detach(), weight.detach()
    *found, _ = convolved.gradients(*given, False, [True, True, False])
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("most", [0, 2**18, 2**24])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_first_layers_windows_are_laid_out_as_many_at_a_time_as_fit(
    most: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution_in_training, "MOST_LAID", most)
    rows = torch.channels_last
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, channels, 97, 111, generator=generator).contiguous(memory_format=rows)
    weight = torch.randn(8, channels, 5, 4, generator=generator, requires_grad=True)
    y = F.conv2d(x, weight, None, (1, 3), (2, 1))
    diff = torch.randn(y.shape, generator=generator).contiguous(memory_format=rows)
    (expected,) = torch.autograd.grad(y, weight, diff)
    convolved = Convolved((1, 3), (2, 1), (1, 1), 1, transposed=False)
    _, found, _ = convolved.gradients(diff, x, weight.detach(), False, [False, True, False])
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_only_what_is_needed_is_found() -> None:
    convolved = Convolved((1, 1), (0, 0), (1, 1), 1, transposed=False)
    x = torch.zeros(1, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    diff = torch.zeros(1, 2, 5, 5).contiguous(memory_format=torch.channels_last)
    of_x, of_weight, of_bias = convolved.gradients(
        diff, x, torch.zeros(2, 4, 1, 1), False, [False, True, False]
    )
    assert of_x is None
    assert of_weight is not None
    assert of_bias is None


@pytest.fixture(params=["compiled", "by operators"])
def always_by_tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Winograd's algorithm wherever it can be, however long it takes."""
    for name in ("CHANGING", "CHANGING_COMPILED", "LEAST_TRAINED"):
        monkeypatch.setattr(winograd_in_training, name, 0)
    if request.param == "by operators":
        monkeypatch.setattr(llvm, "width", lambda: 0)


TILED = {
    "tiles": (32, 48, 3, 1, 1),
    "tiles in groups": (32, 64, 5, 2, 2),
    "tiles without padding": (20, 50, 5, 0, 1),
}


def _tiled(case: str) -> tuple[Convolved, list[torch.Tensor]]:
    """A convolution, and its input, weight, bias and top's diff, by rows."""
    channels, outputs, kernel, pad, group = TILED[case]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels, 9, 11, generator=generator)
    weight = torch.randn(outputs, channels // group, kernel, kernel, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    diff = torch.randn(F.conv2d(x, weight, None, 1, pad, 1, group).shape, generator=generator)
    rows = torch.channels_last
    tensors = [x.contiguous(memory_format=rows), weight, bias, diff.contiguous(memory_format=rows)]
    return Convolved((1, 1), (pad, pad), (1, 1), group, transposed=False), tensors


@pytest.mark.usefixtures("always_by_tiles")
@pytest.mark.parametrize("case", TILED)
def test_what_is_done_by_tiles_is_what_autograd_finds(case: str) -> None:
    convolved, (x, weight, bias, diff) = _tiled(case)
    exact = [t.double().requires_grad_() for t in (x, weight, bias)]
    y = F.conv2d(*exact, 1, convolved.pad, 1, convolved.group)
    expected = torch.autograd.grad(y, exact, diff.double())
    top = convolved.by_tiles(x, weight, bias)
    assert top is not None
    found = convolved.gradients(diff, x, weight, True, [True, True, True])
    for gradient, wanted in zip((top, *found), (y.detach(), *expected), strict=True):
        assert gradient is not None
        assert gradient.shape == wanted.shape
        assert float((gradient - wanted).abs().max()) < 2e-5 * float(wanted.abs().max())


@pytest.mark.usefixtures("always_by_tiles")
@pytest.mark.parametrize("case", TILED)
def test_gradients_are_the_same_however_the_tops_diff_lies(case: str) -> None:
    convolved, (x, weight, _, diff) = _tiled(case)
    by_rows, by_planes = (
        convolved.gradients(given, x, weight, True, [True, True, True])
        for given in (diff, diff.contiguous())
    )
    for one, other in zip(by_rows, by_planes, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


@pytest.mark.usefixtures("always_by_tiles")
@pytest.mark.parametrize("case", TILED)
@pytest.mark.parametrize("odd", ["x", "weight", "bias", "diff"])
def test_what_is_no_finite_number_stays_where_a_convolution_has_it(odd: str, case: str) -> None:
    convolved, tensors = _tiled(case)
    x, weight, bias, diff = tensors
    where = {"x": x, "weight": weight, "bias": bias, "diff": diff}[odd]
    where[-1 if odd == "bias" else (1, -1, 1, 2)] = float("inf")
    if odd != "diff":
        assert convolved.by_tiles(x, weight, bias) is None
    found = convolved.gradients(diff, x, weight, True, [True, True, True])
    exact = [t.clone().requires_grad_() for t in (x, weight, bias)]
    y = F.conv2d(*exact, 1, convolved.pad, 1, convolved.group)
    expected = torch.autograd.grad(y, exact, diff)
    for gradient, wanted in zip(found, expected, strict=True):
        assert gradient is not None
        assert torch.equal(gradient.isfinite(), wanted.isfinite())


def test_the_same_shapes_go_the_same_way_whatever_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convolved, (x, weight, bias, _) = _tiled("tiles")
    monkeypatch.setattr(winograd_in_training, "LEAST_TRAINED", 0)
    ways = []
    for changing in (0, 10**6):
        for name in ("CHANGING", "CHANGING_COMPILED"):
            monkeypatch.setattr(winograd_in_training, name, changing)
        ways.append([convolved.by_tiles(x, weight, bias) is None for _ in range(3)])
    assert ways == [[False] * 3, [True] * 3]


@pytest.mark.cpu
@pytest.mark.usefixtures("always_by_tiles")
def test_the_layerwise_engine_trains_without_tiles() -> None:
    convolved, (x, weight, bias, _) = _tiled("tiles")
    assert replace(convolved, is_exact=True).by_tiles(x, weight, bias) is None
    net = caffe.Net(
        """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 32, 9, 11] } } }
        layer { name: "y" type: "Convolution" bottom: "x" top: "y" convolution_param {
            num_output: 48 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
        force_backward: true""",
        caffe.TRAIN,
    )
    net.blobs["x"].data[...] = x.numpy()
    tops = []
    for engine in ("torch", "layerwise", "torch"):
        caffe.set_engine(engine)
        net.forward()
        net.blobs["y"].diff[...] = 1
        net.backward()
        tops.append((net.forward()["y"].copy(), net.params["y"][0].diff.copy()))
        net.clear_param_diffs()
    caffe.set_engine("auto")
    # Gradients by weights go by tiles by kernels of our own, or where oneDNN has no quick ones.
    is_by_tiles = [True, bool(llvm.width()) or not onednn.has_long_vectors()]
    for by_tiles, (one, exact, again) in zip(is_by_tiles, zip(*tops, strict=True), strict=True):
        assert np.array_equal(one, exact) is not by_tiles
        assert np.array_equal(one, again)
        np.testing.assert_allclose(one, exact, atol=2e-5 * abs(exact).max())


FEW = {"one channel": (1, 20, 5, 1, 0), "colours": (3, 32, 5, 1, 2), "in steps": (3, 38, 3, 2, 1)}


def _of_few(case: str) -> tuple[Convolved, list[torch.Tensor]]:
    """A convolution that a first layer is, and its input, weight, bias and top's diff, by rows."""
    channels, outputs, kernel, stride, pad = FEW[case]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, channels, 33, 34, generator=generator)
    weight = torch.randn(outputs, channels, kernel, kernel, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    diff = torch.randn(F.conv2d(x, weight, bias, stride, pad).shape, generator=generator)
    rows = torch.channels_last
    tensors = [x.contiguous(memory_format=rows), weight, bias, diff.contiguous(memory_format=rows)]
    convolved = Convolved((stride,) * 2, (pad,) * 2, (1, 1), 1, transposed=False)
    return convolved, tensors


@pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")
@pytest.mark.parametrize("case", FEW)
def test_first_layers_are_what_autograd_finds(case: str) -> None:
    convolved, (x, weight, bias, diff) = _of_few(case)
    exact = [t.double().requires_grad_() for t in (x, weight, bias)]
    y = F.conv2d(*exact, convolved.stride, convolved.pad)
    expected = torch.autograd.grad(y, exact, diff.double())
    top = convolved.by_kernels(x, weight, bias)
    assert top is not None
    assert replace(convolved, is_exact=True).by_kernels(x, weight, bias) is None
    found = convolved.gradients(diff, x, weight, True, [True, True, True])
    for gradient, wanted in zip((top, *found), (y.detach(), *expected), strict=True):
        assert gradient is not None
        assert gradient.shape == wanted.shape
        assert float((gradient - wanted).abs().max()) < 2e-6 * float(wanted.abs().max())
    again = convolved.gradients(diff.contiguous(), x, weight, True, [False, True, False])
    assert again[1] is not None
    assert found[1] is not None
    assert torch.equal(again[1], found[1])
    assert again[2] is None


@pytest.mark.parametrize("case", FEW)
@pytest.mark.parametrize("odd", ["x", "weight", "bias", "diff"])
def test_first_layers_have_what_is_no_finite_number_where_a_convolution_has_it(
    odd: str, case: str
) -> None:
    convolved, (x, weight, bias, diff) = _of_few(case)
    where = {"x": x, "weight": weight, "bias": bias, "diff": diff}[odd]
    where[-1 if odd == "bias" else (1, 0, 0, 0)] = float("inf")
    top = convolved.by_kernels(x, weight, bias)
    found = convolved.gradients(diff, x, weight, True, [True, True, True])
    exact = [t.clone().requires_grad_() for t in (x, weight, bias)]
    y = F.conv2d(*exact, convolved.stride, convolved.pad)
    expected = torch.autograd.grad(y, exact, diff)
    if top is not None:
        assert torch.equal(top.isfinite(), y.isfinite())
    for gradient, wanted in zip(found, expected, strict=True):
        assert gradient is not None
        assert torch.equal(gradient.isnan(), wanted.isnan())
        assert torch.equal(gradient.isfinite(), wanted.isfinite())
