"""What a net is made of: totals that are known, receptive fields, memory, and what is missing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

import caffe
from caffe.errors import CaffeError, NetError
from caffe.memory.synced import Head
from caffe.proto.files import parse_net
from caffe.structure.outline import outline
from caffe.structure.summary import Summary, summarize
from caffe.zoo import nets

KNOWN = {
    "caffenet": (60_965_224, 0, 724_406_816),
    "googlenet": (6_998_552, 0, 1_582_671_872),
    "vgg16": (138_357_544, 0, 15_470_264_320),
    # 25,557,032 in the paper's counting, 64 for conv1's bias, and BatchNorm's statistics.
    "resnet50": (25_557_032 + 64 + 53_173, 53_173, 3_857_973_248),
}

INPUT = """layer { name: "data" type: "Input" top: "data" input_param { shape {
    dim: 2 dim: 4 dim: %d dim: %d } } }
"""


def summary_of(text: str, phase: int = caffe.TEST, **options: Any) -> Summary:
    return summarize(outline(parse_net(text), phase, **options))


def layer(kind: str, bottom: str, top: str, rest: str = "") -> str:
    return f'layer {{ name: "{top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}\n'


def convolution(bottom: str, top: str, rest: str, kind: str = "Convolution") -> str:
    filler = 'weight_filler { type: "gaussian" std: 1 }'
    return layer(kind, bottom, top, f"convolution_param {{ num_output: 4 {rest} {filler} }}")


@pytest.mark.parametrize("name", KNOWN)
def test_totals_are_the_known_ones(name: str) -> None:
    found = summarize(outline(getattr(nets, name)(3), caffe.TEST))
    assert (found.parameters, found.statistics, found.multiply_adds) == KNOWN[name]
    assert found.batch == 3
    assert found.is_complete
    assert not found.notes


def test_a_net_that_is_there_is_summed_up_like_its_text() -> None:
    param = nets.googlenet(2)
    net = caffe.Net(param, caffe.TEST)
    assert summarize(net) == summarize(outline(param, caffe.TEST))
    net.blobs["data"].reshape(5, 3, 224, 224)
    net.reshape()
    assert summarize(net).batch == 5
    assert summarize(net).multiply_adds == KNOWN["googlenet"][2]


def test_no_values_are_made_or_moved() -> None:
    net = caffe.Net(nets.vgg16(1), caffe.TEST)
    assert "138,357,544 parameters" in str(net)
    assert "138,357,544 parameters" in net._repr_html_()
    memories = [blob.memory for blob in net.blobs.values()]
    memories += [blob.memory for blobs in net.params.values() for blob in blobs]
    assert {memory.head for memory in memories} == {Head.UNINITIALIZED}


COUNTED = {
    "groups": convolution("data", "y", "kernel_size: 3 stride: 2 pad: 1 group: 2"),
    "rectangle": convolution("data", "y", "kernel_h: 3 kernel_w: 1"),
    "deconvolution": convolution("data", "y", "kernel_size: 4 stride: 2 pad: 1", "Deconvolution"),
    "depthwise": layer("ConvolutionDepthwise", "data", "y", "convolution_param { kernel_size: 3 }"),
    "inner product": layer("InnerProduct", "data", "y", "inner_product_param { num_output: 7 }"),
    "by row": layer("InnerProduct", "data", "y", "inner_product_param { num_output: 7 axis: 3 }"),
    "several": layer("Pooling", "data", "x", "pooling_param { kernel_size: 3 pad: 1 }")
    + 'layer { name: "y" type: "Convolution" bottom: "data" bottom: "x" top: "y" top: "z" '
    "convolution_param { num_output: 4 kernel_size: 3 } }",
}
RECURRENT = """layer { name: "data" type: "Input" top: "data" top: "cont" top: "static"
    input_param { shape { dim: 5 dim: 2 dim: 3 } shape { dim: 5 dim: 2 } shape { dim: 2 dim: 6 } } }
