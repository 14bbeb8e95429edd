"""Each layer that kernels know is, by them, what the layer itself computes."""

from __future__ import annotations

import pytest

import caffe
from caffe.compiled import llvm
from tests.helpers.plans import assert_the_layers_blobs, plan_of, run_by
from tests.helpers.translated import inputs

if not llvm.width():
    pytest.skip("no kernels can be compiled here", allow_module_level=True)

fixture = run_by("llvm")


def layer(kind: str, bottoms: str, tops: str, how: str = "") -> str:
    named = [f'bottom: "{name}"' for name in bottoms.split()]
    named += [f'top: "{name}"' for name in tops.split()]
    return f'layer {{ name: "{tops}" type: "{kind}" {" ".join(named)} {how} }}\n'


def convolution(bottom: str, top: str, outputs: int) -> str:
    how = f"num_output: {outputs} kernel_size: 1 weight_filler {{ type: 'gaussian' std: 0.5 }}"
    return layer("Convolution", bottom, top, f"convolution_param {{ {how} }}")


def assert_they_run_it(text: str, tolerance: float = 1e-5) -> caffe.Net:
    """Compare blobs with those of the layers, and see that nothing is left to PyTorch."""
    net = caffe.Net(text, caffe.TEST)
    assert_the_layers_blobs(net, tolerance)
    (stretch,) = plan_of(net)._stretches
    assert stretch.choice is not None
    return net


ACTIVATIONS = {
    "AbsVal": "",
    "BNLL": "",
    "Clip": "clip_param { min: -0.5 max: 0.7 }",
    "ELU": "elu_param { alpha: 0.4 }",
    "HardSigmoid": "hard_sigmoid_param { alpha: 0.3 }",
    "HardSwish": "",
    "Mish": "",
    "Power": "power_param { power: 3 scale: 0.5 shift: 1 }",
    "PReLU": "prelu_param { filler { type: 'gaussian' } }",
    "ReLU": "relu_param { negative_slope: 0.1 }",
    "Sigmoid": "",
    "Swish": "swish_param { beta: 1.5 }",
    "TanH": "",
    "Threshold": "threshold_param { threshold: 0.3 }",
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("channels", [5, 24])
def test_activations_behind_a_convolution_and_elsewhere(kind: str, channels: int) -> None:
    how = ACTIVATIONS[kind]
    text = inputs((2, channels, 5, 3)) + convolution("a", "c", channels)
    text += layer(kind, "c", "by_it", how) + layer(kind, "a", "of_an_input", how)
    # By two layers, so that it cannot be joined with the convolution.
    text += convolution("c", "d", 8) + layer(kind, "by_it", "of_another", how)
    assert_they_run_it(text)


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), (2, 3, 2, 2, 3)])
@pytest.mark.parametrize("kind", ["Sigmoid", "Power"])
def test_activations_of_any_axes(shape: tuple[int, ...], kind: str) -> None:
    assert_they_run_it(inputs(shape) + layer(kind, "a", "b", ACTIVATIONS[kind]))


@pytest.mark.parametrize(
    "how", ["", "scale: 0.5 shift: -1", "power: 2", "power: 0", "scale: 0 shift: 2 power: 3"]
)
@pytest.mark.parametrize("is_behind", [False, True])
def test_powers(how: str, is_behind: bool) -> None:
    text = inputs((2, 6, 3, 5)) + (convolution("a", "c", 6) if is_behind else "")
    text += layer("Power", "c" if is_behind else "a", "p", f"power_param {{ {how} }}")
    assert_they_run_it(text + convolution("p", "d", 4))


SUMS = ["", "coeff: 2 coeff: 1 coeff: -0.5", "coeff: 2 coeff: 3 coeff: -0.5", "operation: MAX"]


@pytest.mark.parametrize("how", [*SUMS, "operation: PROD"])
@pytest.mark.parametrize("channels", [5, 24])
def test_three_joined_by_eltwise(how: str, channels: int) -> None:
    shape = (2, channels, 5, 3)
    text = inputs(shape, shape) + convolution("a", "c", channels) + convolution("b", "d", channels)
    text += layer("Eltwise", "c a d", "e", f"eltwise_param {{ {how} }}")
    assert_they_run_it(text)


