"""Net as pycaffe has it: constructors, running, reshaping, weights, and every refusal."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.proto import caffe_pb2

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 5 kernel_size: 3
                            weight_filler { type: "gaussian" std: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""

PICTURES = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return path


@pytest.fixture
def net(model: Path) -> caffe.Net:
    caffe.set_random_seed(3)
    return caffe.Net(str(model), caffe.TEST)


@pytest.fixture
def weights(net: caffe.Net, tmp_path: Path) -> Path:
    path = tmp_path / "net.caffemodel"
    net.save(path)
    return path


def probabilities(net: caffe.Net) -> np.ndarray:
    return net.forward(data=PICTURES)["prob"].copy()


@pytest.mark.parametrize(
    "build",
    [
        lambda m, w: caffe.Net(str(m), str(w), caffe.TEST),
        lambda m, w: caffe.Net(str(m), caffe.TEST, weights=str(w)),
        lambda m, w: caffe.Net(str(m), caffe.TEST, 0, None, weights=str(w)),
        lambda m, w: caffe.Net(m, phase=caffe.TEST, level=0, stages=["x"], weights=w),
        lambda m, w: caffe.Net(str(m), weights=str(w), phase=caffe.TEST),
    ],
)
def test_all_forms_of_the_constructor_load_the_weights(
    build: Callable[[Path, Path], caffe.Net], net: caffe.Net, model: Path, weights: Path
) -> None:
    assert np.array_equal(probabilities(build(model, weights)), probabilities(net))


def test_net_has_pycaffes_views(net: caffe.Net) -> None:
    assert list(net.blobs) == list(net._blob_names) == ["data", "conv", "ip", "prob"]
    assert list(net.params) == ["conv", "ip"]
    assert list(net._layer_names) == ["data", "conv", "relu", "ip", "prob"]
    assert net.layer_dict["conv"].type == "Convolution"
    assert [layer.type for layer in net.layers][2:4] == ["ReLU", "InnerProduct"]
    assert (net.inputs, net.outputs) == (["data"], ["prob"])
    assert net.top_names["relu"] == net.bottom_names["relu"] == ["conv"]
    assert net.params["conv"][0].data.shape == (5, 3, 3, 3)
    assert net.blob_loss_weights["prob"] == 0
    assert net.name == "small"


def test_forward_returns_views_that_the_next_forward_overwrites(net: caffe.Net) -> None:
    first = net.forward(data=PICTURES)["prob"]
    before = first.copy()
    second = net.forward(data=PICTURES * 2)["prob"]
    assert np.array_equal(first, second)
    assert not np.array_equal(first, before)


def test_forward_gives_more_blobs_and_stops_and_starts_where_told(net: caffe.Net) -> None:
    whole = probabilities(net)
    out = net.forward(blobs=["conv"], end="ip", data=PICTURES)
    assert set(out) == {"conv", "ip"}
    assert np.allclose(net.forward(start="prob")["prob"], whole, rtol=1e-5)
    net.blobs["ip"].data[...] = 0
    assert np.allclose(net.forward(start="prob")["prob"], 0.25)


def test_an_intermediate_blob_written_by_hand_is_used(net: caffe.Net) -> None:
    net.forward(data=PICTURES)
    net.blobs["conv"].data[...] = 1
    by_hand = net.forward(start="ip")["ip" if "ip" in net.outputs else "prob"].copy()
    assert np.array_equal(by_hand[0], by_hand[1])


def test_a_parameter_written_by_hand_is_used(net: caffe.Net) -> None:
    net.params["ip"][0].data[...] = 0
    assert np.allclose(probabilities(net), 0.25)


def test_forward_all_splits_into_batches_and_drops_the_padding(net: caffe.Net) -> None:
    five = np.concatenate([PICTURES, PICTURES, PICTURES[:1]])
    out = net.forward_all(blobs=["conv"], data=five)
    assert out["prob"].shape == (5, 4)
    assert out["conv"].shape == (5, 5, 2, 2)
    assert np.allclose(out["prob"][2:4], probabilities(net))
    assert np.allclose(out["prob"][4], out["prob"][0])


def test_reshape_follows_the_input(net: caffe.Net) -> None:
    before = probabilities(net)
    net.blobs["data"].reshape(7, 3, 4, 4)
    net.reshape()
    assert net.blobs["conv"].shape == (7, 5, 2, 2)
    assert net.blobs["prob"].data.shape == (7, 4)
    net.blobs["data"].reshape(2, 3, 4, 4)
    assert np.array_equal(probabilities(net), before)
    assert net.blobs["conv"].shape == (2, 5, 2, 2)


def test_forward_follows_a_reshaped_input_by_itself(net: caffe.Net) -> None:
    net.blobs["data"].reshape(1, 3, 4, 4)
    assert net.forward(data=PICTURES[:1])["prob"].shape == (1, 4)


def test_arrays_outlive_the_net(net: caffe.Net) -> None:
    held = net.forward(data=PICTURES)["prob"]
    parameter = net.params["ip"][0].data
    copies = held.copy(), parameter.copy()
    del net
    gc.collect()
    assert np.array_equal(held, copies[0])
    assert np.array_equal(parameter, copies[1])


def test_saved_weights_are_what_protobuf_reads(net: caffe.Net, weights: Path) -> None:
    saved = caffe_pb2.NetParameter()
    saved.ParseFromString(weights.read_bytes())
    assert saved.name == "small"
    assert [layer.name for layer in saved.layer] == list(net._layer_names)
    blob = saved.layer[1].blobs[0]
    assert list(blob.shape.dim) == [5, 3, 3, 3]
    assert np.array_equal(np.array(blob.data, np.float32), net.params["conv"][0].data.ravel())


def test_hdf5_weights_come_back(net: caffe.Net, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    path = tmp_path / "weights_without_a_telling_name"
    net.save_hdf5(path)
    again = caffe.Net(model, path, caffe.TEST)
    assert np.array_equal(probabilities(again), probabilities(net))


SHARED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
"""


