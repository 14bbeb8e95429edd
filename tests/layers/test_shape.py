"""Layers that rearrange, choose and join: what the golden cases leave out."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError
from tests.helpers.running import feed, layer_net


@pytest.mark.parametrize(
    ("shape", "settings", "expected"),
    [
        ((2, 3, 4), "flatten_param { axis: 0 }", (24,)),
        ((2, 3, 4), "flatten_param { axis: -2 end_axis: -2 }", (2, 3, 4)),
        ((2, 3, 4), "flatten_param { axis: 1 end_axis: 0 }", (2, 1, 3, 4)),
    ],
)
def test_flatten(shape: tuple[int, ...], settings: str, expected: tuple[int, ...]) -> None:
    net = layer_net(f'type: "Flatten" {settings}', [shape])
    x = np.arange(24).reshape(shape)
    np.testing.assert_array_equal(feed(net, x)[0], x.reshape(expected))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("shape { dim: -1 }", (24,)),
        ("shape { dim: 0 dim: 0 dim: 2 dim: 2 }", (2, 3, 2, 2)),
        ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 1)),
        ("shape { dim: 6 } num_axes: 2", (6, 4)),
        ("shape { } axis: 3", (2, 3, 4)),
    ],
)
def test_reshape(settings: str, expected: tuple[int, ...]) -> None:
    net = layer_net(f'type: "Reshape" reshape_param {{ {settings} }}', [(2, 3, 4)])
    x = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(feed(net, x)[0], x.reshape(expected))


@pytest.mark.parametrize(
    ("axis", "offset", "part"),
    [
        ("axis: 1", "offset: [1, 0, 2]", np.s_[:, 1:3, :3, 2:4]),
        ("axis: -2", "", np.s_[:, :, :3, :2]),
        ("axis: 0", "offset: 1", np.s_[1:2, 1:3, 1:4, 1:3]),
    ],
)
def test_crop(axis: str, offset: str, part: tuple[slice, ...]) -> None:
    net = layer_net(f'type: "Crop" crop_param {{ {axis} {offset} }}', [(2, 3, 4, 5), (1, 2, 3, 2)])
    x = np.arange(120).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(feed(net, x)[0], x[part])


def test_legacy_names_of_the_axis() -> None:
    net = layer_net('type: "Concat" concat_param { concat_dim: 0 }', [(1, 2), (3, 2)])
    assert feed(net, 1, 2)[0].shape == (4, 2)
    net = layer_net('type: "Slice" slice_param { slice_dim: 0 slice_point: 3 }', [(4, 2)], tops=2)
    feed(net, np.arange(8).reshape(4, 2))
    np.testing.assert_array_equal(net.blobs["t1"].data, [[6, 7]])


@pytest.mark.parametrize(
    ("kind", "shapes", "settings", "culprit"),
    [
        ("Flatten", [(2, 3)], "flatten_param { axis: 2 }", "axis 2"),
        ("Flatten", [(2, 3, 4)], "flatten_param { axis: 2 end_axis: 0 }", "end_axis 0"),
        ("Reshape", [(2, 3)], "reshape_param { shape { dim: -1 dim: -1 } }", "-1 once"),
        ("Reshape", [(2, 3)], "reshape_param { shape { dim: 4 dim: -1 } }", "do not divide"),
        ("Reshape", [(2, 3)], "reshape_param { shape { dim: 7 } }", "does not hold"),
        ("Reshape", [(2, 3)], "reshape_param { shape { dim: 2 dim: 3 dim: 0 } }", "axis 2"),
        ("Reshape", [(2, 3)], "reshape_param { shape { dim: 6 } axis: 3 }", "axis 3"),
        ("Reshape", [(2, 3)], "reshape_param { shape { dim: 6 } num_axes: 3 }", "num_axes 3"),
        ("Crop", [(2, 3, 4), (2, 3, 4)], "crop_param { offset: 1 }", "axis 2"),
        ("Crop", [(2, 3, 4), (2, 3, 4)], "crop_param { axis: 0 offset: [0, 0] }", "offset"),
        ("Concat", [(2, 3), (3, 3)], "", "agree"),
        ("Concat", [(2, 3), (2, 3, 1)], "", "agree"),
        ("Concat", [(2, 3)], "concat_param { axis: 1 concat_dim: 1 }", "concat_dim"),
        ("Slice", [(2, 3)], "slice_param { slice_point: 1 }", "slice_points"),
        ("Tile", [(2, 3)], "", "tiles"),
        ("ArgMax", [(2, 3)], "argmax_param { top_k: 4 }", "top_k"),
        ("Eltwise", [(2, 3), (3, 2)], "", "same shape"),
        ("Eltwise", [(2, 3)], "", "bottom"),
        ("Eltwise", [(2,), (2,)], "eltwise_param { coeff: 1 }", "coeff"),
        ("Eltwise", [(2,), (2,)], "eltwise_param { operation: PROD coeff: [1, 1] }", "coeff"),
        ("Filter", [(4, 2), (4, 2)], "", "last bottom"),
        ("Filter", [(4, 2), (3,)], "", "one length"),
        ("Scale", [(2, 3)], "scale_param { num_axes: 2 }", "num_axes 2"),
        ("Scale", [(2, 3), (2,)], "", "operand"),
        ("InnerProduct", [(2, 3)], "", "num_output"),
        ("Embed", [(2,)], "embed_param { num_output: 3 }", "input_dim"),
        ("Clip", [(2,)], "", "min"),
        ("Log", [(2,)], "log_param { base: -2 }", "base"),
        ("LRN", [(1, 2, 3, 3)], "lrn_param { local_size: 4 }", "local_size"),
        ("LRN", [(1, 2)], "", "4 axes"),
        ("PReLU", [(2,)], "", "channel axis"),
        ("BatchNorm", [(2, 3)], "param { lr_mult: 1 }", "lr_mult"),
    ],
)
def test_what_caffe_refuses(
    kind: str, shapes: list[tuple[int, ...]], settings: str, culprit: str
) -> None:
    with pytest.raises(CaffeError, match=rf"'layer' \({kind}\).*{culprit}"):
        layer_net(f'type: "{kind}" {settings}', shapes)


@pytest.mark.parametrize("kind", ["AbsVal", "Flatten", "Reshape", "Split"])
def test_layers_that_cannot_run_in_place_say_so(kind: str) -> None:
    with pytest.raises(CaffeError, match=rf"\({kind}\).*in place"):
        caffe.Net(
            'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
            f'layer {{ name: "layer" type: "{kind}" bottom: "x" top: "x"'
            " reshape_param { shape { dim: 0 dim: 0 } } }",
            caffe.TEST,
        )
