"""The zoo's nets are the published ones, layer by layer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe.io import resize_image
from caffe.proto.files import parse_net, read_net
from caffe.proto.text import format_text
from caffe.zoo import Recipe, nets, records

BVLC = "bvlc_caffe/models"
PUBLISHED = [
    (nets.caffenet, f"{BVLC}/bvlc_reference_caffenet/deploy.prototxt"),
    (nets.alexnet, f"{BVLC}/bvlc_alexnet/deploy.prototxt"),
    (nets.googlenet, f"{BVLC}/bvlc_googlenet/deploy.prototxt"),
    (nets.rcnn_ilsvrc13, f"{BVLC}/bvlc_reference_rcnn_ilsvrc13/deploy.prototxt"),
    (nets.flickr_style, f"{BVLC}/finetune_flickr_style/deploy.prototxt"),
    (nets.vgg16, "vgg16/VGG_ILSVRC_16_layers_deploy.prototxt"),
    (nets.squeezenet_v1_1, "squeezenet_v1.1/deploy.prototxt"),
    (nets.resnet50, "resnet50/ResNet-50-deploy.prototxt"),
]
IDS = [factory.__name__ for factory, _ in PUBLISHED]
NAMED_MODELS = [entry for entry in records.RECORDS if entry.net is not None]


def structure(net: Any) -> list[Any]:
    """The net's layers without what a deploy net does not need: fillers, learning rates."""
    layers = []
    for published in net.layer:
        layer = type(published)()
        layer.CopyFrom(published)
        layer.ClearField("param")
        for field in ("convolution_param", "inner_product_param"):
            if layer.HasField(field):
                getattr(layer, field).ClearField("weight_filler")
                getattr(layer, field).ClearField("bias_filler")
        if layer.type == "Input":
            # The upgrade of an `input:` line calls the layer "input"; batches vary.
            layer.name = "data"
            layer.input_param.shape[0].dim[0] = 1
        layers.append(layer)
    return layers


@pytest.mark.parametrize(("factory", "path"), PUBLISHED, ids=IDS)
def test_every_layer_equals_the_published_one(
    factory: Callable[[], Any], path: str, shared: Path
) -> None:
    ours, published = structure(factory()), structure(read_net(shared / "models" / path))
    assert [layer.name for layer in ours] == [layer.name for layer in published]
    for mine, theirs in zip(ours, published, strict=True):
        assert mine == theirs


@pytest.mark.parametrize(("factory", "path"), PUBLISHED, ids=IDS)
def test_layers_and_blobs_are_those_that_caffe_builds(
    factory: Callable[[], Any], path: str, shared: Path
) -> None:
    golden = json.loads((shared / "goldens" / "structure.json").read_text())[path]
    layers = factory().layer
    built = [
        name
        for name, kind in zip(golden["layer_names"], golden["layer_types"], strict=True)
        if kind not in ("Split", "Input")
    ]
    assert [layer.name for layer in layers if layer.type != "Input"] == built
    for layer in layers:
        if layer.type != "Input":
            assert list(layer.top) == golden["top_names"][layer.name]


def test_squeezenet_v1_0_equals_the_compressed_one_but_for_its_names(shared: Path) -> None:
    text = (shared / "models" / "squeezenet_v1.0" / "SqueezeNet_deploy.prototxt").read_text()
    for theirs, ours in [
        ("conv1x1_1", "squeeze1x1"),
        ("conv1x1_2", "expand1x1"),
        ("conv3x3_2", "expand3x3"),
        ("conv_final", "conv10"),
        ("pool_final", "pool10"),
    ]:
        text = text.replace(theirs, ours)
    published = structure(parse_net(text))
    ours_layers = structure(nets.squeezenet_v1_0())
    assert ours_layers[:-1] == published
    assert (ours_layers[-1].type, ours_layers[-1].name) == ("Softmax", "prob")


def test_vgg19_has_the_published_names(shared: Path) -> None:
    published = read_net(shared / "models" / "vgg19" / "train_val.prototxt")
    trained = [layer.name for layer in published.layer if layer.type != "Data"][:-3]
    assert [layer.name for layer in nets.vgg19().layer][1:-1] == trained


@pytest.mark.parametrize(
    ("factory", "convolutions", "third", "layers"),
    [(nets.resnet101, 104, "res3b3", 450), (nets.resnet152, 155, "res3b7", 671)],
)
def test_deep_resnets_number_their_long_stages(
    factory: Callable[[], Any], convolutions: int, third: str, layers: int
) -> None:
    net = factory()
    names = [layer.name for layer in net.layer]
    assert sum(layer.type == "Convolution" for layer in net.layer) == convolutions
    assert len(names) == len(set(names)) == layers
    assert {
        third,
        f"bn{third[3:]}_branch2c",
        f"scale{third[3:]}_branch2c",
        "res2c",
        "res5c",
    } <= set(names)
    assert not net.layer[1].convolution_param.bias_term


@pytest.mark.parametrize("entry", NAMED_MODELS, ids=lambda entry: entry.name)
def test_each_net_survives_its_text_and_fits_its_recipe(entry: records.Record) -> None:
    net = entry.net(batch=3)
    assert parse_net(format_text(net)) == net
    assert list(net.layer[0].input_param.shape[0].dim) == [3, 3, *entry.recipe.crop]
    assert len(entry.recipe.mean) == 3


@pytest.mark.parametrize(
    ("name", "order", "mean", "scale", "crop"),
    [
        ("efficientnet_lite0", "rgb", (127, 127, 127), 1 / 128, 224),
        ("bvlc_reference_caffenet", "bgr", (104.00699, 116.66877, 122.67891), 1, 227),
        ("bvlc_googlenet", "bgr", (104, 117, 123), 1, 224),
        ("squeezenet_v1.1", "bgr", (104, 117, 123), 1, 227),
        ("vgg16", "bgr", (103.939, 116.779, 123.68), 1, 224),
        ("resnet50", "bgr", (103.06262, 115.90288, 123.15163), 1, 224),
        ("mobilenet_v2", "bgr", (103.94, 116.78, 123.68), 0.017, 224),
    ],
)
def test_pictures_go_in_as_the_model_was_trained(
    name: str, order: str, mean: tuple[float, ...], scale: float, crop: int
) -> None:
    recipe = records.record(name).recipe
    assert isinstance(recipe, Recipe)
    picture = np.random.default_rng(0).random((300, 400, 3), np.float32)
    first = (256 - crop) // 2
    seen = resize_image(picture, (256, 256))[first : first + crop, first : first + crop]
    seen = seen[:, :, ::-1] if order == "bgr" else seen
    expected = (seen * 255 - np.array(mean)) * scale
    found = recipe.apply(picture)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected.transpose(2, 0, 1), atol=1e-4, rtol=0)
    assert recipe.order == order