def test_shared_parameters_are_one_and_survive_both_file_kinds(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    net = caffe.Net(SHARED, caffe.TEST)
    net.params["a"][0].data[...] = [[1, 2], [3, 4]]
    assert net.params["b"][0].data.tolist() == [[1, 2], [3, 4]]
    assert net.forward(x=np.ones((1, 2)))["b"].tolist() == [[17, 37]]
    net.save(tmp_path / "weights.caffemodel")
    net.save_hdf5(tmp_path / "weights.h5")
    for name in ("weights.caffemodel", "weights.h5"):
        again = caffe.Net(SHARED, tmp_path / name, caffe.TEST)
        assert again.forward(x=np.ones((1, 2)))["b"].tolist() == [[17, 37]]


def test_share_with_uses_the_other_nets_parameters(net: caffe.Net, model: Path) -> None:
    other = caffe.Net(model, caffe.TEST)
    other.share_with(net)
    net.params["ip"][1].data[0] = 5
    assert np.array_equal(probabilities(other), probabilities(net))


def test_layers_that_the_file_has_not_keep_their_filler(
    model: Path, weights: Path, net: caffe.Net
) -> None:
    renamed = NET.replace('name: "ip"', 'name: "new"')
    fresh = caffe.Net(renamed, weights, caffe.TEST)
    assert np.array_equal(fresh.params["conv"][0].data, net.params["conv"][0].data)
    assert fresh.params["new"][0].data.std() > 0


def test_phases_levels_and_stages_choose_layers() -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }
    layer { name: "train" type: "Power" bottom: "x" top: "t" include { phase: TRAIN } }
    layer { name: "deploy" type: "Power" bottom: "x" top: "d"
            include { stage: "deploy" not_stage: "no" } }
    layer { name: "high" type: "Power" bottom: "x" top: "h" include { min_level: 2 max_level: 3 } }
    layer { name: "not_test" type: "Power" bottom: "x" top: "n" exclude { phase: TEST } }
    """

    def names(*arguments: object, **more: object) -> list[str]:
        return [n for n in caffe.Net(text, *arguments, **more)._layer_names if "split" not in n][1:]

    assert names(caffe.TRAIN) == ["train", "not_test"]
    assert names(caffe.TEST, 2, ["deploy"]) == ["deploy", "high"]
    assert names(caffe.TEST, level=4, stages=["deploy", "no"]) == []


def test_gradients_can_be_taken_piecewise(net: caffe.Net) -> None:
    deploy = caffe.Net("force_backward: true" + NET, caffe.TEST)
    deploy.share_with(net)
    deploy.forward(data=PICTURES)
    whole = deploy.backward(prob=np.eye(2, 4))["data"].copy()
    deploy.blobs["prob"].diff[...] = np.eye(2, 4)
    part = deploy.backward(diffs=["conv"], end="ip")
    assert set(part) == {"conv"}
    deploy.blobs["data"].diff[...] = 0
    assert np.allclose(deploy.backward(start="relu")["data"], whole)
    with pytest.raises(caffe.CaffeError, match="'prob'"):
        deploy.backward(ip=np.eye(2, 4))


def test_a_top_that_a_loss_leaves_out_stands_where_its_layer_does() -> None:
    net = caffe.Net(
        """
        layer { name: "x" type: "Input" top: "x" top: "t"
                input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "t" }
        layer { name: "z" type: "Power" bottom: "x" top: "z" }
        """,
        caffe.TEST,
    )
    assert list(net.blobs)[-2:] == ["(automatic)", "z"]
    assert net.blob_loss_weights["(automatic)"] == 1
    assert net.outputs == ["z"]
    assert net.top_names["loss"] == ["(automatic)"]


@pytest.mark.parametrize("specs", ["", "param { lr_mult: 0 } " * 3])
def test_backward_visits_a_batch_norm_whose_text_is_silent_about_its_blobs(specs: str) -> None:
    net = caffe.Net(
        INPUT
        + f'layer {{ name: "bn" type: "BatchNorm" bottom: "x" top: "y" {specs} }}'
        + 'layer { name: "z" type: "Power" bottom: "y" top: "z" loss_weight: 1 }',
        caffe.TRAIN,
    )
    net.blobs["x"].data[...] = np.arange(6).reshape(2, 3)
    net.blobs["y"].diff[...] = net.blobs["x"].diff[...] = 7
    net.forward()
    net.backward()
    visited = not specs
    assert (net.blobs["y"].diff == (1 if visited else 7)).all()
    assert (abs(net.blobs["x"].diff) < 1e-3).all() == visited


INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'

BAD_NETS = {
    "unknown layer": (
        'layer { name: "c" type: "Convolutoin" bottom: "x" top: "y" }',
        "Convolution",
    ),
    "bottom that nothing makes": (
        'layer { name: "r" type: "ReLU" bottom: "xx" top: "y" }',
        r"layer 'r' \(ReLU\): bottom 0, 'xx'.*did you mean 'x'",
    ),
    "doubled top": ('layer { name: "r" type: "ReLU" bottom: "x" top: "x" } ' + INPUT, "top 0, 'x'"),
    "too many bottoms": (
        'layer { name: "r" type: "ReLU" bottom: "x" bottom: "x" top: "y" }',
        r"layer 'r' \(ReLU\).*1 bottom",
    ),
    "both rules": (
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" include {} exclude {} }',
        "include or exclude",
    ),
    "a loss_weight for one of two tops": (
        'layer { name: "s" type: "Slice" bottom: "x" top: "y" top: "z" loss_weight: 1 '
        "slice_param { slice_point: 1 } }",
        r"layer 's' \(Slice\).*once per top",
    ),
    "too many params": (
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" param {} }',
        "layer 'r'.*param stands 1 times",
    ),
    "kernel larger than the picture": (
        'layer { name: "p" type: "Input" top: "p" '
        "input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }"
        'layer { name: "c" type: "Convolution" bottom: "p" top: "y" '
        "convolution_param { num_output: 1 kernel_size: 9 } }",
        r"layer 'c' \(Convolution\): the kernel \(9, 9\).*does not fit",
    ),
    "unknown filler": (
        'layer { name: "i" type: "InnerProduct" bottom: "x" top: "y" '
        'inner_product_param { num_output: 1 weight_filler { type: "xaver" } } }',
        "layer 'i'.*unknown filler type 'xaver'",
    ),
    "disagreeing sharers": (
        'layer { name: "i" type: "InnerProduct" bottom: "x" top: "y" param { name: "w" } '
        "inner_product_param { num_output: 3 } }"
        'layer { name: "j" type: "InnerProduct" bottom: "y" top: "z" param { name: "w" } '
        "inner_product_param { num_output: 1 } }",
        "layer 'j'.*param 'w' is shared with layer 'i'",
    ),
}


@pytest.mark.parametrize("case", BAD_NETS)
def test_a_bad_net_is_refused_by_file_and_layer(case: str, tmp_path: Path) -> None:
    text, message = BAD_NETS[case]
    path = tmp_path / "bad.prototxt"
    path.write_text(INPUT + text)
    with pytest.raises(caffe.CaffeError, match=message) as caught:
        caffe.Net(path, caffe.TEST)
    assert "bad.prototxt" in str(caught.value)


def test_an_unknown_layer_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.prototxt"
    path.write_text(INPUT + '\nlayer {\n  name: "odd"\n  type: "Odd"\n  bottom: "x" top: "y" }')
    with pytest.raises(caffe.NetError, match=r"bad\.prototxt:5: .*'odd'.*'Odd'"):
        caffe.Net(path, caffe.TEST)


BAD_FORWARDS = {
    "unknown input": ({"dat": PICTURES}, "'data'.*'dat'"),
    "other batch": ({"data": PICTURES[:1]}, "'data' has 1 along its first axis.*batch is 2"),
    "other picture size": ({"data": PICTURES[:, :, :3]}, r"\(2, 3, 3, 4\).*\(2, 3, 4, 4\)"),
    "no numbers": ({"data": np.full((2, 3, 4, 4), "a")}, "input 'data'"),
    "unknown blob": ({"blobs": ["cnv"]}, "no blob 'cnv'"),
    "unknown start": ({"start": "cnv"}, "no layer 'cnv'"),
    "unknown end": ({"end": "cnv"}, "no layer 'cnv'"),
}


@pytest.mark.parametrize("case", BAD_FORWARDS)
def test_a_bad_forward_is_refused_and_the_net_still_works(case: str, net: caffe.Net) -> None:
    before = probabilities(net)
    arguments, message = BAD_FORWARDS[case]
    with pytest.raises(caffe.CaffeError, match=message):
        net.forward(**arguments)
    assert np.array_equal(probabilities(net), before)


def test_a_wrong_reshape_names_the_layer(net: caffe.Net) -> None:
    net.blobs["data"].reshape(2, 3, 9, 9)
    with pytest.raises(caffe.ShapeError, match=r"layer 'ip' \(InnerProduct\)"):
        net.reshape()


def test_weights_of_another_net_are_refused_by_layer_and_shape(weights: Path) -> None:
    wider = NET.replace("num_output: 5", "num_output: 6")
    with pytest.raises(caffe.WeightsError, match=r"layer 'conv'.*\(5, 3, 3, 3\).*\(6, 3, 3, 3\)"):
        caffe.Net(wider, weights, caffe.TEST)
    without_bias = NET.replace("num_output: 5", "num_output: 5 bias_term: false")
    with pytest.raises(caffe.WeightsError, match="layer 'conv' has 2 parameter blobs"):
        caffe.Net(without_bias, weights, caffe.TEST)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", bytes(range(256)) * 9, NET.encode()])
def test_garbage_is_no_weights(content: bytes, net: caffe.Net, tmp_path: Path) -> None:
    path = tmp_path / "garbage.caffemodel"
    path.write_bytes(content)
    with pytest.raises(caffe.CaffeError, match=r"garbage\.caffemodel"):
        net.copy_from(path)


def test_a_cut_caffemodel_is_refused_and_leaves_the_net_as_it_was(
    net: caffe.Net, weights: Path
) -> None:
    before = probabilities(net)
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(caffe.CaffeError, match=r"net\.caffemodel"):
        net.copy_from(weights)
    assert np.array_equal(probabilities(net), before)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(caffe.CaffeError, match="no_such"):
        caffe.Net(tmp_path / "no_such.prototxt", caffe.TEST)


def test_set_input_arrays_needs_memory_data(net: caffe.Net) -> None:
    with pytest.raises(caffe.CaffeError, match="MemoryData"):
        net.set_input_arrays(PICTURES, np.zeros(2, np.float32))


def test_a_net_needs_a_phase(model: Path) -> None:
    with pytest.raises(caffe.CaffeError, match=r"caffe\.TEST"):
        caffe.Net(model)
    with pytest.raises(caffe.CaffeError, match="phase"):
        caffe.Net(model, 7)


@pytest.mark.parametrize("model", [None, 3, ["net.prototxt"]])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(caffe.CaffeError, match="takes a prototxt's path"):
        caffe.Net(model, caffe.TEST)


@pytest.mark.parametrize("forwards", [0, 3])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_a_net_has_its_values_and_a_life_of_its_own(
    copied: Callable[[caffe.Net], caffe.Net], forwards: int
) -> None:
    text = """layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 4 dim: 30 } } }
              layer { name: "f" type: "InnerProduct" bottom: "d" top: "f"
                      inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
              layer { name: "r" type: "ReLU" bottom: "f" top: "f" }
              layer { name: "t" type: "TanH" bottom: "f" top: "t" }"""
    net = caffe.Net(text, caffe.TEST)
    data = np.random.default_rng(0).normal(size=(4, 30))
    for _ in range(forwards):
        net.forward(d=data)
    other = copied(net)
    for blob, its in zip(net.blobs.values(), other.blobs.values(), strict=True):
        assert np.array_equal(blob.data, its.data)
    expected = net.forward(d=data)["t"].copy()
    assert np.array_equal(other.forward(d=data)["t"], expected)
    other.params["f"][0].data[...] = 0
    assert not other.forward()["t"].any()
    assert np.array_equal(net.forward()["t"], expected)
