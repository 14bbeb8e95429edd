"""A layer that a person registers is drawn, listed, mapped and written like its kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import caffe
import caffe.draw
from caffe import detect
from caffe.attribution import saliency_map
from caffe.coord_map import UndefinedMapException, coord_map_from_to, crop
from caffe.errors import CaffeWarning
from caffe.layers.activation import ReLU
from caffe.layers.convolution import Convolution
from caffe.layers.detection.detection_output import GivesDetections
from caffe.layers.layer import Layer, Parameter, register
from caffe.layers.reach import Alignment
from caffe.layers.registry import family_of
from caffe.layers.shape import Crop, Reshape
from caffe.layers.softmax import Softmax
from caffe.memory.blob import Shape
from caffe.net_spec import layers as L
from caffe.net_spec import to_proto
from caffe.proto.caffe_pb2 import LayerParameter
from caffe.proto.files import parse_net
from caffe.structure.diagram import COLORS, PLAIN, diagram, parts_of
from caffe.structure.outline import Outline, outline
from caffe.structure.summary import summarize

INPUT = """layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 4 dim: 9 dim: 9 } } }"""


pytestmark = pytest.mark.usefixtures("own_layers")


def layer(kind: str, bottom: str, top: str, rest: str = "") -> str:
    return f'layer {{ name: "{top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}'


def outlined(text: str) -> Outline:
    return outline(parse_net(INPUT + text), caffe.TEST)


def register_softsign() -> None:
    @register("Softsign")
    class Softsign(Layer):
        family = "activation"
        pointwise = True

        def forward(self, x: Tensor) -> Tensor:
            return x / (1 + x.abs())


def test_a_family_says_the_colour_in_every_drawing() -> None:
    pytest.importorskip("pydot")
    register_softsign()
    assert caffe.draw.choose_color_by_layertype("Softsign") == (
        caffe.draw.choose_color_by_layertype("Sigmoid")
    )
    assert caffe.draw.choose_color_by_layertype("Softsign") != (
        caffe.draw.choose_color_by_layertype("Unheard")
    )
    text = INPUT + layer("Softsign", "data", "one") + layer("Softsign", "data", "two")
    fills = [
        node.get("fillcolor").strip('"')
        for node in diagram(outline(parse_net(text), caffe.TEST)).get_nodes()
        if "Softsign" in node.get("label")
    ]
    assert fills == [COLORS["activation"][0]] * 2 != [PLAIN[0]] * 2


def test_an_activation_is_drawn_in_the_node_of_what_it_follows() -> None:
    conv = layer("Convolution", "data", "conv", "convolution_param { num_output: 2 kernel_size: 1}")
    text = conv + layer("Softsign", "conv", "out")
    assert len(parts_of(outlined(text))) == 3
    register_softsign()
    assert [len(part.layers) for part in parts_of(outlined(text))] == [1, 2]


def test_the_table_says_the_family_of_a_subclass_too() -> None:
    @register("Weighed")
    class Weighed(Convolution):
        pass

    text = layer("Weighed", "data", "conv", "convolution_param { num_output: 2 kernel_size: 1 }")
    rows = summarize(outlined(text)).as_dict()["layers"]
    assert [row["family"] for row in rows] == ["source", "convolution"]
    assert family_of("Unheard") == "plain"


def described(kind: str, **fields: Any) -> LayerParameter:
    return LayerParameter(name="one", type=kind, **fields)


def test_arrows_tell_how_many_outputs_or_pictures_there_are() -> None:
    @register("Weighed")
    class Weighed(Convolution):
        pass

    @register("Camera")
    class Camera(Layer):
        message = "memory_data_param"
        family = "source"
        bottoms = 0

    weighed = described("Weighed", convolution_param={"num_output": 7})
    camera = described("Camera", memory_data_param={"batch_size": 5})
    assert caffe.draw.get_edge_label(weighed) == "7"
    assert caffe.draw.get_edge_label(camera) == "batch 5"
    assert caffe.draw.get_edge_label(described("Unheard")) == ""


def test_learning_rates_are_told_of_whatever_learns_weights() -> None:
    @register("Outer")
    class Outer(Layer):
        family = "product"

        def parameters(self, *bottoms: Shape) -> list[Parameter]:
            return [Parameter(bottoms[0])]

    @register("Fixed")
    class Fixed(Layer):
        family = "product"

    @register("Sloped")
    class Sloped(ReLU):
        def parameters(self, *bottoms: Shape) -> list[Parameter]:
            return [Parameter(bottoms[0])]

    specs = [{"lr_mult": 3}]
    assert caffe.draw.get_layer_lr_mult(described("Outer", param=specs)) == (3, 1)
    for kind in ("Fixed", "Sloped", "Unheard"):
        with pytest.raises(ValueError, match=kind):
            caffe.draw.get_layer_lr_mult(described(kind, param=specs))


def test_coordinates_go_through_whatever_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    register_softsign()
    # Another test may have asked for the list before the layer was there.
    monkeypatch.delattr(caffe.coord_map, "PASS_THROUGH_LAYERS")
    data = L.Input()
    down = L.Convolution(L.Softsign(data), kernel_size=4, stride=2, pad=1)
    _, scale, shift = coord_map_from_to(down, data)
    assert (scale.tolist(), shift.tolist()) == ([2], [0.5])
    assert "Softsign" in caffe.coord_map.PASS_THROUGH_LAYERS


def test_windows_and_what_spreads_say_so_once() -> None:
    @register("Median")
    class Median(Layer):
        message = "pooling_param"
        alignment = Alignment.WINDOWS

    @register("Unheeding")
    class Unheeding(Median):
        alignment = None

    @register("Upwards")
    class Upwards(Layer):
        alignment = Alignment.SPREAD

    data = L.Input()
    down = L.Median(data, pooling_param={"kernel_size": 2, "stride": 2})
    assert coord_map_from_to(down, data) == (1, 2, 0.5)
    up = L.Upwards(down, kernel_size=2, stride=2)
    assert coord_map_from_to(up, data) == (1, 1, 0)
    with pytest.raises(UndefinedMapException):
        caffe.coord_map.coord_map(L.Unheeding(data, kernel_size=2).fn)


def test_a_crop_of_ones_own_lies_on_its_first_bottom() -> None:
    @register("Trim")
    class Trim(Crop):
        pass

    data = L.Input()
    wide = L.Convolution(data, kernel_size=1, pad=3)
    trimmed = L.Trim(wide, data, crop_param={"axis": 2, "offset": 1})
    assert crop(trimmed, data).fn.params["crop_param"]["offset"] == [2]


def test_offsets_are_worked_out_through_ones_own_layers() -> None:
    @register("Median")
    class Median(Convolution):
        pass

    settings = "convolution_param { num_output: 1 kernel_size: 3 pad: 5 }"
    text = f"""{INPUT} {layer("Median", "data", "wide", settings)}
        {layer("Softsign", "wide", "soft")}
        layer {{ name: "crop" type: "Crop" bottom: "soft" bottom: "data" top: "score" }}"""
    register_softsign()
    with pytest.warns(CaffeWarning, match=r"'score' from 4, 4 on"):
        caffe.Net(text, caffe.TEST)


def test_keywords_go_where_the_class_reads_them() -> None:
    @register("Median")
    class Median(Layer):
        message = "pooling_param"
        further_messages = ("lrn_param",)

    written = to_proto(L.Median(L.Input(), kernel_size=3, alpha=2, loss_weight=4)).layer[1]
    assert (written.pooling_param.kernel_size, written.lrn_param.alpha) == (3, 2)
    assert list(written.loss_weight) == [4]
    with pytest.raises(AttributeError, match=r"did you mean .*local_size"):
        to_proto(L.Median(L.Input(), local_sizes=3))
    with pytest.raises(AttributeError, match="kernel_size"):
        to_proto(L.Unheard(L.Input(), kernel_size=3))


def test_scores_are_found_under_ones_own_softmax() -> None:
    @register("Sharp")
    class Sharp(Softmax):
        pass

    @register("Folded")
    class Folded(Reshape):
        pass

    settings = 'inner_product_param { num_output: 3 weight_filler { type: "gaussian" } }'
    text = INPUT + layer("InnerProduct", "data", "fc", settings) + layer("Sharp", "fc", "sharp")
    net = caffe.Net(
        text + layer("Folded", "sharp", "prob", "reshape_param { shape { dim: 0 dim: 3 } }"),
        caffe.TEST,
    )
    net.blobs["data"].data[...] = 1
    expected = saliency_map(net, 1, output="fc")
    assert expected.max() > 0
    np.testing.assert_array_equal(saliency_map(net, 1), expected)


def test_ones_own_detections_are_read() -> None:
    @register("Finder")
    class Finder(GivesDetections, Layer):
        labels = 3
        has_gradient = False

        def top_shapes(self, *bottoms: Shape) -> list[Shape]:
            return [(1, 1, 1, 7)]

        def forward(self, x: Tensor) -> Tensor:
            return x.new_tensor([0, 2, 0.9, 0, 0, 0.5, 1]).view(1, 1, 1, 7)

    pictures = INPUT.replace("dim: 4", "dim: 3")
    detector = detect.ObjectDetector(pictures + layer("Finder", "data", "found"))
    (found,) = detector.detect(np.zeros((20, 40, 3), np.uint8))
    assert (found.label, found.box) == (2, pytest.approx((0, 0, 20, 20)))
    with pytest.raises(caffe.NetError, match=r"must end in .*Finder"):
        detect.ObjectDetector(pictures + layer("TanH", "data", "out"))


def test_a_source_of_ones_own_is_outlined_without_its_data() -> None:
    @register("Camera")
    class Camera(Layer):
        family = "source"
        bottoms = 0
        tops = 2
        on_blobs = True
        assumes_shapes = True

        def declared_shapes(self) -> Sequence[Shape] | None:
            return None if self.phase == caffe.TEST else [(8, 3, 5, 5), (8,)]

        def setup_blobs(self, bottoms: list[Any], tops: list[Any]) -> None:
            raise caffe.CaffeError("no camera")

    net = parse_net('layer { name: "c" type: "Camera" top: "data" top: "label" }')
    assert outline(net, caffe.TRAIN).layers[0].top_shapes == [(8, 3, 5, 5), (8,)]
    given = outline(net, caffe.TEST, shapes={"data": (2, 3, 4, 4)})
    assert given.layers[0].top_shapes == [(2, 3, 4, 4), (2,)]


def test_settings_are_told_by_the_message_that_the_class_reads() -> None:
    @register("Median")
    class Median(Layer):
        message = "pooling_param"

    median = described("Median", pooling_param={"pool": 1, "kernel_size": 3})
    assert list(caffe.draw.main_parameters(median))[:2] == ["AVE Median", "kernel 3"]
