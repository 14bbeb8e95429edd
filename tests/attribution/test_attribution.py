"""Saliency, Grad-CAM and occlusion: against finite differences, formulas and brute force."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.attribution import grad_cam_map, last_spatial_blob, occlusion_map, saliency_map
from tests.helpers.second_store import CountingStore, use_store

# In place and branching, as published nets are; Clip's gradient is wrong in place.
NET = """
    name: "small"
    layer { name: "data" type: "Input" top: "data"
            input_param { shape { dim: 3 dim: 2 dim: 7 dim: 9 } } }
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
            num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.4 }
            bias_filler { type: "constant" value: 0.1 } } }
    layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1"
            scale_param { filler { value: 1.5 } bias_term: true } }
    layer { name: "clip1" type: "Clip" bottom: "conv1" top: "conv1"
            clip_param { min: 0 max: 1 } }
    layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" convolution_param {
            num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.4 } } }
    layer { name: "sum" type: "Eltwise" bottom: "conv1" bottom: "conv2" top: "sum" }
    layer { name: "relu" type: "ReLU" bottom: "sum" top: "sum" }
    layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc" inner_product_param {
            num_output: 5 weight_filler { type: "gaussian" std: 0.3 } } }
    layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
HEIGHT, WIDTH = 7, 9


def small_net(text: str = NET, phase: int = caffe.TEST) -> caffe.Net:
    caffe.set_random_seed(3)
    net = caffe.Net(text, phase)
    data = net.blobs["data"].data
    data[...] = np.random.default_rng(0).normal(size=data.shape)
    # Fillers wait until somebody looks; here every net is to have the same numbers.
    for blobs in net.params.values():
        assert all(np.isfinite(blob.data).all() for blob in blobs)
    return net


def score(net: caffe.Net, picture: np.ndarray, image: int, label: int, blob: str = "fc") -> float:
    kept = net.blobs["data"].data[image].copy()
    net.blobs["data"].data[image] = picture
    net.forward()
    found = float(net.blobs[blob].data[image, label].mean())
    net.blobs["data"].data[image] = kept
    return found


def finite_differences(net: caffe.Net, image: int, label: int, blob: str = "fc") -> np.ndarray:
    picture = net.blobs["data"].data[image].copy()
    gradient = np.zeros_like(picture)
    step = 1e-2
    for place in np.ndindex(picture.shape):
        more, less = picture.copy(), picture.copy()
        more[place] += step
        less[place] -= step
        rise = score(net, more, image, label, blob) - score(net, less, image, label, blob)
        gradient[place] = rise / (2 * step)
    return gradient


def test_saliency_is_the_largest_gradient_over_the_channels() -> None:
    net = small_net()
    expected = np.abs(finite_differences(net, image=1, label=3)).max(axis=0)
    found = saliency_map(net, 3, image=1)
    assert found.shape == (HEIGHT, WIDTH)
    assert found.dtype == np.float32
    # A pixel where a clip or ReLU bends within the step is a little off.
    close = np.abs(found - expected) < 2e-2 * expected.max()
    assert close.mean() > 0.85
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("image", [0, 2])
def test_grad_cam_is_its_formula(image: int) -> None:
    # Behind "sum" the net is linear: the gradient of a score by it is the class's row of weights.
    net = small_net()
    net.forward()
    maps = net.blobs["sum"].data[image]
    weights = net.params["fc"][0].data[2].reshape(maps.shape).mean(axis=(1, 2))
    expected = np.maximum((weights[:, None, None] * maps).sum(axis=0), 0)
    found = grad_cam_map(net, "sum", 2, image=image)
    assert found.shape == (HEIGHT, WIDTH)
    assert np.allclose(found, expected / expected.max(), atol=1e-5)