def test_eltwise_of_one_and_of_the_same() -> None:
    text = inputs((2, 6, 5, 3)) + convolution("a", "c", 6)
    text += layer("Eltwise", "c", "one", "eltwise_param { coeff: -3 }")
    text += layer("Eltwise", "c", "same", "eltwise_param { coeff: 1 }")
    text += layer("Eltwise", "c c", "twice") + layer("Eltwise", "one twice twice", "more")
    assert_they_run_it(text)


@pytest.mark.parametrize("channels", [6, 32])
@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_factors_and_summands_from_a_bottom(kind: str, channels: int) -> None:
    how = f"{kind.lower()}_param {{ axis: %d }}"
    text = inputs((3, channels, 5, 4)) + convolution("a", "c", channels)
    text += layer("Pooling", "c", "p", "pooling_param { pool: AVE global_pooling: true }")
    text += layer("Flatten", "p", "f") + layer("Sigmoid", "f", "s")
    text += layer(kind, "c s", "of_each", how % 0) + layer(kind, "c a", "alike", how % 0)
    assert_they_run_it(text)


LIKE_CHANNELS = {
    "Scale": ("axis: 1", (3, 3, 3, 5), (3, 3)),
    "Bias": ("axis: 2", (2, 3, 2, 3), (2, 3)),
    "Mul": ("", (2, 3, 1, 1), (2, 3)),
    "Add": ("", (1, 3), (1, 3, 1, 1)),
}
"""Factors and summands that belong to other axes, which are as long as those of channels."""


@pytest.mark.parametrize("kind", LIKE_CHANNELS)
def test_axes_that_are_as_long_as_those_of_channels(kind: str) -> None:
    how, *shapes = LIKE_CHANNELS[kind]
    how = f"{kind.lower()}_param {{ {how} }}" if how else ""
    text = inputs(*shapes) + layer(kind, "a b", "c", how)
    assert_the_layers_blobs(caffe.Net(text, caffe.TEST))


def test_squeeze_and_excitation() -> None:
    text = inputs((3, 12, 5, 4)) + convolution("a", "c", 12)
    text += layer("Pooling", "c", "p", "pooling_param { pool: AVE global_pooling: true }")
    text += convolution("p", "q", 3) + layer("ReLU", "q", "q2") + convolution("q2", "r", 12)
    text += layer("Sigmoid", "r", "s") + layer("Axpy", "s c a", "x")
    text += layer("Mul", "c s", "m") + layer("Add", "s m", "n")
    assert_they_run_it(text)


@pytest.mark.parametrize("transpose", ["true", "false"])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_products_along_any_axis(transpose: str, axis: int) -> None:
    how = f"inner_product_param {{ num_output: 8 axis: {axis} transpose: {transpose} %s }}"
    text = inputs((2, 6, 5, 3)) + convolution("a", "c", 6)
    text += layer("InnerProduct", "c", "p", how % "weight_filler { type: 'gaussian' }")
    text += layer("Power", "p", "q", "power_param { scale: 2 }")
    assert_they_run_it(text + layer("TanH", "q", "t"))


HEADS = inputs((2, 8, 5, 3)) + "".join(
    convolution("a", f"c{i}", outputs)
    + layer("Permute", f"c{i}", f"p{i}", "permute_param { order: 0 order: 2 order: 3 order: 1 }")
    + layer("Flatten", f"p{i}", f"f{i}", "flatten_param { axis: 1 }")
    for i, outputs in enumerate((6, 9, 12))
)


def test_heads_of_a_detector() -> None:
    text = HEADS + layer("Concat", "f0 f1 f2", "all", "concat_param { axis: 1 }")
    text += layer("Reshape", "all", "apart", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }")
    text += layer("Softmax", "apart", "prob", "softmax_param { axis: 2 }")
    text += layer("Flatten", "prob", "flat", "flatten_param { axis: 1 }")
    priors = "prior_box_param { min_size: 3 max_size: 7 aspect_ratio: 2 flip: true }"
    text += "".join(layer("PriorBox", f"c{i} a", f"b{i}", priors) for i in range(2))
    text += layer("Concat", "b0 b1", "boxes", "concat_param { axis: 2 }")
    assert_they_run_it(text)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("channels", [5, 16])
