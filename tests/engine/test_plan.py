"""The prepared plan means what the layers mean, whatever is written or looked at, and when."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe import mode
from caffe.engine.backends import choice
from caffe.engine.backends.backend import Compiled
from caffe.engine.backends.choice import PATIENCE, Choice
from caffe.engine.backends.contest import FEWEST, TURN
from caffe.engine.backends.onednn_graph import OneDnnGraph
from caffe.engine.plan.operation import in_float32
from tests.helpers.plans import plan_of
from tests.helpers.precision import needs_bfloat16
from tests.helpers.second_store import CountingStore, use_store
from tests.helpers.translated import inputs

NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 4 dim: 3 dim: 64 dim: 64 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 24 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1"
        scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { kernel_size: 3 stride: 1 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" }
layer { name: "branch" type: "Convolution" bottom: "norm1" top: "branch"
        convolution_param { num_output: 24 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "branch" bottom: "norm1" top: "sum" }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "drop" type: "Dropout" bottom: "sum" top: "drop" }
layer { name: "fc" type: "InnerProduct" bottom: "drop" top: "fc"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "relu3" type: "ReLU" bottom: "fc" top: "fc" }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
PICTURES = np.random.default_rng(0).normal(size=(2, 4, 3, 64, 64)).astype(np.float32)
UNKEPT = ["conv1", "pool1", "norm1", "branch", "sum", "drop"]


@pytest.fixture(autouse=True, params=["torch", "openvino"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """What runs the plan; all that holds for one engine holds for the other."""
    if request.param == "openvino":
        pytest.importorskip("openvino")
    caffe.set_engine(request.param)
    yield request.param
    caffe.set_engine("auto")
    caffe.set_precision("float32")


@pytest.fixture
def net() -> caffe.Net:
    caffe.set_random_seed(5)
    net = caffe.Net(NET, caffe.TEST)
    rng = np.random.default_rng(1)
    for i, values in enumerate((rng.normal(size=24), rng.uniform(1, 2, 24), [2.0])):
        net.params["bn1"][i].data[...] = values
    net.params["scale1"][0].data[...] = rng.normal(size=24)
    return net


def layer_by_layer(net: caffe.Net, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Every blob of a net with the same parameters, run layer by layer."""
    engine = mode.engine()
    caffe.set_engine("layerwise")
    other = caffe.Net(NET, caffe.TEST)
    for name, blobs in net.params.items():
        for mine, theirs in zip(other.params[name], blobs, strict=True):
            mine.data[...] = theirs.data
    other.forward(data=pictures)
    caffe.set_engine(engine)
    return {name: blob.data.copy() for name, blob in other.blobs.items()}


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def deferred(net: caffe.Net) -> list[str]:
    return [name for name, blob in net.blobs.items() if blob.memory.is_deferred]


def test_blobs_that_nobody_looks_at_are_not_written_and_equal_when_looked_at(
    net: caffe.Net,
) -> None:
    expected = layer_by_layer(net, PICTURES[0])
    net.forward(data=PICTURES[0])
    assert set(UNKEPT) <= set(deferred(net))
    for name in reversed(UNKEPT):
        assert_close(net.blobs[name].data, expected[name])
    assert_close(net.blobs["prob"].data, expected["prob"])


def test_a_look_shows_the_last_forward_even_if_the_input_is_overwritten(net: caffe.Net) -> None:
    expected = layer_by_layer(net, PICTURES[0])
    net.forward(data=PICTURES[0])
    net.blobs["data"].data[...] = PICTURES[1]
    assert_close(net.blobs["conv1"].data, expected["conv1"])
    net.blobs["conv1"].data[...] = 0
    assert_close(net.blobs["norm1"].data, expected["norm1"])


def test_a_look_shows_the_last_forward_even_if_parameters_are_changed(net: caffe.Net) -> None:
    expected = layer_by_layer(net, PICTURES[0])
    net.forward(data=PICTURES[0])
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = 1
    for name in UNKEPT:
        assert_close(net.blobs[name].data, expected[name])