def test_grad_cam_of_a_blob_in_place_takes_it_as_its_last_layer_left_it() -> None:
    net = small_net()
    net.forward()
    maps = net.blobs["conv1"].data[0].copy()
    assert maps.min() == 0
    assert maps.max() == 1
    # The same net whose layers have tops of their own, by pycaffe's own steps.
    text = NET.replace(
        'bottom: "conv1" top: "conv1"\n            scale',
        'bottom: "conv1" top: "scaled"\n            scale',
    )
    text = text.replace(
        'bottom: "conv1" top: "conv1"\n            clip',
        'bottom: "scaled" top: "clipped"\n            clip',
    )
    text = text.replace('bottom: "conv1" top: "conv2"', 'bottom: "clipped" top: "conv2"')
    text = text.replace('bottom: "conv1" bottom: "conv2"', 'bottom: "clipped" bottom: "conv2"')
    apart = caffe.Net("force_backward: true " + text, caffe.TEST)
    apart.share_with(net)
    apart.blobs["data"].data[...] = net.blobs["data"].data
    apart.forward()
    apart.blobs["fc"].diff[...] = 0
    apart.blobs["fc"].diff[0, 3] = 1
    apart.backward(start="fc")
    gradient = apart.blobs["clipped"].diff[0].mean(axis=(1, 2))
    expected = np.maximum(np.tensordot(gradient, maps, axes=1), 0)
    found = grad_cam_map(net, "conv1", 3)
    assert expected.max() > 0
    assert np.allclose(found, expected / expected.max(), atol=1e-5)


def test_grad_cam_is_enlarged_to_the_input() -> None:
    net = small_net(
        NET.replace(
            "kernel_size: 3 pad: 1 weight_filler",
            "kernel_size: 3 stride: 2 pad: 1 weight_filler",
            1,
        )
    )
    assert net.blobs["sum"].shape[2:] == (4, 5)
    found = grad_cam_map(net, "sum", 1)
    assert found.shape == (HEIGHT, WIDTH)
    assert found.max() == 1
    assert found.min() >= 0


def test_occlusion_is_the_mean_fall_over_the_squares() -> None:
    net = small_net()
    image, label, size, stride = 1, 3, 3, 2
    picture = net.blobs["data"].data[image].copy()
    whole = score(net, picture, image, label)
    fall, times = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    for y in (0, 2, 4):
        for x in (0, 2, 4, 6):
            hidden = picture.copy()
            hidden[0, y : y + size, x : x + size] = 0.5
            hidden[1, y : y + size, x : x + size] = -0.5
            change = whole - score(net, hidden, image, label)
            fall[y : y + size, x : x + size] += change
            times[y : y + size, x : x + size] += 1
    reports: list[tuple[int, int]] = []
    found = occlusion_map(
        net, label, image, size, stride, fill=(0.5, -0.5), progress=lambda *at: reports.append(at)
    )
    assert np.allclose(found, fall / times, atol=1e-5)
    assert reports == [(12, 12)]


def test_squares_reach_the_border_that_the_stride_misses() -> None:
    found = occlusion_map(small_net(), 0, size=5, stride=5)
    assert found.shape == (HEIGHT, WIDTH)
    assert np.isfinite(found).all()


def test_the_persons_net_is_left_as_it_is() -> None:
    net = small_net()
    net.forward()
    before = {name: blob.data.copy() for name, blob in net.blobs.items()}
    net.blobs["sum"].diff[...] = 7
    net.params["fc"][0].diff[...] = 5
    saliency_map(net, 0)
    grad_cam_map(net, "conv1", 0, image=2)
    occlusion_map(net, 0, size=3)
    for name, blob in net.blobs.items():
        assert np.array_equal(blob.data, before[name]), name
    assert (net.blobs["sum"].diff == 7).all()
    assert not net.blobs["data"].diff.any()
    assert (net.params["fc"][0].diff == 5).all()


