"""PyTorch modules' tensors in Caffe's nets, by name and by order."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe
from caffe import CaffeError
from caffe.imports import copy_weights
from tests.helpers.exported import run_torch

TEXT = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "stem_conv" type: "Convolution" bottom: "data" top: "stem_conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "stem_bn" type: "BatchNorm" bottom: "stem_conv" top: "stem_conv" }
layer { name: "stem_bn_scale" type: "Scale" bottom: "stem_conv" top: "stem_conv"
  scale_param { bias_term: true } }
layer { name: "act" type: "PReLU" bottom: "stem_conv" top: "stem_conv" }
layer { name: "fc" type: "InnerProduct" bottom: "stem_conv" top: "fc"
  inner_product_param { num_output: 5 } }
"""


def module() -> torch.nn.Module:
    """Return the same net as PyTorch has it."""
    torch.manual_seed(0)
    stem = torch.nn.Sequential(
        OrderedDict(
            conv=torch.nn.Conv2d(3, 4, 3, padding=1, bias=False), bn=torch.nn.BatchNorm2d(4)
        )
    )
    flat = torch.nn.Flatten()
    parts = {"stem": stem, "act": torch.nn.PReLU(4), "flat": flat, "fc": torch.nn.Linear(144, 5)}
    made = torch.nn.Sequential(OrderedDict(parts))
    with torch.no_grad():
        for tensor in made.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
    return made.eval()


def same(net: caffe.Net, made: torch.nn.Module) -> None:
    """Check that both compute the same."""
    picture = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    (wanted,) = run_torch(made, [picture])
    np.testing.assert_allclose(net.forward(data=picture)["fc"], wanted, rtol=1e-4)


@pytest.fixture
def net() -> caffe.Net:
    return caffe.Net(TEXT, caffe.TEST)


@pytest.mark.parametrize("by", ["name", "order"])
def test_a_state_dict_makes_the_net_compute_what_the_module_does(net: caffe.Net, by: str) -> None:
    made = module()
    matched = copy_weights(net, made.state_dict(), by)
    same(net, made)
    assert not matched.unused
    assert not matched.missing
    assert len(matched.taken) == 8
    told = str(matched)
    assert "8 tensors taken" in told
    assert "stem.bn.running_var   -> stem_bn blob 1 (4)" in told


@pytest.mark.parametrize("legacy", [False, True])
def test_what_torch_saves_is_read(net: caffe.Net, tmp_path: Path, legacy: bool) -> None:
    made, path = module(), tmp_path / "net.pth"
    state = {f"module.{name}": tensor for name, tensor in made.state_dict().items()}
    content = {"epoch": 3, "state_dict": state}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    copy_weights(net, path, "order")
    same(net, made)


def test_safetensors_by_name(net: caffe.Net, tmp_path: Path) -> None:
    files = pytest.importorskip("safetensors.torch")
    made, path = module(), tmp_path / "net.safetensors"
    files.save_file(made.state_dict(), path)
    copy_weights(net, path)
    same(net, made)
    with pytest.raises(CaffeError, match="by the alphabet"):
        copy_weights(net, path, "order")


def test_safetensors_of_numbered_modules_by_order(net: caffe.Net, tmp_path: Path) -> None:
    files = pytest.importorskip("safetensors.torch")
    made, path = module(), tmp_path / "net.safetensors"
    numbers = {"stem.conv": "0", "stem.bn": "1", "act": "2", "fc": "10"}
    state = {}
    for name, tensor in made.state_dict().items():
        prefix, _, role = name.rpartition(".")
        state[f"{numbers[prefix]}.{role}"] = tensor
    files.save_file(state, path)
    copy_weights(net, path, "order")
    same(net, made)


def test_by_name_the_rest_is_told(net: caffe.Net) -> None:
    state = module().state_dict()
    state["head.weight"] = torch.ones(2)
    del state["fc.weight"], state["fc.bias"]
    before = net.params["fc"][0].data.copy()
    matched = copy_weights(net, state)
    assert matched.unused == ["head.weight"]
    assert matched.missing == ["fc"]
    assert "1 layer not in it" in str(matched)
    np.testing.assert_array_equal(net.params["fc"][0].data, before)


def test_every_misfit_is_named_and_nothing_is_changed(net: caffe.Net) -> None:
    state = module().state_dict()
    state["stem.conv.weight"] = torch.ones(4, 3, 5, 5)
    state["stem.conv.bias"] = torch.ones(4)
    state["fc.weight"] = torch.ones(5, 7)
    del state["act.weight"]
    before = net.params["act"][0].data.copy()
    with pytest.raises(CaffeError) as caught:
        copy_weights(net, {**state, "act.slope": torch.ones(4)})
    told = str(caught.value)
    assert "stem.conv.weight is 4 x 3 x 5 x 5, but stem_conv blob 0 is 4 x 3 x 3 x 3" in told
    assert "stem.conv.bias: no such parameter in stem_conv" in told
    assert "fc.weight is 5 x 7, but fc blob 0 is 5 x 144" in told
    assert "act blob 0 is for a weight, and 'act' has none" in told
    np.testing.assert_array_equal(net.params["act"][0].data, before)


def test_by_order_counts_have_to_be_the_same(net: caffe.Net) -> None:
    state = module().state_dict()
    with pytest.raises(CaffeError, match="1 module more than the net has places for: extra"):
        copy_weights(net, {**state, "extra.weight": torch.ones(1)}, "order")
    del state["fc.weight"], state["fc.bias"]
    with pytest.raises(CaffeError, match="nothing is left for 1 place of the net: fc"):
        copy_weights(net, state, "order")


def test_refusals(net: caffe.Net) -> None:
    with pytest.raises(CaffeError, match="none of its names"):
        copy_weights(net, {"other.weight": torch.ones(1)})
    with pytest.raises(CaffeError, match="not by 'size'"):
        copy_weights(net, {"other.weight": torch.ones(1)}, "size")
