"""The figures: their size, axes and titles, that something is drawn, and what refuses."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import caffe

matplotlib = pytest.importorskip("matplotlib", reason="figures need the extra vis")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from caffe import vis  # noqa: E402
from caffe.installation import install_command  # noqa: E402

NET = """
    layer { name: "data" type: "Input" top: "data"
            input_param { shape { dim: 2 dim: 3 dim: 16 dim: 20 } } }
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
            num_output: 10 kernel_size: 5 weight_filler { type: "gaussian" std: 0.4 } } }
    layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "relu1" }
    layer { name: "conv2" type: "Convolution" bottom: "relu1" top: "conv2" convolution_param {
            num_output: 6 kernel_size: 3 weight_filler { type: "gaussian" std: 0.2 } } }
    layer { name: "conv3" type: "Convolution" bottom: "conv2" top: "conv3" convolution_param {
            num_output: 6 kernel_size: 1 weight_filler { type: "gaussian" std: 0.2 } } }
    layer { name: "fc" type: "InnerProduct" bottom: "conv3" top: "fc" inner_product_param {
            num_output: 4 weight_filler { type: "gaussian" std: 0.1 } } }
    layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
LABELS = ["n01 tench, Tinca tinca", "n02 cat", "n03 dog", "n04 <b>& newt"]


@pytest.fixture
def net() -> caffe.Net:
    caffe.set_random_seed(1)
    net = caffe.Net(NET, caffe.TEST)
    net.blobs["data"].data[...] = np.random.default_rng(0).random((2, 3, 16, 20))
    net.forward()
    return net


def pixels(figure: Figure) -> np.ndarray:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor="white")
    with Image.open(stream) as picture:
        return np.asarray(picture.convert("RGB"))


def assert_drawn(figure: Figure, axes: int, width: float, height: float) -> np.ndarray:
    assert isinstance(figure, Figure)
    assert len(figure.axes) == axes
    assert tuple(figure.get_size_inches()) == pytest.approx((width, height), abs=0.05)
    drawn = pixels(figure)
    assert drawn.shape[:2] == pytest.approx((height * figure.dpi, width * figure.dpi), abs=5)
    assert drawn.std() > 10, "the figure is blank"
    # Nothing is cut off: the outermost pixels are the background's.
    border = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
    assert (border > 250).mean() > 0.98
    return drawn


# vis_square


def published_recipe(data: np.ndarray) -> np.ndarray:
    """The first notebook's tiles, written out pixel by pixel."""
    low, high = data.min(), data.max()
    side = 1
    while side * side < len(data):
        side += 1
    height, width = data.shape[1] + 1, data.shape[2] + 1
    tiled = np.ones((side * height, side * width, *data.shape[3:]))
    for i, picture in enumerate(data):
        top, left = i // side * height, i % side * width
        tiled[top : top + height - 1, left : left + width - 1] = (picture - low) / (high - low)
    return tiled