def test_weights_that_a_person_edits_count_at_once() -> None:
    net = small_net()
    first = saliency_map(net, 1)
    net.params["fc"][0].data[1] *= 2
    assert np.allclose(saliency_map(net, 1), 2 * first, rtol=1e-4)


def test_an_output_without_softmax_is_the_score_itself() -> None:
    bare = small_net(NET[: NET.index('    layer { name: "prob"')])
    assert np.allclose(saliency_map(bare, 2), saliency_map(small_net(), 2))
    by_name = saliency_map(small_net(), 2, output="fc")
    assert np.allclose(by_name, saliency_map(small_net(), 2))


def test_a_score_at_several_places_is_their_mean() -> None:
    text = NET.replace(
        'type: "InnerProduct" bottom: "sum" top: "fc" inner_product_param {',
        'type: "Convolution" bottom: "sum" top: "fc" convolution_param { kernel_size: 3 ',
    )
    net = small_net(text)
    assert net.blobs["prob"].shape == (3, 5, 5, 7)
    expected = np.abs(finite_differences(net, image=0, label=1)).max(axis=0)
    found = saliency_map(net, 1)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    assert found.sum() == pytest.approx(expected.sum(), rel=0.05)
    assert last_spatial_blob(net) == "sum"


@pytest.mark.parametrize(
    "layer",
    [
        'layer { name: "norm" type: "BatchNorm" bottom: "conv2" top: "norm"'
        " batch_norm_param { use_global_stats: false } }",
        'layer { name: "norm" type: "Reshape" bottom: "conv2" top: "norm"'
        " reshape_param { shape { dim: 3 dim: 4 dim: 7 dim: 9 } } }",
    ],
)
def test_where_pictures_cannot_leave_their_batch_all_of_it_is_run(layer: str) -> None:
    text = NET.replace('    layer { name: "sum"', f'{layer}\n    layer {{ name: "sum"')
    text = text.replace('bottom: "conv1" bottom: "conv2"', 'bottom: "conv1" bottom: "norm"')
    net = small_net(text)
    statistics = [blob.data.copy() for blob in net.params.get("norm", [])]
    expected = np.abs(finite_differences(net, image=1, label=0)).max(axis=0)
    for blob, values in zip(net.params.get("norm", []), statistics, strict=True):
        blob.data[...] = values
    found = saliency_map(net, 0, image=1)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    assert occlusion_map(net, 0, image=1, size=3).shape == (HEIGHT, WIDTH)
    for blob, values in zip(net.params.get("norm", []), statistics, strict=True):
        assert np.array_equal(blob.data, values)


def test_a_second_input_goes_with_its_picture() -> None:
    text = NET.replace(
        '    layer { name: "sum"',
        '    layer { name: "gate" type: "Input" top: "gate" input_param { shape { dim: 3 dim: 4 } '
        '} }\n    layer { name: "gated" type: "Scale" bottom: "conv2" bottom: "gate" top: "gated" '
        'scale_param { axis: 0 } }\n    layer { name: "sum"',
    ).replace('bottom: "conv1" bottom: "conv2"', 'bottom: "conv1" bottom: "gated"')
    net = small_net(text)
    net.blobs["gate"].data[...] = [[0] * 4, [1] * 4, [2] * 4]
    plain = small_net()
    assert np.allclose(saliency_map(net, 1, image=1), saliency_map(plain, 1, image=1), atol=1e-6)
    assert not np.allclose(saliency_map(net, 1, image=2), saliency_map(plain, 1, image=2))


def test_in_a_second_store_the_maps_are_the_same() -> None:
    # What GPU mode does, with CPU memory in the GPU's place.
    expected = saliency_map(small_net(), 1), grad_cam_map(small_net(), "sum", 1)
    use_store(CountingStore())
    try:
        net = small_net()
        net.forward()
        found = saliency_map(net, 1), grad_cam_map(net, "sum", 1)
        occluded = occlusion_map(net, 1)
    finally:
        caffe.set_mode_cpu()
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(occluded, occlusion_map(small_net(), 1), atol=1e-5)