def test_the_second_look_computes_nothing(net: caffe.Net) -> None:
    net.forward(data=PICTURES[0])
    first = net.blobs["norm1"].data
    assert "pool1" in deferred(net)
    position = plan_of(net)._looks.look.position
    assert net.blobs["norm1"].data is first or np.shares_memory(net.blobs["norm1"].data, first)
    net.blobs["pool1"].data  # noqa: B018
    assert plan_of(net)._looks.look.position == position


def test_a_blob_looked_at_after_two_forwards_is_written_by_the_next(net: caffe.Net) -> None:
    for pictures in PICTURES:
        net.forward(data=pictures)
        net.blobs["norm1"].data.sum()
    net.forward(data=PICTURES[0])
    assert "norm1" not in deferred(net)
    assert "pool1" in deferred(net)


@pytest.mark.cpu
def test_an_array_that_is_held_shows_every_forward(net: caffe.Net) -> None:
    net.forward(data=PICTURES[0])
    held = net.blobs["norm1"].data[1:, 2]
    net.forward(data=PICTURES[1])
    assert_close(held, layer_by_layer(net, PICTURES[1])["norm1"][1:, 2])


def _hold_and_write(net: caffe.Net, tmp_path: Path) -> None:
    net.params["conv1"][0].data[...] *= 2


def _write_held_array_later(net: caffe.Net, tmp_path: Path) -> None:
    net.held[...] *= 2


def _copy_from(net: caffe.Net, tmp_path: Path) -> None:
    other = caffe.Net(NET, caffe.TEST)
    other.save(tmp_path / "other.caffemodel")
    net.copy_from(tmp_path / "other.caffemodel")


def _share_with(net: caffe.Net, tmp_path: Path) -> None:
    net.other = caffe.Net(NET, caffe.TEST)
    net.share_with(net.other)


def _write_statistics(net: caffe.Net, tmp_path: Path) -> None:
    net.params["bn1"][1].data[...] = 9
    net.params["bn1"][2].data[...] = 3


def _write_scale(net: caffe.Net, tmp_path: Path) -> None:
    net.params["scale1"][1].data.flat[3] = 9


def _write_large_weights(net: caffe.Net, tmp_path: Path) -> None:
    net.params["fc"][0].data[:, ::3] *= -1


def _write_through_torch(net: caffe.Net, tmp_path: Path) -> None:
    torch.from_numpy(net.params["branch"][0].data).mul_(-1)


@pytest.mark.parametrize(
    "write",
    [
        _hold_and_write,
        _write_held_array_later,
        _copy_from,
        _share_with,
        _write_statistics,
        _write_scale,
        _write_large_weights,
        _write_through_torch,
    ],
)
def test_each_way_of_writing_a_parameter_takes_effect(
    write: Callable[[caffe.Net, Path], None], net: caffe.Net, tmp_path: Path
) -> None:
    net.held = net.params["conv1"][0].data
    before = net.forward(data=PICTURES[0])["prob"].copy()
    for pictures in PICTURES:
        write(net, tmp_path)
        net.forward(data=pictures)
        expected = layer_by_layer(net, pictures)
        assert_close(net.blobs["prob"].data, expected["prob"])
        assert_close(net.blobs["norm1"].data, expected["norm1"])
        assert not np.array_equal(net.blobs["prob"].data, before)


def test_an_intermediate_blob_written_by_hand_takes_effect(net: caffe.Net) -> None:
    net.forward(data=PICTURES[0])
    net.blobs["norm1"].data[...] = 0
    out = net.forward(start="branch", end="sum")["sum"]
    assert np.array_equal(out, np.zeros_like(out))
    assert_close(net.forward()["prob"], layer_by_layer(net, PICTURES[0])["prob"])