layer { name: "y" type: "%s" bottom: "data" bottom: "cont" bottom: "static" top: "y"
    recurrent_param { num_output: 4 } }"""


@pytest.mark.parametrize(
    "text",
    [*(INPUT % (9, 8) + text for text in COUNTED.values()), RECURRENT % "LSTM", RECURRENT % "RNN"],
    ids=[*COUNTED, "LSTM", "RNN"],
)
def test_multiply_adds_are_those_that_pytorch_counts(text: str) -> None:
    net = caffe.Net(text, caffe.TEST)
    caffe.set_engine("layerwise")
    try:
        with FlopCounterMode(display=False) as counter:
            net.forward()
    finally:
        caffe.set_engine("auto")
    found = summarize(net)
    assert sum(row.multiply_adds or 0 for row in found.rows) == counter.get_total_flops() / 2 > 0
    assert found.multiply_adds == counter.get_total_flops() / 2 / (found.batch or 1)


FIELDS = {
    "convolution": convolution("data", "y", "kernel_size: 5 stride: 2 pad: 2"),
    "dilated": convolution("data", "y", "kernel_size: 3 dilation: 2 pad: 2"),
    "rectangle": convolution("data", "y", "kernel_h: 3 kernel_w: 5 stride_h: 2 stride_w: 1"),
    "pooling": layer("Pooling", "data", "y", "pooling_param { pool: AVE kernel_size: 3 }"),
    "global": layer("Pooling", "data", "y", "pooling_param { pool: AVE global_pooling: true }"),
    "chain": convolution("data", "a", "kernel_size: 3 stride: 2 pad: 1")
    + layer("Power", "a", "b", "power_param { scale: 2 }")
    + layer("Pooling", "b", "c", "pooling_param { pool: AVE kernel_size: 2 stride: 2 }")
    + convolution("c", "y", "kernel_size: 3 pad: 1"),
    "sum": convolution("data", "a", "kernel_size: 3 pad: 1")
    + convolution("data", "b", "kernel_size: 7 pad: 3")
    + 'layer { name: "y" type: "Eltwise" bottom: "a" bottom: "b" top: "y" }',
    "concat": convolution("data", "a", "kernel_size: 5 pad: 4")
    + convolution("a", "b", "kernel_size: 5")
    + 'layer { name: "y" type: "Concat" bottom: "b" bottom: "data" top: "y" }',
    "crop": convolution("data", "a", "kernel_size: 5")
    + 'layer { name: "y" type: "Crop" bottom: "data" bottom: "a" top: "y" '
    "crop_param { offset: 3 offset: 1 } }",
    "inner product": convolution("data", "a", "kernel_size: 3 stride: 2")
    + layer("InnerProduct", "a", "y", 'inner_product_param { num_output: 3 weight_filler { '
    'type: "gaussian" } }'),
    "within": layer("LRN", "data", "y", "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }"),
}  # fmt: skip


def dependence(net: caffe.Net, place: tuple[int, ...]) -> list[tuple[int, int]]:
    """For height and width: the first and last pixel that a place of the blob y depends on."""
    rng = np.random.default_rng(0)
    net.blobs["data"].data[...] = rng.uniform(0.5, 1, net.blobs["data"].shape)
    net.forward()
    diff = np.zeros(net.blobs["y"].shape, np.float32)
    diff[(0, slice(None), *place)] = rng.uniform(0.5, 1, diff[(0, slice(None), *place)].shape)
    touched = np.abs(net.backward(y=diff)["data"][0]).sum(0) > 0
    return [
        (int(found.min()), int(found.max()))
        for found in (np.flatnonzero(touched.any(axis)) for axis in (1, 0))
    ]


@pytest.mark.parametrize("text", FIELDS.values(), ids=FIELDS)
def test_receptive_fields_are_what_gradients_reach(text: str) -> None:
    size = (21, 23)
    net = caffe.Net("force_backward: true\n" + INPUT % size + text, caffe.TEST)
    row = next(row for row in summarize(net).rows if row.name == "y")
    shape = net.blobs["y"].shape[2:]
    assert row.field is not None
    for place in {tuple(n // 2 for n in shape), tuple(0 for _ in shape)}:
        found = dependence(net, place)
        for reach, where, (first, last), pixels in zip(
            row.field,
            place or (0, 0),
            found,
            size,
            strict=True,  # an inner product has no place
        ):
            start = reach.start + where * reach.stride
            assert reach.size is not None
            assert first == max(0, start)
            assert last == min(pixels - 1, start + reach.size - 1)


def test_a_deconvolutions_field_is_the_largest_of_its_places() -> None:
    text = convolution("data", "a", "kernel_size: 3 stride: 2 pad: 1") + convolution(
        "a", "y", "kernel_size: 4 stride: 2 pad: 1", "Deconvolution"
    )
    net = caffe.Net("force_backward: true\n" + INPUT % (21, 23) + text, caffe.TEST)
    (reach, _) = next(row for row in summarize(net).rows if row.name == "y").field or ()
    assert reach.stride == 1
    sizes = []
    for where in range(8, 14):
        first, last = dependence(net, (where, where))[0]
        sizes.append(last - first + 1)
        start = reach.start + where * reach.stride
        assert start <= first
        assert last <= start + (reach.size or 0)
    assert max(sizes) == reach.size


def test_published_receptive_fields() -> None:
    rows = {row.name: row for row in summarize(outline(nets.vgg16(), caffe.TEST)).rows}
    (reach, _) = rows["pool5"].field or ()
    assert (reach.size, reach.stride) == (212, 32)
    (reach, _) = rows["fc6"].field or ()
    assert reach.size == 404
    rows = {row.name: row for row in summarize(outline(nets.caffenet(), caffe.TEST)).rows}
    (reach, _) = rows["pool5"].field or ()
    assert (reach.size, reach.stride, reach.start) == (195, 32, -64)


def test_what_sees_all_of_the_picture_says_so() -> None:
    squeeze = INPUT % (8, 8) + layer(
        "Pooling", "data", "pool", "pooling_param { pool: AVE global_pooling: true }"
    )
    squeeze += (
        'layer { name: "y" type: "Axpy" bottom: "pool" bottom: "data" bottom: "data" top: "y" }'
    )
    squeeze += convolution("y", "z", "kernel_size: 3")
    rows = {row.name: row for row in summary_of(squeeze).rows}
    assert [reach.size for reach in rows["z"].field or ()] == [None, None]
    assert " all " in str(summary_of(squeeze)).splitlines()[5]


SHARED = """
layer { name: "%(n)s" type: "InnerProduct" bottom: "data" top: "%(n)s" param { name: "w" }
        inner_product_param { num_output: 2 } }
