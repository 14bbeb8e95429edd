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


def test_argmax_prefers_the_later_of_equal_values() -> None:
    x = [[3, 1, 3, 2, 3], [0, 0, 0, 0, 0]]
    net = layer_net('type: "ArgMax"', [(2, 5)])
    np.testing.assert_array_equal(feed(net, x)[0], [[[4]], [[4]]])
    net = layer_net('type: "ArgMax" argmax_param { top_k: 4 out_max_val: true }', [(2, 5)])
    np.testing.assert_array_equal(
        feed(net, x)[0], [[[4, 2, 0, 3], [3, 3, 3, 2]], [[4, 3, 2, 1], [0, 0, 0, 0]]]
    )


def test_eltwise_max_gives_the_gradient_to_one_of_equal_values() -> None:
    net = layer_net('type: "Eltwise" eltwise_param { operation: MAX }', [(4,)] * 3, backward=True)
    feed(net, [1, 5, 0, np.nan], [1, 2, 0, 3], [1, 2, 7, 2])
    np.testing.assert_array_equal(net.blobs["t0"].data, [1, 5, 7, 3])
    net.blobs["t0"].diff[...] = 1
    net.backward()
    gradients = [net.blobs[f"b{i}"].diff for i in range(3)]
    np.testing.assert_array_equal(gradients, [[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]])


def test_eltwise_sum_weighs_by_coeff() -> None:
    net = layer_net('type: "Eltwise" eltwise_param { coeff: [2, -1, 0.5] }', [(2,)] * 3)
    np.testing.assert_array_equal(feed(net, [1, 2], [3, 4], [6, 8])[0], [2, 4])


@pytest.mark.parametrize(
    ("operation", "expected"), [("SUM", 2), ("ASUM", 8), ("SUMSQ", 34), ("MEAN", 0.5)]
)
def test_reduction_to_a_scalar(operation: str, expected: float) -> None:
    net = layer_net(f'type: "Reduction" reduction_param {{ operation: {operation} }}', [(2, 2)])
    y = feed(net, [[0, 5], [0, -3]])[0]
    assert y.shape == ()
    assert y == expected


def test_filter_keeps_what_the_last_bottom_marks() -> None:
    net = layer_net('type: "Filter"', [(4, 2), (4, 1, 3), (4, 1)], tops=2, backward=True)
    x = np.arange(8).reshape(4, 2)
    np.testing.assert_array_equal(feed(net, x, 1, [[0], [2], [0], [-1]])[0], [[2, 3], [6, 7]])
    assert net.blobs["t1"].shape == (2, 1, 3)
    net.blobs["t0"].diff[...] = [[1, 2], [3, 4]]
    net.backward()
    np.testing.assert_array_equal(net.blobs["b0"].diff, [[0, 0], [1, 2], [0, 0], [3, 4]])
    assert feed(net, x, 1, 0)[0].shape == (0, 2)


def test_batch_reindex_adds_up_the_gradients_of_what_it_repeats() -> None:
    net = caffe.Net(
        """layer { name: "x" type: "Parameter" top: "x"
                   parameter_param { shape { dim: 3 dim: 1 } } }
        layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 4 } } }
        layer { name: "layer" type: "BatchReindex" bottom: "x" bottom: "i" top: "y"
                loss_weight: 1 propagate_down: true propagate_down: false }""",
        caffe.TEST,
    )
    net.params["x"][0].data[...] = [[5], [6], [7]]
    net.blobs["i"].data[...] = [2, 0, 2, 2]
    np.testing.assert_array_equal(net.forward()["y"], [[7], [5], [7], [7]])
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [[1], [0], [3]])
    net.blobs["i"].data[...] = [0, 1, 2, 3]
    with pytest.raises(CaffeError, match=r"bottom 1 holds 3 at \[3\]"):
        net.forward()


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


def test_inner_product_refuses_another_number_of_inputs() -> None:
    net = layer_net('type: "InnerProduct" inner_product_param { num_output: 4 }', [(2, 3)])
    net.blobs["b0"].reshape(2, 5)
    with pytest.raises(CaffeError, match="5 inputs"):
        net.forward()


def test_embed_refuses_rows_that_are_not_there() -> None:
    net = layer_net('type: "Embed" embed_param { num_output: 3 input_dim: 4 }', [(2,)])
    with pytest.raises(CaffeError, match=r"bottom 0 holds 4 at \[1\]"):
        feed(net, [0, 4])


def test_argmax_of_a_bottom_with_one_axis_has_one_choice_for_each_number() -> None:
    net = layer_net('type: "ArgMax" argmax_param { out_max_val: true }', [(3,)])
    np.testing.assert_array_equal(feed(net, [5, 6, 7])[0], [[[0], [5]], [[0], [6]], [[0], [7]]])