def test_the_plan_in_a_second_store_means_the_same(net: caffe.Net) -> None:
    expected = layer_by_layer(net, PICTURES[0])
    store = CountingStore()
    use_store(store)
    try:
        net.forward(data=PICTURES[0])
        uploads = store.uploads
        net.forward(data=PICTURES[0])
        assert store.uploads == uploads + 1
        assert set(UNKEPT) <= set(deferred(net))
        for name in net.blobs:
            assert_close(net.blobs[name].data, expected[name])
        held = net.params["conv1"][0].data
        held[...] *= 2
        net.forward()
    finally:
        caffe.set_mode_cpu()
    assert_close(net.blobs["prob"].data, layer_by_layer(net, PICTURES[0])["prob"])


def test_a_recording_is_replayed_while_nothing_changes(net: caffe.Net) -> None:
    expected = [layer_by_layer(net, pictures) for pictures in PICTURES]
    store = CountingStore()
    use_store(store)
    try:
        for i in (0, 1, 0, 1, 0, 1, 0)[-PATIENCE - 2 :]:
            found = net.forward(data=PICTURES[i])["prob"]
            assert_close(found, expected[i]["prob"])
        assert store.replays == 3
        uploads = store.uploads
        net.forward(data=PICTURES[1])
        assert store.uploads == uploads + 1
        for name in reversed(UNKEPT):
            assert_close(net.blobs[name].data, expected[1][name])
        net.params["conv1"][0].data[...] *= 2
        net.forward(data=PICTURES[1])
        assert store.replays == 4
    finally:
        caffe.set_mode_cpu()
    assert_close(net.blobs["prob"].data, layer_by_layer(net, PICTURES[1])["prob"])


def test_weights_are_packed_once_and_stay_where_they_are(net: caffe.Net) -> None:
    weights = net.params["fc"][0].data.copy()
    for _ in range(3):
        net.forward(data=PICTURES[0])
    if mode.engine() == "torch":
        product = next(o for o in plan_of(net)._operations if o.label.startswith("layer 'fc'"))
        packed = product._packed
        net.forward(data=PICTURES[1])
        assert product._packed is packed
    assert np.array_equal(net.params["fc"][0].data, weights)
    expected = layer_by_layer(net, PICTURES[0])["prob"]
    assert_close(net.forward(data=PICTURES[0])["prob"], expected)


@pytest.mark.cpu
def test_the_plan_joins_what_belongs_together(net: caffe.Net) -> None:
    net.forward(data=PICTURES[0])
    joined = [[part.layer.name for part in o.parts] for o in plan_of(net)._operations]
    assert ["conv1", "bn1", "scale1", "relu1"] in joined
    assert ["branch", "sum", "relu2"] in joined
    assert ["fc", "relu3"] in joined


def test_layers_whose_tops_depend_on_values_follow_the_plan() -> None:
    net = caffe.Net(
        NET
        + """
        layer { name: "which" type: "Input" top: "which" input_param { shape { dim: 4 } } }
        layer { name: "some" type: "Filter" bottom: "sum" bottom: "which" top: "some" }
        """,
        caffe.TEST,
    )
    for which in ([1, 0, 0, 1], [0, 1, 0, 0]):
        out = net.forward(data=PICTURES[0], which=np.array(which))
        assert "conv1" in deferred(net)
        assert "sum" not in deferred(net)
        assert np.array_equal(out["some"], net.blobs["sum"].data[np.array(which, bool)])


def test_reshaping_makes_a_new_plan(net: caffe.Net) -> None:
    whole = net.forward(data=PICTURES[0])["prob"].copy()
    net.blobs["data"].reshape(1, 3, 64, 64)
    assert_close(net.forward(data=PICTURES[0, :1])["prob"], whole[:1])
    net.blobs["data"].reshape(9, 3, 64, 64)
    net.blobs["data"].reshape(4, 3, 64, 64)
    assert_close(net.forward(data=PICTURES[0])["prob"], whole)


def test_a_deleted_net_leaves_its_memory_at_once_but_for_what_is_held() -> None:
    net = caffe.Net(NET, caffe.TEST)
    net.forward(data=PICTURES[0])
    expected = layer_by_layer(net, PICTURES[0])["norm1"]
    blob = net.blobs["norm1"]
    gone = weakref.ref(net.blobs["conv1"].memory)
    plan = weakref.ref(plan_of(net))
    del net
    assert gone() is None
    assert_close(blob.data, expected)
    del blob
    assert plan() is None