def test_softmax_and_cutting_and_joining_along_any_axis(axis: int, channels: int) -> None:
    text = inputs((4, channels, 6, 4)) + convolution("a", "c", channels)
    text += layer("Softmax", "c", "prob", f"softmax_param {{ axis: {axis} }}")
    text += layer("Slice", "c", "first second", f"slice_param {{ axis: {axis} slice_point: 1 }}")
    text += layer("Concat", "second a first", "joined", f"concat_param {{ axis: {axis} }}")
    text += layer("ReLU", "second", "behind") + layer("TanH", "joined", "end")
    assert_they_run_it(text)


def test_parts_are_read_where_they_lie() -> None:
    text = inputs((2, 24, 6, 5)) + convolution("a", "c", 24) + layer("Slice", "c", "l r")
    text += layer("ConvolutionDepthwise", "l", "d", "convolution_param { kernel_size: 3 pad: 1 }")
    text += layer("Concat", "d r", "both") + layer("Slice", "both", "s t u v")
    text += layer("Concat", "v s", "e") + layer("Flatten", "t", "flat")
    text += layer("Slice", "a", "x y") + layer("Eltwise", "x y u", "z").replace("u", "l")
    assert_they_run_it(text)


ORDERS = [(0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (3, 2, 1, 0), (0, 2, 1, 3), (1, 0, 2, 3)]


@pytest.mark.parametrize("order", ORDERS)
def test_axes_in_another_order(order: tuple[int, ...]) -> None:
    how = "permute_param { " + " ".join(f"order: {i}" for i in order) + " }"
    text = inputs((2, 5, 4, 3)) + convolution("a", "c", 6)
    text += layer("Permute", "c", "turned", how) + layer("Sigmoid", "turned", "s")
    text += layer("Permute", "turned", "again", how) + convolution("turned", "d", 4)
    text += layer("Permute", "a", "of_an_input", how)
    assert_they_run_it(text)


def test_three_axes_in_another_order() -> None:
    text = inputs((2, 5, 4)) + layer("Permute", "a", "p", "permute_param { order: 0 order: 2 }")
    text += layer("Softmax", "p", "s") + layer("Softmax", "a", "t", "softmax_param { axis: 0 }")
    assert_they_run_it(text)


REARRANGED = {
    "ShuffleChannel": "shuffle_channel_param { group: 4 }",
    "ShuffleChannel of pairs": "shuffle_channel_param { group: 2 }",
    "Reorg": "reorg_param { stride: 2 }",
    "Reorg back": "reorg_param { stride: 2 reverse: true }",
    "Padding": "padding_param { pad_l: 1 pad_r: 2 pad_b: 3 pad_value: 0.5 }",
    "Pad": "pad_param { paddings: [0, 1, 2, 0, 1, 1, 0, 3] constant_values: -1 }",
    "PixelShuffle": "pixel_shuffle_param { upscale_factor: 2 }",
    "PassThrough": "pass_through_param { block_height: 2 block_width: 3 }",
    "DepthToSpace": "depth_to_space_param { block_size: 2 data_format: 'DCR' }",
    "DepthToSpace CRD": "depth_to_space_param { block_size: 2 data_format: 'CRD' }",
    "DepthToSpace NHWC": "depth_to_space_param { block_size: 1 }",
    "Tile": "tile_param { axis: 1 tiles: 3 }",
    "Tile down": "tile_param { axis: 2 tiles: 2 }",
    "Upsample": "upsample_param { scale: 3 }",
    "Upsample apart": "upsample_param { scale_h: 1 scale_w: 2 }",
    "UpsampleDarknet": "upsample_darknet_param { stride: 2 }",
    "Transpose": "transpose_param { dim: 0 dim: 3 dim: 1 dim: 2 }",
}


@pytest.mark.parametrize("name", REARRANGED)
def test_numbers_put_elsewhere(name: str) -> None:
    text = inputs((2, 3, 4, 6)) + convolution("a", "c", 8)
    text += layer(name.split()[0], "c", "l", REARRANGED[name]) + convolution("l", "d", 5)
    assert_they_run_it(text)


def test_cropping() -> None:
    text = inputs((2, 6, 7, 9), (2, 6, 4, 5)) + convolution("a", "c", 7)
    text += layer("Crop", "c b", "d", "crop_param { axis: 2 offset: 1 offset: 3 }")
    text += layer("Crop", "a b", "e", "crop_param { axis: 2 }") + layer("Eltwise", "e b", "f")
    assert_they_run_it(text)


DECONVOLUTIONS = {
    "doubling": "num_output: 5 kernel_size: 4 stride: 2 pad: 1",
    "of odd kernels": "num_output: 5 kernel_size: 3 stride: 2 pad: 1 bias_term: false",
    "of other sides": "num_output: 8 kernel_h: 5 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 2",
    "of small kernels": "num_output: 4 kernel_size: 1 stride: 3",
    "without a stride": "num_output: 4 kernel_size: 3 pad: 1",
    "of groups": "num_output: 8 kernel_size: 4 stride: 2 pad: 1 group: 2",
    "far": "num_output: 3 kernel_size: 16 stride: 8 pad: 4",
    "by channel": "num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 6",
    "by channel, far": "num_output: 6 kernel_size: 9 stride: 4 group: 6 bias_term: false",
}


@pytest.mark.parametrize("how", DECONVOLUTIONS)
@pytest.mark.parametrize("size", [(5, 4), (1, 7)])
def test_deconvolutions(how: str, size: tuple[int, int]) -> None:
    fillers = "weight_filler { type: 'gaussian' } bias_filler { type: 'gaussian' }"
    param = f"convolution_param {{ {DECONVOLUTIONS[how]} {fillers} }}"
    text = inputs((2, 6, *size)) + convolution("a", "c", 6)
    text += layer("Deconvolution", "c", "d", param) + layer("Deconvolution", "a", "e", param)
    assert_they_run_it(text + layer("Eltwise", "d e", "s") + layer("ReLU", "d", "r"))


RESIZED = {
    "Interp": "interp_param { zoom_factor: 3 }",
    "Interp smaller": "interp_param { shrink_factor: 2 pad_beg: -1 }",
    "Interp to a size": "interp_param { height: 9 width: 1 pad_end: -2 }",
    "ResizeBilinear": "resize_bilinear_param { %s align_corners: true }",
    "ResizeBilinear of halves": "resize_bilinear_param { %s half_pixel_centers: true }",
    "ResizeNearestNeighbor": "resize_nearest_neighbor_param { %s }",
}


@pytest.mark.parametrize("name", RESIZED)
@pytest.mark.parametrize("channels", [5, 16])
def test_pictures_of_another_size(name: str, channels: int) -> None:
    how = RESIZED[name].replace("%s", "data_format: 'NCHW' output_height: 7 output_width: 11")
    text = inputs((2, 3, 5, 6)) + convolution("a", "c", channels)
    assert_they_run_it(text + layer(name.split()[0], "c", "l", how))


@pytest.mark.parametrize("across", ["true", "false"])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_normalizing(across: str, shared: str) -> None:
    how = f"across_spatial: {across} channel_shared: {shared} scale_filler {{ type: 'gaussian' }}"
    text = inputs((2, 12, 5, 3)) + convolution("a", "c", 12) + layer("Slice", "c", "l r")
    text += "".join(
        layer("Normalize", bottom, f"of_{bottom}", f"norm_param {{ {how} }}") for bottom in "cla"
    )
    assert_they_run_it(text)


@pytest.mark.parametrize("kernel", ["kernel_size: 13 stride: 1 pad: 6", "global_pooling: true"])
def test_maxima_of_large_windows(kernel: str) -> None:
    text = inputs((2, 6, 17, 9)) + convolution("a", "c", 6)
    text += layer("Pooling", "c", "p", f"pooling_param {{ {kernel} }}")
    how = "pooling_param { kernel_h: 7 kernel_w: 5 stride_h: 3 stride_w: 2 pad_h: 0 pad_w: 1 }"
    assert_they_run_it(text + layer("Pooling", "c", "q", how))


@pytest.mark.skipif(not llvm.has_short_numbers(), reason="no kernels of short numbers here")
def test_numbers_may_be_short() -> None:
    text = inputs((2, 24, 5, 4)) + convolution("a", "c", 24) + layer("Sigmoid", "c", "s")
    text += layer("Slice", "c", "l r")
    text += layer("Eltwise", "l r l", "e", "eltwise_param { coeff: 1 coeff: 2 coeff: 1 }")
    text += layer("UpsampleDarknet", "s", "u", "upsample_darknet_param { stride: 2 }")
    text += layer("Crop", "u c", "d", "crop_param { offset: 1 }")
    text += layer("Permute", "e", "p", "permute_param { order: 0 order: 2 order: 3 order: 1 }")
    text += layer("Flatten", "p", "f") + layer("Concat", "f f", "all")
    text += layer("Softmax", "c", "q", "softmax_param { axis: 2 }")
    caffe.set_precision("bfloat16")
    try:
        assert_they_run_it(text, 0.02)
    finally:
        caffe.set_precision("float32")


@pytest.mark.parametrize("groups", [1, 3, 15])
@pytest.mark.parametrize("shape", [(2, 90, 3, 5), (4, 15), (2, 30, 7)])
def test_channels_are_shuffled(groups: int, shape: tuple[int, ...]) -> None:
    how = f"shuffle_channel_param {{ group: {groups} }}"
    text = inputs(shape) + layer("TanH", "a", "t") + layer("ShuffleChannel", "t", "s", how)
    assert_they_run_it(text + layer("ShuffleChannel", "a", "of_an_input", how))


@pytest.mark.parametrize(("group", "channels"), [(16, 32), (32, 128), (16, 256), (12, 384)])
def test_many_groups(group: int, channels: int) -> None:
    how = "kernel_size: 3 pad: 1 weight_filler { type: 'gaussian' std: 0.1 }"
    param = f"convolution_param {{ num_output: {channels} group: {group} {how} }}"
    text = inputs((2, 5, 6, 7)) + convolution("a", "c", channels)
    text += layer("Convolution", "c", "d", param) + layer("ReLU", "d", "r")
    assert_they_run_it(text + layer("Eltwise", "r c", "s"))


@pytest.mark.parametrize(
    "how",
    ["pad_r: 1 pad_b: 1 stride: 2", "pad_l: 2 pad_t: 1", "pad_type: 1 stride: 2", "pad_b: 3"],
)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [3, 5, 24])
@pytest.mark.parametrize("is_depthwise", [False, True])
def test_padding_of_its_own_for_each_side(
    how: str, kernel: int, channels: int, is_depthwise: bool
) -> None:
    group = f"group: {channels}" if is_depthwise else ""
    filler = "weight_filler { type: 'gaussian' } bias_filler { type: 'gaussian' }"
    how = f"kernel_size: {kernel} {how} {filler} {group}"
    param = f"convolution_param {{ num_output: {channels} {how} }}"
    text = inputs((2, channels, 8, 7)) + layer("Convolution", "a", "c", param)
    assert_they_run_it(text + layer("Convolution", "c", "d", param))