@pytest.mark.parametrize("shape", [(5, 3, 4), (5, 3, 4, 3), (1, 2, 2), (9, 1, 1), (17, 11, 11, 3)])
def test_vis_square_is_the_published_recipe(shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(2).normal(size=shape)
    tiles = vis.vis_square(data)
    assert np.allclose(tiles, published_recipe(data), atol=1e-12)
    assert tiles.figure is not None
    assert pixels(tiles.figure).std() > 10


def test_vis_square_of_a_golden_array() -> None:
    tiles = vis.vis_square(np.array([[[0, 1]], [[2, 3]], [[4, 8]]]))
    golden = [
        [0, 0.125, 1, 0.25, 0.375, 1],
        [1, 1, 1, 1, 1, 1],
        [0.5, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
    ]
    assert tiles.tolist() == golden


def test_tiles_are_shown_in_a_notebook_but_what_is_computed_from_them_is_not() -> None:
    tiles = vis.vis_square(np.arange(8.0).reshape(2, 2, 2))
    assert Image.open(io.BytesIO(tiles._repr_png_())).format == "PNG"
    assert (tiles * 2)._repr_png_() is None


def test_vis_square_leaves_its_data_and_draws_equal_values() -> None:
    data = np.full((4, 3, 3), 7.0)
    tiles = vis.vis_square(data)
    assert (data == 7).all()
    assert np.isfinite(tiles).all()


# Filters and responses


def test_filters_of_three_channels_are_drawn_in_colour(net: caffe.Net) -> None:
    figure = vis.filters(net, "conv1")
    drawn = assert_drawn(figure, 1, 8, 6.66)
    assert (drawn.max(axis=2) - drawn.min(axis=2)).max() > 60
    title = figure.axes[0].get_title()
    assert title.startswith("conv1: 10 filters of 5 x 5, in colour\nall on one scale")
    each = vis.filters(net, "conv1", per_filter=True)
    assert "each from its own darkest" in each.axes[0].get_title()
    assert pixels(each).shape == drawn.shape
    assert not np.array_equal(pixels(each), drawn)


def test_colours_follow_the_channel_swap(net: caffe.Net) -> None:
    weights = net.params["conv1"][0].data
    weights[...] = 0
    weights[:, 0] = 1
    red = pixels(vis.filters(net, "conv1"))
    blue = pixels(vis.filters(net, "conv1", channel_swap=(2, 1, 0)))
    assert np.array_equal(red[..., ::-1], blue)
    assert (red[..., 0].astype(int) > red[..., 2].astype(int) + 200).mean() > 0.3


def test_filters_of_a_net_without_inputs_are_drawn(net: caffe.Net) -> None:
    dummy = NET.replace("Input", "DummyData").replace("input_param", "dummy_data_param")
    reading = caffe.Net(dummy, caffe.TEST)
    assert not reading.inputs
    assert "in colour" in vis.filters(reading, "conv1").axes[0].get_title()


def test_a_classifier_tells_filters_its_channel_swap(tmp_path) -> None:
    path, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    path.write_text(NET)
    source = caffe.Net(str(path), caffe.TEST)
    source.params["conv1"][0].data[...] = 0
    source.params["conv1"][0].data[:, 0] = 1
    source.save(weights)
    bgr = caffe.Classifier(path, weights, channel_swap=(2, 1, 0))
    drawn = pixels(vis.filters(bgr, "conv1"))
    assert (drawn[..., 2].astype(int) > drawn[..., 0].astype(int) + 200).mean() > 0.3


def test_filters_of_many_channels_are_drawn_channel_by_channel(net: caffe.Net) -> None:
    figure = vis.filters(net, "conv2")
    # Six rows of ten channels each, numbered by filter.
    assert_drawn(figure, 2, 8.6, 5.5)
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["0", "1", "2", "3", "4", "5"]
    assert figure.axes[0].get_title().startswith("conv2: 6 filters of 10 x 3 x 3, channel by")
    assert figure.axes[0].images[0].norm.vmin == -figure.axes[0].images[0].norm.vmax


@pytest.mark.parametrize(("layer", "inputs"), [("conv3", 6), ("fc", 6 * 10 * 14)])
def test_kernels_without_a_size_are_one_table(net: caffe.Net, layer: str, inputs: int) -> None:
    figure = vis.filters(net, layer, per_filter=True)
    ax = figure.axes[0]
    assert ax.images[0].get_array().shape == (len(net.params[layer][0].data), inputs)
    assert "each output on its own scale" in ax.get_title()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input", "output")
    assert pixels(figure).std() > 10


def test_responses_say_their_scale(net: caffe.Net) -> None:
    figure = vis.responses(net, "relu1", image=1, maps=4)
    assert_drawn(figure, 2, 8.6, 6.8)
    image = figure.axes[0].images[0]
    shown = net.blobs["relu1"].data[1, :4]
    assert figure.axes[0].get_title() == (
        "relu1: the first 4 of 10 maps of 12 x 16\nall on one scale"
    )
    assert (image.norm.vmin, image.norm.vmax) == pytest.approx((shown.min(), shown.max()))
    assert figure.axes[1].get_ylabel() == "value"
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["0", "2"]


def test_responses_of_both_signs_have_white_at_zero(net: caffe.Net) -> None:
    image = vis.responses(net, "conv1", maps=None).axes[0].images[0]
    assert image.cmap.name == "RdBu_r"
    assert image.norm.vmin == -image.norm.vmax
    # What the smaller tiles are made of is still the blob's own values.
    values = np.ma.filled(image.get_array(), np.nan)
    assert np.nanmax(values) == net.blobs["conv1"].data[0].max()


def test_each_map_on_its_own_scale_reaches_from_end_to_end(net: caffe.Net) -> None:
    net.blobs["relu1"].data[0, 0] *= 1e-3
    figure = vis.responses(net, "relu1", maps=4, per_map=True)
    values = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    first = values[: values.shape[0] // 2 - 2, : values.shape[1] // 2 - 2]
    assert (np.nanmin(first), np.nanmax(first)) == (0, 1)
    assert "each map on its own scale" in figure.axes[0].get_title()
    assert "smallest value to its largest" in figure.axes[1].get_ylabel()


def test_a_dead_map_is_drawn_without_a_warning(net: caffe.Net) -> None:
    net.blobs["relu1"].data[...] = 0
    for each in (False, True):
        with np.errstate(all="raise"):
            pixels(vis.responses(net, "relu1", per_map=each))


# Values, probabilities, predictions


def test_values_above_and_the_positive_ones_below(net: caffe.Net) -> None:
    figure = vis.values(net, "conv2", image=1)
    assert_drawn(figure, 2, 9, 6)
    above, below = figure.axes
    data = net.blobs["conv2"].data[1].ravel()
    assert np.array_equal(above.lines[0].get_ydata(), data)
    positive = data[data > 0]
    assert sum(bar.get_height() for bar in below.patches) == len(positive)
    assert len(below.patches) == 100
    assert below.get_title() == f"The {len(positive)} values above zero"


def test_values_without_a_positive_one(net: caffe.Net) -> None:
    net.blobs["fc"].data[...] = -1
    assert vis.values(net, "fc").axes[1].get_title() == "The 0 values above zero"


def test_probabilities_name_the_likeliest(net: caffe.Net) -> None:
    net.blobs["prob"].data[0] = [0.1, 0.6, 0.25, 0.05]
    figure = vis.probabilities(net, "prob", LABELS, count=2)
    assert_drawn(figure, 1, 9, 3.6)
    (text,) = figure.axes[0].texts
    lines = [line.split() for line in text.get_text().splitlines()]
    assert lines == [["0.6000", "1", "cat"], ["0.2500", "2", "dog"]]
    plain = vis.probabilities(net)
    assert "class 1" in plain.axes[0].texts[0].get_text()
    assert plain.axes[0].get_ylabel() == "probability"
    net.blobs["prob"].data[0, 1] = 9
    assert vis.probabilities(net).axes[0].get_ylabel() == "score"


def test_top_draws_bars_beside_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    figure = vis.top([0.1, 0.6, 0.25, 0.05], LABELS, picture=picture, count=3)
    assert_drawn(figure, 2, 9.5, 3)
    seen, bars = figure.axes
    assert np.array_equal(seen.images[0].get_array(), picture)
    assert [bar.get_width() for bar in bars.patches] == [0.6, 0.25, 0.1]
    assert [text.get_text() for text in bars.get_yticklabels()] == ["cat", "dog", "tench"]
    assert [text.get_text() for text in bars.texts] == ["60.0%", "25.0%", "10.0%"]
    # The likeliest stands at the top.
    assert bars.get_ylim()[0] > bars.get_ylim()[1]


def test_top_takes_what_classify_returns_and_scores_of_any_size() -> None:
    pairs = [("n03 dog", 0.25), ("n02 cat", 0.6)]
    bars = vis.top(pairs).axes[0]
    assert [text.get_text() for text in bars.get_yticklabels()] == ["cat", "dog"]
    scores = vis.top(np.array([[-3.0, 12.0]]), ["a", "b"]).axes[0]
    assert scores.get_xlim()[1] > 12
    assert [text.get_text() for text in scores.texts] == ["12", "-3"]
    grey = vis.top(pairs, picture=np.ones((4, 5, 1)))
    assert len(grey.axes) == 2


# Explanations


@pytest.mark.parametrize("name", ["saliency", "grad_cam", "occlusion"])
def test_explanations_lie_over_the_picture(net: caffe.Net, name: str) -> None:
    arguments = ("conv2", 1) if name == "grad_cam" else (1,)
    figure = getattr(vis, name)(net, *arguments, image=1, labels=LABELS)
    assert_drawn(figure, 2, 6, 5.2 * 16 / 20 + 0.8)
    below, over = figure.axes[0].images
    assert below.get_array().shape == (16, 20)
    assert figure.axes[0].get_title().splitlines()[1] == "class 1, cat"
    map_of = getattr(caffe.attribution, f"{name}_map")
    # Between the two the engine may have been changed for a quicker one.
    again = map_of(net, *arguments, image=1)
    np.testing.assert_allclose(over.get_array(), again, atol=1e-5 * abs(again).max())
    if name == "occlusion":
        assert over.norm.vmin == -over.norm.vmax


def test_a_picture_of_another_size_is_covered_as_a_whole(net: caffe.Net) -> None:
    picture = np.random.default_rng(0).random((80, 100, 3))
    figure = vis.grad_cam(net, None, 0, picture=picture)
    below, over = figure.axes[0].images
    assert below.get_array().shape == (80, 100)
    assert list(over.get_extent()) == [-0.5, 99.5, 79.5, -0.5]
    assert figure.axes[0].get_title() == "Grad-CAM of conv3\nclass 0"


def test_the_transformer_turns_the_input_back_into_the_picture(net: caffe.Net) -> None:
    transformer = caffe.io.Transformer({"data": net.blobs["data"].shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([100.0, 110, 120]))
    grey = np.linspace(0, 1, 16 * 20).reshape(16, 20, 1)
    image = np.repeat(grey, 3, axis=2).astype(np.float32)
    net.blobs["data"].data[0] = transformer.preprocess("data", image)
    below = vis.saliency(net, 0, transformer=transformer).axes[0].images[0]
    assert np.allclose(below.get_array(), grey[..., 0], atol=1e-3)


# All of them


def draw_all(net: caffe.Net, **ax: object) -> None:
    vis.filters(net, "conv1", **ax)
    vis.filters(net, "fc", **ax)
    vis.responses(net, "conv1", **ax)
    vis.probabilities(net, **ax)
    vis.saliency(net, 0, **ax)
    vis.grad_cam(net, None, 0, **ax)
    vis.occlusion(net, 0, **ax)


def test_axes_of_ones_own_are_drawn_into(net: caffe.Net) -> None:
    figure, axes = plt.subplots(2, 2)
    try:
        assert vis.responses(net, "conv1", ax=axes[0, 0]) is figure
        assert vis.values(net, "fc", axes=axes[1]) is figure
        assert vis.vis_square(np.eye(3)[None], ax=axes[0, 1]).figure is figure
        assert all(ax.has_data() for ax in axes.flat)
        assert vis.top([("cat", 0.5)], picture=np.ones((2, 2)), axes=list(axes[0])) is figure
        assert vis.top([("cat", 0.5)], axes=axes[1, 1]) is figure
        draw_all(net, ax=axes[0, 0])
    finally:
        plt.close(figure)


def test_pyplot_knows_nothing_of_new_figures(net: caffe.Net) -> None:
    before = plt.get_fignums()
    draw_all(net)
    vis.values(net, "fc")
    vis.top([("cat", 0.5)])
    vis.vis_square(np.eye(3)[None])
    assert plt.get_fignums() == before


def test_a_notebook_shows_the_figure(net: caffe.Net) -> None:
    png = vis.values(net, "fc")._repr_png_()
    assert Image.open(io.BytesIO(png)).size == (900, 600)


def test_importing_caffe_does_not_import_matplotlib() -> None:
    program = (
        "import sys, caffe, caffe.net, caffe.attribution; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_matplotlib_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import caffe\n"
        "try: caffe.vis\n"
        "except caffe.MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert install_command("vis") in done.stdout, done.stderr


MISTAKES = {
    "one picture": (lambda net: vis.vis_square(np.ones((3, 3))), r"\(n, height, width\).*\(3, 3\)"),
    "four channels": (lambda net: vis.vis_square(np.ones((2, 3, 3, 4))), "not"),
    "no pictures": (lambda net: vis.vis_square(np.ones((0, 3, 3))), "no pictures"),
    "NaN": (lambda net: vis.vis_square(np.full((1, 2, 2), np.nan)), "finite"),
    "words": (lambda net: vis.vis_square(np.array([[["a"]]])), "finite numbers"),
    "no such layer": (lambda net: vis.filters(net, "conv9"), "no layer 'conv9'"),
    "no filters": (lambda net: vis.filters(net, "relu1"), r"\(ReLU\) has no filters.*conv1, conv2"),
    "no such blob": (lambda net: vis.responses(net, "conv9"), "no blob 'conv9'"),
    "no maps": (lambda net: vis.responses(net, "fc"), "draw it with caffe.vis.values"),
    "zero maps": (lambda net: vis.responses(net, "conv1", maps=0), "maps must be .* from 1 on"),
    "some maps": (lambda net: vis.responses(net, "conv1", maps="all"), "maps must be a whole"),
    "a file's name": (
        lambda net: vis.filters("net.prototxt", "conv1"),
        "takes a caffe.Net, not str",
    ),
    "another's net": (lambda net: vis.saliency(None, 0), "takes a caffe.Net, not NoneType"),
    "a list of blobs": (lambda net: vis.responses(net, ["conv1"]), "no blob"),
    "two colours": (lambda net: vis.filters(net, "conv1", channel_swap=(1, 0)), "like .2, 1, 0."),
    "axes": (lambda net: vis.responses(net, "conv1", ax=np.array([1, 2])), "not into ndarray"),
    "labels' file": (lambda net: vis.saliency(net, 0, labels="words.txt"), "list of the classes'"),
    "no transformer": (lambda net: vis.saliency(net, 0, transformer=3), "transformer must be"),
    "unlike pairs": (lambda net: vis.top([("a", 0.5), 3]), "label, probability"),
    "no number": (lambda net: vis.top([("a", float("nan"))]), "no finite numbers"),
    "third picture": (lambda net: vis.values(net, "fc", image=2), "no picture 2: blob 'fc' has 2"),
    "half a picture": (lambda net: vis.values(net, "fc", image=0.5), "whole number, not 0.5"),
    "one axis": (lambda net: vis.values(net, "fc", axes=[None]), "two axes, not 1"),
    "too few labels": (lambda net: vis.probabilities(net, labels=["a"]), "1 labels for 4 classes"),
    "no classes": (lambda net: vis.probabilities(net, count=0), "count must be .* from 1 on"),
    "words for numbers": (lambda net: vis.top("cats"), "label, probability"),
    "a table": (lambda net: vis.top(np.ones((2, 2))), r"not of shape \(2, 2\)"),
    "nothing": (lambda net: vis.top([]), r"not of shape \(0,\)"),
    "no picture": (lambda net: vis.top([("a", 1.0)], picture=np.ones(3)), "a picture is H x W x 3"),
    "no class": (lambda net: vis.saliency(net, 4), "no class 4"),
    "no map": (lambda net: vis.grad_cam(net, "fc", 0), "no height and width"),
    "odd picture": (lambda net: vis.saliency(net, 0, picture=np.ones((2, 2, 2))), "H x W x 3"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(net: caffe.Net, mistake: str) -> None:
    call, text = MISTAKES[mistake]
    with pytest.raises(caffe.CaffeError, match=text):
        call(net)


def test_values_that_are_no_numbers_are_told(net: caffe.Net) -> None:
    net.blobs["conv1"].data[0, 0, 0, 0] = np.inf
    with pytest.raises(caffe.CaffeError, match="blob 'conv1' holds values that are no finite"):
        vis.responses(net, "conv1")
    net.params["conv2"][0].data[0, 0, 0, 0] = np.nan
    with pytest.raises(caffe.CaffeError, match="layer 'conv2' holds weights"):
        vis.filters(net, "conv2")