def test_a_wrong_input_names_the_layer(net: caffe.Net) -> None:
    net.forward(data=PICTURES[0])
    net.blobs["data"].reshape(4, 3, 65, 64)
    with pytest.raises(caffe.ShapeError, match="layer 'fc'"):
        net.forward()


@pytest.mark.parametrize("name", ["squeezenet_v1.1", "bvlc_googlenet", "resnet50"])
def test_every_blob_of_a_published_net_equals_layer_by_layer(name: str) -> None:
    caffe.set_random_seed(2)
    model = caffe.zoo.record(name).net()
    for layer in model.layer:
        if layer.type in ("Convolution", "InnerProduct"):
            message = "convolution_param" if layer.type == "Convolution" else "inner_product_param"
            getattr(layer, message).weight_filler.type = "msra"
    net = caffe.Net(model, caffe.TEST)
    for blobs in (
        net.params[n] for n, layer in net.layer_dict.items() if layer.type == "BatchNorm"
    ):
        for i, value in enumerate((0.1, 2, 1)):
            blobs[i].data[...] = value
    shape = net.blobs["data"].shape
    net.blobs["data"].reshape(1, *shape[1:])
    net.blobs["data"].data[...] = np.random.default_rng(3).normal(size=(1, *shape[1:])) * 50
    net.forward()
    planned = {name: blob.data.copy() for name, blob in net.blobs.items()}
    caffe.set_engine("layerwise")
    net.forward()
    for blob_name, blob in net.blobs.items():
        assert_close(planned[blob_name], blob.data, 3e-5)


@needs_bfloat16
@pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")
def test_bfloat16_gives_float32_blobs_near_float32s(net: caffe.Net) -> None:
    expected = net.forward(data=PICTURES[0])["prob"].copy()
    caffe.set_precision("bfloat16")
    found = net.forward()["prob"]
    assert found.dtype == net.blobs["norm1"].data.dtype == np.float32
    assert not np.array_equal(found, expected)
    assert_close(found, expected, 0.05)
    caffe.set_precision("float32")
    assert_close(net.forward()["prob"], expected)


@needs_bfloat16
@pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")
def test_operations_of_short_numbers_are_known_in_float32(net: caffe.Net) -> None:
    expected = {name: x.copy() for name, x in net.forward(data=PICTURES[0]).items()}
    caffe.set_precision("bfloat16")
    net.forward()
    keys = {name: id(net.blobs[name].memory) for name in ("data", *expected)}
    given = {keys["data"]: torch.from_numpy(PICTURES[0])}
    found = in_float32(plan_of(net)._operations, given, set(keys.values()))
    for name, values in expected.items():
        assert_close(found[keys[name]].numpy(), values)


@needs_bfloat16
@pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")
def test_places_in_pictures_keep_their_digits_in_bfloat16() -> None:
    text = inputs((1, 4, 5, 6), (1, 3, 300, 300))
    for name in "cd":
        text += f"layer {{ name: '{name}' type: 'PriorBox' bottom: 'a' bottom: 'b'"
        text += f" top: '{name}' prior_box_param {{ min_size: 30 }} }}"
    text += "layer { name: 'all' type: 'Concat' bottom: 'c' bottom: 'd' top: 'all'"
    text += " concat_param { axis: 2 } }"
    net = caffe.Net(text, caffe.TEST)
    expected = net.forward()["all"].copy()
    caffe.set_precision("bfloat16")
    found = net.forward()["all"].copy()
    caffe.set_precision("float32")
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ["float64", "half", 3])
def test_an_unknown_precision_is_refused(name: str) -> None:
    with pytest.raises(caffe.CaffeError, match="float32, tf32, bfloat16, float16"):
        caffe.set_precision(name)
    with pytest.raises(
        caffe.CaffeError, match="auto, torch, onednn, openvino, onnxruntime, mnn, llvm, layerwise"
    ):
        caffe.set_engine(name)