def test_a_score_that_is_no_number_is_told() -> None:
    net = small_net()
    net.blobs["data"].data[1, 0, 3, 3] = np.nan
    with pytest.raises(caffe.CaffeError, match="score in 'fc' is nan"):
        saliency_map(net, 0, image=1)
    assert np.isfinite(saliency_map(net, 0, image=2)).all()


def test_a_net_for_training_is_explained_as_it_would_be_tested() -> None:
    dropout = 'layer { name: "drop" type: "Dropout" bottom: "sum" top: "sum" }\n'
    text = NET.replace('    layer { name: "fc"', f'{dropout}    layer {{ name: "fc"')
    expected = saliency_map(small_net(), 1)
    assert np.allclose(saliency_map(small_net(text, caffe.TRAIN), 1), expected)


def test_the_last_spatial_blob_is_grad_cams_default() -> None:
    net = small_net()
    assert last_spatial_blob(net) == "sum"
    assert np.array_equal(grad_cam_map(net, None, 1), grad_cam_map(net, "sum", 1))


INPUTLESS = """
    layer { name: "data" type: "DummyData" top: "data"
            dummy_data_param { shape { dim: 1 dim: 2 } } }
    layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }
"""
FLAT = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
    layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }
"""
MISTAKES = {
    "class 5 of 5": (lambda net: saliency_map(net, 5), "no class 5: 'fc' has 5, numbered from 0"),
    "class -1": (lambda net: grad_cam_map(net, "sum", -1), "no class -1"),
    "a class's name": (lambda net: saliency_map(net, "cat"), "whole number, not 'cat'"),
    "image 3 of 3": (lambda net: saliency_map(net, 0, image=3), "no picture 3: the batch has 3"),
    "no such blob": (
        lambda net: grad_cam_map(net, "conv9", 0),
        "no blob 'conv9'; did you mean 'conv",
    ),
    "no place": (
        lambda net: grad_cam_map(net, "fc", 0),
        r"blob 'fc' of shape \(3, 5\) has no height and width; 'sum' is the last one that has",
    ),
    "behind the score": (lambda net: grad_cam_map(net, "prob", 0), "does not come from blob"),
    "no such output": (lambda net: saliency_map(net, 0, output="best"), "no blob 'best'"),
    "no input": (lambda net: saliency_map(caffe.Net(INPUTLESS, caffe.TEST), 0), "has no input"),
    "no picture": (lambda net: saliency_map(caffe.Net(FLAT, caffe.TEST), 0), "hold pictures"),
    "square too large": (lambda net: occlusion_map(net, 0, size=8), "size must be 1 to 7 pixels"),
    "stride too large": (
        lambda net: occlusion_map(net, 0, size=2, stride=3),
        "stride must be 1 to 2 pixels, not 3",
    ),
    "half a pixel": (lambda net: occlusion_map(net, 0, size=2.5), "whole number of pixels"),
    "words for pixels": (lambda net: occlusion_map(net, 0, size="2"), "whole number of pixels"),
    "NaN for grey": (lambda net: occlusion_map(net, 0, fill=float("nan")), "fill must be"),
    "three fillings": (lambda net: occlusion_map(net, 0, fill=(1, 2, 3)), "each of 2 channels"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(mistake: str) -> None:
    call, text = MISTAKES[mistake]
    with pytest.raises(caffe.CaffeError, match=text):
        call(small_net())


def test_the_default_model_looks_at_the_cat() -> None:
    data = pytest.importorskip("skimage.data", reason="the picture comes with the extra demo")
    model = caffe.zoo.load()
    model.classify(data.chelsea())
    found = grad_cam_map(model, None, 281)
    # The cat's head stands left of the middle; the right border shows fabric.
    assert found[60:160, 30:190].mean() > 2 * found[:, -30:].mean()