@pytest.mark.parametrize("kind", ["ReLU", "HardSwish", "Swish"])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("channels", [5, 32])
def test_sums_behind_activations(kind: str, size: int, channels: int) -> None:
    how = f"num_output: {channels} kernel_size: {size} pad: {size // 2}"
    filler = "weight_filler { type: 'gaussian' std: 0.2 }"
    param = f"convolution_param {{ {how} {filler} }}"
    text = inputs((1, 5, 24, 24)) + convolution("a", "c", channels)
    text += (
        layer("Convolution", "c", "d", param)
        + layer(kind, "d", "e")
        + layer("Eltwise", "e c", "sum")
    )
    text += layer("Sigmoid", "sum", "s") + layer("Convolution", "s", "f", param)
    text += (
        layer("Eltwise", "c f", "first")
        + layer(kind, "first", "g")
        + layer("Eltwise", "g c", "second")
    )
    assert_they_run_it(text)


SWISH = layer("Sigmoid", "c", "s") + layer(
    "Eltwise", "c s", "x", "eltwise_param { operation: PROD }"
)


@pytest.mark.parametrize(
    "others",
    [
        "",
        convolution("c", "d", 3),
        convolution("s", "d", 3),
        layer("Eltwise", "c s", "d"),
        layer("Eltwise", "x a", "d"),
        layer("Eltwise", "s s", "d", "eltwise_param { operation: PROD }"),
    ],
)
def test_numbers_times_their_sigmoid(others: str) -> None:
    text = inputs((2, 24, 5, 3)) + convolution("a", "c", 24) + SWISH + convolution("x", "y", 5)
    assert_they_run_it(text + others)


def test_a_factor_that_is_another_ones_sigmoid() -> None:
    text = inputs((2, 24, 5, 3)) + convolution("a", "c", 24) + layer("TanH", "a", "t")
    text += SWISH.replace('"Eltwise" bottom: "c"', '"Eltwise" bottom: "t"')
    assert_they_run_it(text + layer("Sigmoid", "x", "z"))