def test_a_convolution_in_another_shape_is_not_joined_with_a_sum() -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3, 4, 5] } } }
    layer { name: "z" type: "Input" top: "z" input_param { shape { dim: [6, 1, 5, 1] } } }
    layer { name: "c" type: "Convolution" bottom: "z" top: "c"
            convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
    layer { name: "r" type: "Reshape" bottom: "c" top: "r"
            reshape_param { shape { dim: [2, 3, 4, 5] } } }
    layer { name: "sum" type: "Eltwise" bottom: "r" bottom: "x" top: "sum" }"""
    net = caffe.Net(text, caffe.TEST)
    generator = np.random.default_rng(0)
    given = {name: generator.normal(size=net.blobs[name].shape) for name in net.inputs}
    found = net.forward(**given)["sum"].copy()
    wanted = net.blobs["r"].data + given["x"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_sum_with_what_a_convolution_made_in_another_shape() -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 3, 4, 6] } } }
    layer { name: "z" type: "Input" top: "z" input_param { shape { dim: [4, 2, 2, 6] } } }
    layer { name: "first" type: "Convolution" bottom: "x" top: "first" convolution_param {
            num_output: 32 kernel_size: 1 weight_filler { type: "xavier" } } }
    layer { name: "r" type: "Reshape" bottom: "first" top: "r"
            reshape_param { shape { dim: [4, 16, 2, 6] } } }
    layer { name: "second" type: "Convolution" bottom: "z" top: "second" convolution_param {
            num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
    layer { name: "sum" type: "Eltwise" bottom: "second" bottom: "r" top: "sum" }"""
    net = caffe.Net(text, caffe.TEST)
    generator = np.random.default_rng(0)
    for _ in range(PATIENCE + 2):
        given = {name: generator.normal(size=net.blobs[name].shape) for name in net.inputs}
        found = net.forward(**given)["sum"].copy()
        wanted = net.blobs["second"].data + net.blobs["r"].data
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


TWO = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 4 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 24 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
"""


@pytest.mark.cpu
@pytest.mark.skipif(not OneDnnGraph.is_installed(), reason="no graphs of oneDNN's here")
@pytest.mark.usefixtures("try_small_nets")
@pytest.mark.parametrize("seconds", [0.9, 1.1])
def test_what_pytorch_packed_is_dropped_before_a_rival_is_prepared(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[weakref.ref[torch.Tensor]] = []
    found: list[int] = []

    def count() -> int:
        return sum(one() is not None for one in packed)

    class Rival(OneDnnGraph):
        def at_best(self, by_torch: float, operations: int) -> float:
            return 0.0

        def compile(self, *given: Any) -> Compiled:
            found.append(count())
            return super().compile(*given)

    def judge(tried: Choice, ran: Compiled | None, *_: object) -> None:
        if ran is None:
            first, last = plan_of(net)._operations
            parts = vars(first).get("_weight"), vars(last).get("_packed")
            packed[:] = [weakref.ref(x) for x in parts if x is not None]
            found.append(count())
        known(tried, ran, 1.0 if ran is None else seconds, False)

    known = Choice.judge
    monkeypatch.setattr(Choice, "judge", judge)
    monkeypatch.setattr(choice, "LIBRARIES", dict.fromkeys(("onednn", "another"), Rival))
    net = caffe.Net(TWO, caffe.TEST)
    pictures = np.random.default_rng(0).normal(size=(4, 3, 16, 16))
    expected = net.forward(data=pictures)["fc"].copy()
    while not plan_of(net).is_settled:
        np.testing.assert_allclose(net.forward(data=pictures)["fc"], expected, atol=1e-5)
    # In the first run the product's are not packed yet, in PyTorch's turns at once.
    alone = [1, *[2] * (PATIENCE - 2), 0]
    turns = [2] * TURN * FEWEST
    assert found == alone + turns + ([0] if seconds < 1 else [0, *turns])
