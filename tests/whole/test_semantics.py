"""Where re-implementations of Caffe go wrong: what its users would notice, by hand-made figures.

The traps of one layer family or one module are tested beside their kind (pooling, losses, io, ...).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.proto import caffe_pb2
from caffe.proto.files import parse_net


def build(text: str, *shapes: tuple[int, ...], phase: int = caffe.TEST) -> caffe.Net:
    """A net of `text` behind inputs named a, b, ... of these shapes."""
    inputs = [
        f'layer {{ name: "in_{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {dim}" for dim in shape)
        + " } } }"
        for name, shape in zip("abc", shapes, strict=False)
    ]
    return caffe.Net("\n".join([*inputs, text]), phase)


def layer(kind: str, bottoms: str, top: str = "y", settings: str = "", name: str = "it") -> str:
    read = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    made = " ".join(f'top: "{each}"' for each in top.split())
    return f'layer {{ name: "{name}" type: "{kind}" {read} {made} {settings} }}\n'


# Names and connections.


def test_outputs_are_in_the_order_of_their_characters() -> None:
    text = "".join(layer("Power", "a", top, name=top) for top in ("z", "b", "Z", "10", "9"))
    assert build(text, (1, 2)).outputs == ["10", "9", "Z", "b", "z"]


def test_a_split_is_named_after_the_last_layer_that_wrote_the_blob() -> None:
    text = layer("ReLU", "a", "a", name="relu") + layer("Power", "a", "b", name="p")
    net = build(text + layer("Power", "a", "c", name="q"), (1, 2))
    assert "a_relu_0_split" in net._layer_names
    assert [name for name in net.blobs if "split" in name] == [
        "a_relu_0_split_0",
        "a_relu_0_split_1",
    ]


def test_a_loss_that_is_read_is_split_too() -> None:
    net = build(
        layer("EuclideanLoss", "a b", "loss", "loss_weight: 2", "loss")
        + layer("Power", "loss", "y", name="p"),
        (1, 2),
        (1, 2),
    )
    assert net.blob_loss_weights["loss_loss_0_split_0"] == 2
    assert net.outputs == ["loss_loss_0_split_0", "y"]


def test_every_loss_counts_once_unless_told_otherwise() -> None:
    net = build(layer("EuclideanLoss", "a b") + layer("Power", "a", "p", name="p"), (2, 3), (2, 3))
    assert net.blob_loss_weights["y"] == 1
    assert net.blob_loss_weights["p"] == 0


# Shared parameters.

SHARERS = """
layer {{ name: "i" type: "InnerProduct" bottom: "a" top: "x" param {{ name: "w" {0} }}
        inner_product_param {{ num_output: 6 bias_term: false weight_filler {{ value: 2 }} }} }}
layer {{ name: "j" type: "InnerProduct" bottom: "b" top: "y" param {{ name: "w" {1} }}
        inner_product_param {{ num_output: 4 bias_term: false weight_filler {{ value: 3 }} }} }}
