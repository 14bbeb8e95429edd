"""NetSpec: nets written in Python."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

from caffe import net_spec
from caffe.net_spec import NetSpec, Top, assign_proto, param_name_dict, to_proto
from caffe.net_spec import layers as L
from caffe.net_spec import params as P
from caffe.proto import caffe_pb2


def lenet(batch_size: int) -> NetSpec:
    n = NetSpec()
    shapes = [{"dim": [batch_size, 1, 28, 28]}, {"dim": [batch_size, 1, 1, 1]}]
    n.data, n.label = L.DummyData(shape=shapes, transform_param={"scale": 1 / 255}, ntop=2)
    filler = {"type": "xavier"}
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=filler)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=500, weight_filler=filler)
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler=filler)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n


def test_assigned_names_become_layers_and_blobs_in_order() -> None:
    net = lenet(50).to_proto()
    assert [layer.name for layer in net.layer] == [
        "data",
        "conv1",
        "pool1",
        "ip1",
        "relu1",
        "ip2",
        "loss",
    ]
    assert list(net.layer[0].top) == ["data", "label"]
    assert net.layer[0].transform_param.scale == pytest.approx(1 / 255)
    assert [list(shape.dim) for shape in net.layer[0].dummy_data_param.shape] == [
        [50, 1, 28, 28],
        [50, 1, 1, 1],
    ]
    assert net.layer[1].convolution_param.weight_filler.type == "xavier"
    assert list(net.layer[1].convolution_param.kernel_size) == [5]
    assert net.layer[2].pooling_param.pool == caffe_pb2.PoolingParameter.MAX
    assert list(net.layer[6].bottom) == ["ip2", "label"]


def test_an_in_place_layer_has_its_bottom_as_top_and_its_own_name() -> None:
    relu, ip2 = lenet(1).to_proto().layer[4:6]
    assert (relu.name, list(relu.bottom), list(relu.top)) == ("relu1", ["ip1"], ["ip1"])
    assert list(ip2.bottom) == ["ip1"]


def test_anonymous_tops_are_numbered_by_type() -> None:
    data, label = L.DummyData(shape={"dim": [4, 3]}, ntop=2)
    first = L.InnerProduct(data, num_output=5)
    second = L.InnerProduct(L.ReLU(first, in_place=True), num_output=2)
    loss = L.SoftmaxWithLoss(second, label)
    net = loss.to_proto()
    assert [layer.name for layer in net.layer] == [
        "DummyData1",
        "InnerProduct1",
        "ReLU1",
        "InnerProduct2",
        "SoftmaxWithLoss1",
    ]
    assert list(net.layer[0].top) == ["DummyData1", "DummyData2"]


def test_to_proto_of_several_tops_writes_each_layer_once() -> None:
    data = L.Input(shape={"dim": [1, 2]})
    left, right = L.ReLU(data), L.TanH(data)
    net = to_proto(left, right)
    assert [layer.type for layer in net.layer] == ["Input", "ReLU", "TanH"]


def test_layers_stand_after_what_they_need_whatever_the_order_of_assignment() -> None:
    n = NetSpec()
    data = L.Input(shape={"dim": [1, 2]})
    n.relu = L.ReLU(data)
    n.data = data
    assert [layer.name for layer in n.to_proto().layer] == ["data", "relu"]


def test_names_that_are_no_identifiers_are_set_and_got_as_items() -> None:
    n = NetSpec()
    n["inception/1x1"] = L.Input(shape={"dim": [1]})
    assert isinstance(n["inception/1x1"], Top)
    assert "inception/1x1" in n
    assert list(n.keys()) == ["inception/1x1"]
    assert n.to_proto().layer[0].name == "inception/1x1"


def test_a_layer_without_tops_takes_the_name_it_is_assigned_to() -> None:
    n = NetSpec()
    n.data, n.data2 = L.DummyData(shape={"dim": [3]}, ntop=2)
    n.silence = L.Silence(n.data, n.data2, ntop=0)
    layer = n.to_proto().layer[1]
    assert (layer.name, list(layer.bottom), list(layer.top)) == ("silence", ["data", "data2"], [])
    assert L.Silence(L.Input(), ntop=0).to_proto().layer[1].name == "Silence1"


def test_name_and_top_of_a_layer_can_be_given() -> None:
    n = NetSpec()
    n.prob = L.Softmax(L.Input(name="in"), name="loss", top="again")
    layer = n.to_proto().layer[1]
    assert (layer.name, list(layer.top)) == ("loss", ["prob", "again"])


# Its type is a setting of its own, and no layer's type.
MARGIN = ("margin_inner_product_param", "num_output")


@pytest.mark.parametrize(
    ("top", "field", "name"),
    [
        (L.Convolution(L.Input(), num_output=7), "convolution_param", "num_output"),
        (L.Deconvolution(L.Input(), num_output=7), "convolution_param", "num_output"),
        (L.LSTM(L.Input(), num_output=7), "recurrent_param", "num_output"),
        (L.Lstm(L.Input(), num_output=7), "lstm_param", "num_output"),
        (L.Convolution3D(L.Input(), num_output=7), "convolution_param", "num_output"),
        (L.PSROIPooling(L.Input(), group_size=7), "psroi_pooling_param", "group_size"),
        (L.MarginInnerProduct(L.Input(), type=1, num_output=7), *MARGIN),
        (L.SoftmaxWithLoss(L.Input(), axis=7), "softmax_param", "axis"),
        (L.SoftmaxWithLoss(L.Input(), ignore_label=7), "loss_param", "ignore_label"),
        (L.Data(batch_size=7), "data_param", "batch_size"),
        (L.HDF5Data(batch_size=7), "hdf5_data_param", "batch_size"),
        (L.MVN(L.Input(), eps=7), "mvn_param", "eps"),
        (
            L.Convolution(L.Input(), convolution_param={"num_output": 7}),
            "convolution_param",
            "num_output",
        ),
    ],
)
def test_parameters_go_into_the_message_of_the_layer_type(top: Top, field: str, name: str) -> None:
    assert getattr(getattr(top.to_proto().layer[-1], field), name) == 7


def test_what_the_schema_tells_needs_no_pytorch() -> None:
    program = """