"""


def test_shared_parameters_count_once() -> None:
    text = INPUT % (1, 1) + SHARED % {"n": "a"} + SHARED % {"n": "b"}
    found = summary_of(text)
    assert [row.parameters for row in found.rows] == [0, 2 * 4 + 2, 2]
    assert found.parameters == sum(
        entry.blob.count for entry in caffe.Net(text, caffe.TEST).inside.parameters.learnable
    )


def test_memory_counts_what_has_its_own() -> None:
    text = INPUT % (5, 5) + convolution("data", "conv", "kernel_size: 3")
    text += 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }'
    text += layer("Flatten", "conv", "flat") + layer("Power", "conv", "power")
    found = summary_of(text)
    picture, map_, parameters = 2 * 4 * 25, 2 * 4 * 9, 4 * 4 * 9 + 4
    assert found.blob_bytes == 4 * (picture + 2 * map_)
    assert found.parameter_bytes == 4 * parameters
    # At TRAIN with gradients: Flatten shares them too, the two tops of the inserted Split do not.
    found = summary_of(text, caffe.TRAIN)
    assert found.blob_bytes == 4 * (2 * (picture + 2 * map_) + 2 * map_)
    assert found.parameter_bytes == 8 * parameters
    assert "with gradients" in str(found)


def test_another_batch_leaves_the_rest() -> None:
    text = INPUT % (5, 5) + convolution("data", "conv", "kernel_size: 3")
    one, many = summary_of(text, batch=1), summary_of(text, batch=64)
    assert many.batch == 64
    assert many.multiply_adds == one.multiply_adds
    assert many.blob_bytes == 64 * one.blob_bytes
    assert many.rows[1].shapes == ((64, 4, 3, 3),)


DATA = """
layer { name: "data" type: "Data" top: "data" top: "label" %s
        data_param { source: "/no/such/lmdb" batch_size: 8 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def test_missing_data_is_taken_to_be_as_the_text_says() -> None:
    found = summary_of(DATA % "transform_param { crop_size: 6 }")
    assert found.rows[0].shapes == ((8, 3, 6, 6), (8,))
    assert found.parameters == 3 * 36 * 5 + 5
    (note,) = found.notes
    assert "/no/such/lmdb" in note
    assert "8 x 3 x 6 x 6" in note


def test_missing_data_of_unknown_size_leaves_shapes_open() -> None:
    found = summary_of(DATA % "")
    assert all(shape is None for row in found.rows for shape in row.shapes)
    assert not found.is_complete
    assert "at least 0 parameters" in str(found)
    assert "ip     InnerProduct     ip     ?" in str(found)
    given = summary_of(DATA % "", shapes={"data": (2, 1, 4, 4)})
    assert not given.notes
    assert given.rows[0].shapes == ((2, 1, 4, 4), (2,))
    assert given.parameters == 16 * 5 + 5
    with pytest.raises(CaffeError, match=r"'dota'.*'data', 'label'"):
        summary_of(DATA % "", shapes={"dota": (1,)})


def test_data_that_is_there_is_asked(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros((4, 2, 3, 3), np.float32)
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.h5'}\n")
    text = f"""layer {{ name: "data" type: "HDF5Data" top: "data"
        hdf5_data_param {{ source: "{tmp_path / "list.txt"}" batch_size: 4 }} }}"""
    found = summary_of(text)
    assert found.rows[0].shapes == ((4, 2, 3, 3),)
    assert not found.notes


def test_unknown_layers_are_passed_over_and_named() -> None:
    text = INPUT % (5, 5) + layer("Mystery", "data", "m") + convolution("m", "a", "kernel_size: 3")
    text += convolution("data", "b", "kernel_size: 9")
    text += layer("Python", "data", "p", 'python_param { module: "no_such_module" layer: "X" }')
    found = summary_of(text + convolution("data", "c", "kernel_size: 3"))
    shapes = {row.name: row.shapes for row in found.rows}
    assert shapes["m"] == shapes["a"] == shapes["b"] == shapes["p"] == (None,)
    assert shapes["c"] == ((2, 4, 3, 3),)
    assert "Mystery" in found.notes[0]
    assert "no_such_module" in " ".join(found.notes)
    assert "does not fit" in " ".join(found.notes)


def test_nets_that_do_not_connect_are_refused() -> None:
    with pytest.raises(NetError, match="'nowhere'"):
        summary_of(layer("ReLU", "nowhere", "y"))


def test_inserted_splits_are_not_shown() -> None:
    text = INPUT % (5, 5) + layer("ReLU", "data", "a") + layer("TanH", "data", "b")
    net = caffe.Net(text, caffe.TEST)
    assert len(net.layers) == 4
    rows = summarize(net).rows
    assert [(row.name, row.bottoms) for row in rows] == [
        ("data", ()),
        ("a", ("data",)),
        ("b", ("data",)),
    ]


def test_print_shows_the_table_and_repr_one_line() -> None:
    net = caffe.Net(INPUT % (5, 5) + convolution("data", "conv", "kernel_size: 3"), caffe.TEST)
    lines = str(net).splitlines()
    assert lines[0] == "net: 2 layers, TEST, batch 2"
    assert lines[2].split()[:4] == ["LAYER", "TYPE", "TOP", "SHAPE"]
    assert lines[4].split() == [
        *("conv", "Convolution", "conv", "2", "x", "4", "x", "3", "x", "3"),
        *("148", "1,296", "3", "1", "0"),
    ]
    assert "\n" not in repr(net)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_the_table_fits_the_width(width: int) -> None:
    found = summarize(outline(nets.googlenet(), caffe.TEST))
    lines = found.text(width).splitlines()
    table = lines[2 : lines.index("", 3)]
    assert max(map(len, table)) <= width
    assert len(table) == len(found.rows) + 1
    whole = found.text().splitlines()
    assert any("inception_3a/3x3_reduce" in line and "OFFSET" not in line for line in whole)
    assert "OFFSET" in whole[2]


def test_html_is_escaped_and_takes_the_pages_colours() -> None:
    text = INPUT % (5, 5) + layer("ReLU", "data", "<script>alert(1)</script>")
    page = caffe.Net(text, caffe.TEST)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "color" not in page
    assert page.count("<tr>") == 3


def test_as_dict_holds_what_the_table_does() -> None:
    found = summary_of(INPUT % (5, 5) + convolution("data", "conv", "kernel_size: 3 pad: 1"))
    content = found.as_dict()
    assert content["layers"][1] == {
        "name": "conv",
        "type": "Convolution",
        "family": "convolution",
        "bottoms": ["data"],
        "tops": ["conv"],
        "shapes": [[2, 4, 5, 5]],
        "parameter_shapes": [[4, 4, 3, 3], [4]],
        "parameters": 148,
        "multiply_adds": 4 * 25 * 36,
        "receptive_field": [{"size": 3, "stride": 1.0, "offset": -1.0}] * 2,
    }
    assert content["parameters"] == 148
    assert content["blob_bytes"] == 4 * 2 * math.prod((4, 5, 5)) * 2


def test_published_texts_are_summed_up_like_their_nets(shared: Path) -> None:
    for name in ("ssd300_vgg16/deploy", "fcn8s/deploy", "enet/deploy", "lrcn/deploy_lstm"):
        path = shared / "models" / f"{name}.prototxt"
        if not path.is_file():
            continue
        param = caffe.proto.files.read_net(path)
        found = summarize(outline(param, caffe.TEST))
        if found.is_complete:
            assert found == summarize(caffe.Net(param, caffe.TEST))