"""


def test_permissive_sharing_asks_for_the_same_count_only_and_the_first_owns_the_values() -> None:
    net = build(SHARERS.format("", "share_mode: PERMISSIVE"), (1, 2), (1, 3))
    assert net.params["i"][0].shape == (6, 2)
    assert net.params["j"][0].shape == (4, 3)
    assert (net.params["j"][0].data == 2).all()
    net.params["j"][0].data[0, 1] = 7
    assert net.params["i"][0].data.ravel()[1] == 7


def test_strict_sharing_asks_for_the_same_shape() -> None:
    with pytest.raises(caffe.WeightsError, match=r"layer 'j'.*'w' is shared with layer 'i'"):
        build(SHARERS.format("", ""), (1, 2), (1, 3))


@pytest.mark.parametrize("field", ["lr_mult", "decay_mult"])
def test_sharers_may_not_disagree_about_multipliers(field: str) -> None:
    with pytest.raises(caffe.NetError, match=rf"(?s)layer 'j'.*{field}"):
        build(SHARERS.format(f"{field}: 1", f"{field}: 2 share_mode: PERMISSIVE"), (1, 2), (1, 3))


# Weights.

INNER = layer(
    "InnerProduct", "a", settings="inner_product_param { num_output: 2 bias_term: false }"
)


def weights_file(path: Path, *layers: caffe_pb2.LayerParameter) -> Path:
    path.write_bytes(caffe_pb2.NetParameter(layer=layers).SerializeToString())
    return path


def test_double_precision_weights_of_four_old_axes_are_taken(tmp_path: Path) -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, double_data=range(6))
    other = caffe_pb2.LayerParameter(name="elsewhere", blobs=[blob])
    mine = caffe_pb2.LayerParameter(name="it", blobs=[blob])
    net = build(INNER, (1, 3))
    net.copy_from(weights_file(tmp_path / "old.caffemodel", other, mine))
    assert net.params["it"][0].data.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("axes", [{"num": 2, "channels": 3, "height": 1, "width": 1}, {"num": 2}])
def test_four_old_axes_are_compared_from_the_right(axes: dict[str, int], tmp_path: Path) -> None:
    blob = caffe_pb2.BlobProto(data=range(6), **axes)
    path = weights_file(
        tmp_path / "old.caffemodel", caffe_pb2.LayerParameter(name="it", blobs=[blob])
    )
    with pytest.raises(caffe.CaffeError, match="layer 'it'"):
        build(INNER, (1, 3)).copy_from(path)


def test_a_caffemodel_gives_names_and_blobs_and_never_settings(tmp_path: Path) -> None:
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[2, 3]), data=range(6))
    foreign = caffe_pb2.LayerParameter(name="it", type="Fork", blobs=[blob])
    foreign.inner_product_param.num_output = 99
    # At number 151 BVLC has recurrent_param; what a fork has there need not even parse as that.
    content = foreign.SerializeToString() + b"\xba\x09\x02\xff\xff"
    path = tmp_path / "fork.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(content)]) + content)
    net = build(INNER, (1, 3))
    net.copy_from(path)
    assert net.forward(a=[[1, 1, 1]])["y"].tolist() == [[3, 12]]


def test_hdf5_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    net = build(INNER, (1, 3))
    net.params["it"][0].data[...] = 4
    net.save_hdf5(tmp_path / "weights.caffemodel")
    for take in (caffe.Net.copy_from, caffe.Net.load_hdf5):
        again = build(INNER, (1, 3))
        take(again, tmp_path / "weights.caffemodel")
        assert (again.params["it"][0].data == 4).all()


def test_refused_weights_change_nothing(tmp_path: Path) -> None:
    def filled(name: str, count: int) -> caffe_pb2.LayerParameter:
        shape = caffe_pb2.BlobShape(dim=[2, count])
        blob = caffe_pb2.BlobProto(shape=shape, data=[5] * (2 * count))
        return caffe_pb2.LayerParameter(name=name, blobs=[blob])

    path = weights_file(tmp_path / "other.caffemodel", filled("it", 3), filled("next", 9))
    net = build(INNER + INNER.replace('"it"', '"next"').replace('"y"', '"z"'), (1, 3))
    with pytest.raises(caffe.WeightsError, match="layer 'next'"):
        net.copy_from(path)
    assert (net.params["it"][0].data == 0).all()


def test_a_saved_net_holds_all_its_layers_in_running_order(tmp_path: Path) -> None:
    net = build(INNER + layer("Power", "a", "b", name="p"), (1, 3))
    net.save(tmp_path / "net.caffemodel")
    saved = caffe_pb2.NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    assert [each.name for each in saved.layer] == ["in_a", "a_in_a_0_split", "it", "p"]
    assert [each.type for each in saved.layer] == ["Input", "Split", "InnerProduct", "Power"]


@pytest.mark.parametrize("save", ["save", "save_hdf5"])
def test_a_net_that_cannot_be_saved_says_where_and_leaves_no_rest(
    save: str, tmp_path: Path
) -> None:
    pytest.importorskip("h5py")
    net = build(INNER, (1, 3))
    for path in (tmp_path / "missing" / "net.caffemodel", tmp_path):
        with pytest.raises(caffe.WriteError, match=rf"^{path}: cannot be written: \w+") as caught:
            getattr(net, save)(path)
        assert isinstance(caught.value, OSError)
        assert caught.value.errno
    assert list(tmp_path.iterdir()) == []
    assert not [path for path in tmp_path.parent.iterdir() if path.name.endswith(".part")]


# Running.


def test_start_does_not_run_what_comes_before_in_place_layers_included() -> None:
    net = build(
        layer("ReLU", "a", "a", name="relu") + layer("Power", "a", settings="power_param {}"),
        (1, 2),
    )
    net.forward(a=[[-1, 1]])
    net.blobs["a"].data[...] = [[-3, 3]]
    assert net.forward(start="it")["y"].tolist() == [[-3, 3]]


def test_a_blob_edited_before_its_split_is_overwritten_for_the_readers_only_by_the_split() -> None:
    text = layer("Power", "a", "m", name="m") + layer("Power", "m", "p", name="p")
    net = build(text + layer("Power", "m", "q", name="q"), (1, 1))
    net.forward(a=[[1]])
    net.blobs["m"].data[...] = 5
    outputs = net.forward(start="m_m_0_split")
    assert (outputs["p"].item(), outputs["q"].item()) == (5, 5)


def test_end_gives_that_layers_tops() -> None:
    net = build(layer("Power", "a", "m", name="m") + layer("Power", "m"), (1, 1))
    assert list(net.forward(end="m", a=[[2]])) == ["m"]


def test_only_the_batch_must_agree_and_numpy_broadcasts_the_rest() -> None:
    net = build(layer("Power", "a"), (2, 3))
    assert net.forward(a=np.array([[1], [2]]))["y"].tolist() == [[1, 1, 1], [2, 2, 2]]
    with pytest.raises(caffe.ShapeError, match=r"input 'a'.*batch is 2"):
        net.forward(a=np.ones((1, 3)))
    with pytest.raises(caffe.ShapeError, match="input 'a' is None"):
        net.forward(a=None)


def test_a_shrunk_blob_keeps_its_memory_and_tells_nobody() -> None:
    net = build(layer("Power", "a"), (2, 3))
    net.blobs["a"].data[...] = np.arange(6).reshape(2, 3)
    net.blobs["a"].reshape(1, 2)
    assert net.blobs["a"].data.tolist() == [[0, 1]]
    assert net.blobs["y"].shape == (2, 3)
    net.reshape()
    assert net.blobs["y"].shape == (1, 2)


def test_forward_all_takes_its_batch_from_the_first_blob_and_gives_copies() -> None:
    net = build(layer("Power", "a"), (2, 1))
    first = net.forward_all(a=np.arange(5).reshape(5, 1))["y"]
    net.forward_all(a=np.zeros((5, 1)))
    assert first.tolist() == [[0], [1], [2], [3], [4]]


def test_forward_backward_all_gives_outputs_and_gradients_without_the_padding() -> None:
    text = layer("Power", "a", settings="power_param { power: 2 }")
    net = caffe.Net(
        'force_backward: true layer { name: "in" type: "Input" top: "a" '
        "input_param { shape { dim: 2 dim: 1 } } }" + text,
        caffe.TEST,
    )
    values = np.arange(5, dtype=np.float32).reshape(5, 1)
    outputs, gradients = net.forward_backward_all(a=values, y=np.full((5, 1), 10))
    assert outputs["y"].ravel().tolist() == [0, 1, 4, 9, 16]
    assert gradients["a"].ravel().tolist() == [0, 20, 40, 60, 80]
    outputs, gradients = net.forward_backward_all(blobs=["a"], diffs=["y"], a=values, y=values)
    assert sorted(outputs) == ["a", "y"]
    assert gradients["y"].tolist() == values.tolist()


# Layers.


def test_accuracy_counts_a_tie_as_wrong() -> None:
    net = build(layer("Accuracy", "a b"), (2, 3), (2,))
    assert net.forward(a=[[1, 1, 1], [0, 2, 1]], b=[0, 1])["y"].item() == 0.5


def test_accuracy_by_class_passes_over_the_ignored_label() -> None:
    net = build(
        layer("Accuracy", "a b", "y each", "accuracy_param { ignore_label: 2 }"), (3, 3), (3,)
    )
    scores = [[9, 0, 0], [9, 0, 0], [9, 0, 0]]
    outputs = net.forward(a=scores, b=[0, 1, 2])
    assert outputs["y"].item() == 0.5
    assert outputs["each"].tolist() == [1, 0, 0]
    assert net.forward(a=scores, b=[2, 2, 2])["y"].item() == 0


def test_softmax_is_over_the_channels() -> None:
    net = build(layer("Softmax", "a"), (1, 2, 3, 4))
    assert np.allclose(net.forward(a=np.random.rand(1, 2, 3, 4))["y"].sum(1), 1)


def test_sigmoid_cross_entropy_is_divided_by_the_batch() -> None:
    net = build(layer("SigmoidCrossEntropyLoss", "a b"), (2, 3), (2, 3))
    loss = net.forward(a=np.zeros((2, 3)), b=np.ones((2, 3)))["y"].item()
    assert loss == pytest.approx(3 * np.log(2), rel=1e-5)


def test_exp_and_log_have_base_e_unless_told_otherwise() -> None:
    text = layer("Exp", "a", "e", name="exp") + layer("Log", "e")
    net = build(text + layer("Exp", "a", "two", "exp_param { base: 2 }", "two"), (1, 2))
    outputs = net.forward(blobs=["e"], a=[[1, 3]])
    assert np.allclose(outputs["e"], np.exp([[1, 3]]))
    assert np.allclose(outputs["y"], [[1, 3]], atol=1e-6)
    assert np.allclose(outputs["two"], [[2, 8]])


def test_mvn_adds_eps_to_the_deviation_and_not_to_the_variance() -> None:
    net = build(layer("MVN", "a", settings="mvn_param { eps: 1 }"), (1, 1, 1, 2))
    assert np.allclose(net.forward(a=[[[[-1, 1]]]])["y"], [[[[-0.5, 0.5]]]])


def test_slice_without_points_divides_evenly_or_says_that_it_cannot() -> None:
    net = build(layer("Slice", "a", "y z"), (1, 4))
    outputs = net.forward(a=[[1, 2, 3, 4]])
    assert (outputs["y"].tolist(), outputs["z"].tolist()) == ([[1, 2]], [[3, 4]])
    with pytest.raises(caffe.CaffeError, match=r"layer 'it' \(Slice\)"):
        build(layer("Slice", "a", "y z"), (1, 5))


def test_eltwise_does_not_broadcast_and_weighs_only_sums() -> None:
    with pytest.raises(caffe.ShapeError, match=r"layer 'it' \(Eltwise\)"):
        build(layer("Eltwise", "a b"), (2, 3), (1, 3))
    with pytest.raises(caffe.CaffeError, match="coeff"):
        build(
            layer("Eltwise", "a b", settings="eltwise_param { operation: PROD coeff: 1 coeff: 2 }"),
            (1, 3),
            (1, 3),
        )


def test_the_bias_of_a_scale_is_its_second_blob() -> None:
    net = build(layer("Scale", "a", settings="scale_param { bias_term: true }"), (1, 2, 1, 1))
    assert [blob.shape for blob in net.params["it"]] == [(2,), (2,)]
    net.params["it"][0].data[...] = [2, 3]
    net.params["it"][1].data[...] = [10, 20]
    assert net.forward(a=np.ones((1, 2, 1, 1)))["y"].ravel().tolist() == [12, 23]


@pytest.mark.parametrize(
    ("scale_train", "kept", "at_test"), [("", 4, 1), ("scale_train: false", 1, 0.25)]
)
@pytest.mark.parametrize("engine", ["auto", "layerwise"])
def test_dropout_gives_the_chance_of_dropping_and_scales_while_training(
    scale_train: str, kept: float, at_test: float, engine: str
) -> None:
    settings = f"dropout_param {{ dropout_ratio: 0.75 {scale_train} }}"
    caffe.set_random_seed(1)
    caffe.set_engine(engine)
    net = build(layer("Dropout", "a", settings=settings), (1, 4000), phase=caffe.TRAIN)
    values = net.forward(a=np.ones((1, 4000)))["y"]
    assert set(np.unique(values)) == {0.0, kept}
    assert 0.7 < (values == 0).mean() < 0.8
    test = build(layer("Dropout", "a", settings=settings), (1, 3))
    outcome = test.forward(a=np.ones((1, 3)))["y"].tolist()
    caffe.set_engine("auto")
    assert outcome == [[at_test] * 3]


# What the forks' texts hold.


def test_a_text_with_fields_of_a_fork_loads_and_is_reported_by_line() -> None:
    text = 'layer { name: "x" type: "ReLU"\n  top: "x" engine_of_mine: 3\n}'
    with pytest.warns(caffe.CaffeWarning, match=r"<text>:2.*engine_of_mine") as caught:
        net = parse_net(text)
    assert len(caught) == 1
    assert net.layer[0].name == "x"