import sys
from caffe import NetSpec, layers as L, params as P
n = NetSpec()
n.data, n.label = L.Data(batch_size=50, source="train", backend=P.Data.LMDB, ntop=2)
n.conv = L.Convolution(n.data, num_output=96, kernel_size=11, stride=4, param=[dict(lr_mult=1)])
n.relu = L.ReLU(n.conv, in_place=True)
n.pool = L.Pooling(n.relu, pool=P.Pooling.MAX, kernel_size=3, stride=2)
n.norm = L.LRN(n.pool, local_size=5, alpha=1e-4, beta=0.75)
n.up = L.Deconvolution(n.norm, convolution_param=dict(num_output=1, kernel_size=3))
n.ip = L.InnerProduct(n.up, num_output=10, weight_filler=dict(type="xavier"))
n.drop = L.Dropout(n.ip, dropout_ratio=0.5, in_place=True)
n.loss = L.SoftmaxWithLoss(n.drop, n.label, loss_weight=0.3, include=dict(phase=0))
n.to_proto()
print('torch' in sys.modules)
"""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_parameters_of_every_layer_go_to_the_layer_itself() -> None:
    layer = (
        L.InnerProduct(
            L.Input(),
            num_output=1,
            param=[{"lr_mult": 1, "name": "w"}, {"lr_mult": 2, "decay_mult": 0}],
            include={"phase": caffe_pb2.TRAIN, "stage": "fit"},
            loss_weight=[0.5],
            propagate_down=True,
        )
        .to_proto()
        .layer[1]
    )
    assert [spec.lr_mult for spec in layer.param] == [1, 2]
    assert layer.param[0].name == "w"
    assert layer.include[0].phase == caffe_pb2.TRAIN
    assert list(layer.include[0].stage) == ["fit"]
    assert list(layer.loss_weight) == [0.5]
    assert list(layer.propagate_down) == [True]


def test_any_layer_type_is_taken() -> None:
    layer = L.MyOwnLayer(L.Input(), loss_weight=3).to_proto().layer[1]
    assert (layer.type, layer.name) == ("MyOwnLayer", "MyOwnLayer1")
    python = L.Python(L.Input(), module="m", layer="C", param_str="{}").to_proto().layer[1]
    assert (python.python_param.module, python.python_param.param_str) == ("m", "{}")


def test_an_input_that_is_no_top_is_refused_by_its_place_and_type() -> None:
    pair = L.DummyData(ntop=2)
    with pytest.raises(
        TypeError, match=r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"
    ):
        L.Silence(pair, ntop=0)
    L.Silence(*pair, ntop=0)
    with pytest.raises(TypeError, match="Eltwise input 1 is not a Top"):
        L.Eltwise(pair[0], "data")


def test_assigning_a_tuple_of_tops_to_one_name_is_refused() -> None:
    n = NetSpec()
    with pytest.raises(TypeError, match="data is not a Top"):
        n.data = L.DummyData(ntop=2)


def test_an_unknown_parameter_names_layer_type_and_near_ones() -> None:
    n = NetSpec()
    n.conv1 = L.Convolution(L.Input(), num_outputs=3)
    with pytest.raises(
        AttributeError,
        match=r"Convolution layer 'conv1' has no parameter 'num_outputs'.*num_output",
    ):
        n.to_proto()
    n.conv1 = L.Convolution(L.Input(), weight_filler={"typo": "xavier"})
    with pytest.raises(AttributeError, match=r"FillerParameter has no parameter 'typo'.*type"):
        n.to_proto()


def test_a_value_of_the_wrong_kind_names_layer_and_parameter() -> None:
    with pytest.raises(TypeError, match="Pooling layer 'Pooling1': kernel_size cannot be 'three'"):
        L.Pooling(L.Input(), kernel_size="three").to_proto()


def test_a_top_that_was_not_assigned_is_an_attribute_error() -> None:
    n = lenet(1)
    assert not hasattr(n, "conv9")
    with pytest.raises(AttributeError, match="conv9"):
        _ = n.conv9
    assert not hasattr(P, "NoSuchThing")
    assert copy.copy(n) is not n


def test_parameters_of_an_assigned_layer_can_be_changed() -> None:
    n = lenet(1)
    n.update("ip2", {"num_output": 3})
    assert n.to_proto().layer[5].inner_product_param.num_output == 3


def test_a_chain_longer_than_pythons_stack_is_written() -> None:
    top = L.Input(shape={"dim": [1]})
    for _ in range(3000):
        top = L.ReLU(top)
    assert len(top.to_proto().layer) == 3001


def test_assign_proto_makes_lists_of_single_values_and_fills_messages() -> None:
    net = caffe_pb2.NetParameter()
    assign_proto(net, "name", "x")
    assign_proto(net, "input", "data")
    assign_proto(net, "input_shape", {"dim": (1, 2)})
    assign_proto(net, "state", {"level": 3, "stage": ["a", "b"]})
    assert (net.name, list(net.input), list(net.input_shape[0].dim)) == ("x", ["data"], [1, 2])
    assert (net.state.level, list(net.state.stage)) == (3, ["a", "b"])


def test_param_name_dict_knows_the_irregular_names() -> None:
    names = param_name_dict()
    assert names["InnerProduct"] == "inner_product"
    assert names["HDF5Data"] == "hdf5_data"
    assert names["ReLU"] == "relu"
    assert names["MVN"] == "mvn"


def test_a_programs_own_entry_says_where_a_types_keywords_go() -> None:
    assert net_spec._param_names["InnerProduct"] == "inner_product"
    net_spec._param_names["MyOwnConvolution"] = "convolution"
    try:
        text = L.MyOwnConvolution(L.Input(), num_output=3, kernel_size=2).to_proto()
    finally:
        del net_spec._param_names["MyOwnConvolution"]
    assert text.layer[1].convolution_param.num_output == 3
