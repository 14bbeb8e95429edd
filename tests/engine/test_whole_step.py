"""Steps of training that are recorded, beside the same ones by hand, to the same bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import caffe
from caffe.engine.whole_step import PATIENCE
from caffe.layers.layer import Layer, registered
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.files import parse_net
from caffe.solver.solver import Action
from tests.helpers.replaying_store import ReplayingStore
from tests.helpers.second_store import CountingStore, use_store

# Of fewer than four channels, which leave the CPU's own kernels out: these are not recorded.
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [6, 2, 9, 9] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "branch" type: "Convolution" bottom: "conv" top: "branch"
        convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "own" type: "BatchNorm" bottom: "branch" top: "own" }
layer { name: "factor" type: "Scale" bottom: "own" top: "own" scale_param { bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "own" top: "sum" }
layer { name: "norm" type: "LRN" bottom: "sum" top: "norm" lrn_param { local_size: 3 } }
layer { name: "most" type: "Pooling" bottom: "norm" top: "most"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "mean" type: "Pooling" bottom: "norm" top: "mean"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "both" type: "Concat" bottom: "most" bottom: "mean" top: "both" }
layer { name: "drop" type: "Dropout" bottom: "both" top: "both" }
layer { name: "flat" type: "Flatten" bottom: "both" top: "flat" }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "squash" type: "Sigmoid" bottom: "ip" top: "squash" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "squash" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "squash" bottom: "label" top: "accuracy" }
"""

SEGNET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [6, 3, 3, 3] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: [6, 1, 6, 6] } } }
layer { name: "conv" type: "Deconvolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 2 stride: 2
                            weight_filler { type: "msra" } } }
layer { name: "bn" type: "BN" bottom: "conv" top: "bn" bn_param { bn_mode: LEARN
        scale_filler { type: "constant" value: 1 } } }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool" top: "places"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Upsample" bottom: "pool" bottom: "places" top: "up"
        upsample_param { scale: 2 } }
layer { name: "smaller" type: "Interp" bottom: "up" top: "smaller"
        interp_param { shrink_factor: 2 } }
layer { name: "wide" type: "Padding" bottom: "smaller" top: "wide" padding_param { pad_t: 1 } }
layer { name: "larger" type: "Interp" bottom: "wide" bottom: "up" top: "larger" }
layer { name: "sum" type: "Eltwise" bottom: "larger" bottom: "up" top: "sum" }
layer { name: "scores" type: "Convolution" bottom: "sum" top: "scores"
        convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss"
        loss_param { weight_by_label_freqs: true class_weighting: [0.5, 1, 2] } }
"""

STEPS = PATIENCE + 4


class Cramped(CountingStore):
    """Has no room for recordings."""

    def has_room(self, count: int) -> bool:
        return False


@pytest.fixture(autouse=True)
def _back_to_the_cpu() -> Iterator[None]:
    yield
    caffe.set_mode_cpu()


def _solver(
    store: CountingStore, net: str = NET, kind: type[caffe.Solver] = caffe.SGDSolver, **more: object
) -> caffe.Solver:
    use_store(store)
    param = SolverParameter(
        net_param=parse_net(net), base_lr=0.1, lr_policy="fixed", random_seed=1, **more
    )
    if kind in (caffe.SGDSolver, caffe.AdamSolver):
        param.momentum = 0.9
    solver = kind(param)
    _feed(solver, 0)
    return solver


def _feed(solver: caffe.Solver, number: int) -> None:
    rng = np.random.default_rng(number)
    blobs = solver.net.blobs
    blobs["data"].data[...] = rng.standard_normal(blobs["data"].shape)
    if solver.net.layers[1].type == "Input":
        blobs["label"].data[...] = rng.integers(0, 3, blobs["label"].shape)


def _all_of(solver: caffe.Solver) -> dict[str, np.ndarray]:
    """Every array of a solver's net."""
    net = solver.net
    found = {f"{name}, data": blob.data.copy() for name, blob in net.blobs.items()}
    found |= {f"{name}, diff": blob.diff.copy() for name, blob in net.blobs.items()}
    for name, params in net.params.items():
        for i, blob in enumerate(params):
            found |= {f"{name} {i}": blob.data.copy(), f"{name} {i}, diff": blob.diff.copy()}
    return found


def _train(
    store: CountingStore, between: Callable[[caffe.Solver, int], object], **more: object
) -> tuple[list[float], dict[str, np.ndarray]]:
    """Train, and do something before each step; return losses, and all arrays at the end."""
    solver = _solver(store, **more)  # type: ignore[arg-type]
    losses = []
    for number in range(STEPS):
        between(solver, number)
        solver.step(1)
        losses.append(solver.loss)
    return losses, _all_of(solver)


def _check_alike(
    between: Callable[[caffe.Solver, int], object] = _feed, tolerance: float = 0, **more: object
) -> None:
    store = ReplayingStore()
    losses, arrays = _train(store, between, **more)
    assert store.replays, "nothing was recorded"
    expected_losses, expected = _train(Cramped(), between, **more)
    assert losses == pytest.approx(expected_losses, rel=tolerance, abs=0)
    assert len(set(losses)) == len(losses)
    for name, values in expected.items():
        np.testing.assert_allclose(
            arrays[name], values, rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("kind", [caffe.SGDSolver, caffe.AdamSolver, caffe.RMSPropSolver])
def test_each_method_trains_as_by_hand(kind: type[caffe.Solver]) -> None:
    _check_alike(kind=kind, weight_decay=0.01, clip_gradients=3.0)


def test_gradients_of_several_passes_add_up() -> None:
    _check_alike(iter_size=3)


def test_held_arrays_and_written_parameters_are_heeded() -> None:
    held = []

    def between(solver: caffe.Solver, number: int) -> None:
        _feed(solver, number)
        held.append(solver.net.params["ip"][0].data)
        held[-1][number % 3] *= 0.5
        held.append(solver.net.blobs["data"].data)
        held.append(solver.net.blobs["own"].diff)
        if number == PATIENCE + 2:
            solver.net.params["bn"][0].data[...] = 0.5

    _check_alike(between)


def test_a_loss_weight_that_somebody_writes_counts_from_the_next_step_on() -> None:
    def between(solver: caffe.Solver, number: int) -> None:
        _feed(solver, number)
        if number == PATIENCE + 2:
            solver.net.blobs["loss"].diff[...] = 0.25

    _check_alike(between)


def test_passes_in_between_change_nothing() -> None:
    def between(solver: caffe.Solver, number: int) -> None:
        _feed(solver, number)
        if number % 2:
            solver.net.backward()
            _feed(solver, number + 100)
            solver.net.forward()
            solver.net.backward(start="both", end="branch")
        solver.net.clear_param_diffs()

    _check_alike(between)


def test_losses_and_layers_that_pass_gradients_on_as_they_are() -> None:
    net = (
        NET[: NET.index('layer { name: "flat"')]
        + """
    layer { name: "mvn" type: "MVN" bottom: "both" top: "mvn" }
    layer { name: "less" type: "Clip" bottom: "mvn" top: "less" clip_param { min: -1 max: 1 } }
    layer { name: "unit" type: "Normalize" bottom: "less" top: "unit" }
    layer { name: "sum0" type: "Reduction" bottom: "unit" top: "sum0" reduction_param { axis: 1 } }
    layer { name: "own1" type: "Power" bottom: "sum0" top: "own1" }
    layer { name: "twice" type: "Eltwise" bottom: "own1" bottom: "sum0" top: "twice"
            loss_weight: 0.5 }
    layer { name: "silence" type: "Silence" bottom: "sum0" }
    layer { name: "far" type: "SmoothL1Loss" bottom: "sum0" bottom: "label" top: "far" }
    """
    )
    _check_alike(net=net)


def test_a_net_that_is_told_to_go_back_to_its_data_has_their_gradients() -> None:
    _check_alike(net="force_backward: true\n" + NET)


def test_layers_ahead_of_all_that_is_trained_run_by_their_plan() -> None:
    fixed = "param { lr_mult: 0 decay_mult: 0 }"
    net = NET.replace('top: "conv"\n', f'top: "conv" {fixed * 2}\n', 1)
    net = net.replace("scale_param { bias", f"{fixed * 2} scale_param {{ bias", 1)
    net = net.replace(
        'top: "conv" }', 'top: "conv" batch_norm_param { use_global_stats: true } }', 1
    )
    _check_alike(net=net)
    store = ReplayingStore()
    solver = _solver(store, net)
    solver.step(STEPS)
    reasons = dict(zip(solver.net._layer_names, solver.net.explain(), strict=True))
    assert "convolution" in reasons["conv"]
    assert reasons["branch"] == "recorded with all that is trained"


@pytest.mark.parametrize("passes", [1, 2])
def test_parameters_that_layers_share_are_trained_once(passes: int) -> None:
    net = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [6, 4] } } }
    layer { name: "label" type: "Input" top: "label" input_param { shape { dim: [6] } } }
    layer { name: "one" type: "InnerProduct" bottom: "data" top: "one" param { name: "w" }
            inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
    layer { name: "act" type: "TanH" bottom: "one" top: "one" }
    layer { name: "two" type: "InnerProduct" bottom: "one" top: "two" param { name: "w" }
            inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "two" bottom: "label" top: "loss" }
    """
    # Several passes add up in another order.
    _check_alike(net=net, iter_size=passes, tolerance=0 if passes == 1 else 1e-5)


INPUTS = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [6, 2, 3, 3] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 6 } } }
"""
PRODUCT = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
LOSS = """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
FLATTENED = """
force_backward: true
layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }
""" + PRODUCT.replace('bottom: "data"', 'bottom: "flat"')


def test_a_held_array_of_an_input_that_is_reshaped_is_read() -> None:
    held: dict[caffe.Solver, np.ndarray] = {}

    def between(solver: caffe.Solver, number: int) -> None:
        if not number:
            held[solver] = solver.net.blobs["data"].data
        held[solver][number % 6] = number

    _check_alike(between, net=INPUTS + FLATTENED + LOSS)


def test_what_was_written_into_an_array_before_it_was_dropped_is_read() -> None:
    held = []

    def between(solver: caffe.Solver, number: int) -> None:
        if number == PATIENCE:
            held.append(solver.net.blobs["data"].data)
        elif number == PATIENCE + 2:
            held.pop()[...] = 3

    _check_alike(between, net=INPUTS + PRODUCT + LOSS)


def test_an_input_that_is_reshaped_need_not_be_written_again() -> None:
    def between(solver: caffe.Solver, number: int) -> None:
        # Then steps are by hand again.
        caffe.set_precision("bfloat16" if number > PATIENCE + 1 else "float32")

    try:
        _check_alike(between, net=INPUTS + FLATTENED + LOSS)
    finally:
        caffe.set_precision("float32")


def test_gradients_that_are_the_top_s_are_told() -> None:
    def between(solver: caffe.Solver, number: int) -> None:
        _feed(solver, number)
        if number == PATIENCE + 2:
            solver.net.blobs["sum"].diff[...] = 2

    text = """
    layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "two" top: "sum" loss_weight: 0.5 }
    """
    _check_alike(between, net=INPUTS + PRODUCT + PRODUCT.replace('"ip"', '"two"') + text)


def test_a_loss_that_nothing_learned_bears_on_counts() -> None:
    text = """
    layer { name: "beside" type: "EuclideanLoss" bottom: "data" bottom: "data" top: "beside" }
    layer { name: "sum" type: "Eltwise" bottom: "label" bottom: "label" top: "sum" loss_weight: 2 }
    """
    _check_alike(net=INPUTS + PRODUCT + LOSS + text)


def test_statistics_that_layers_share_are_of_all_of_them() -> None:
    text = """
    layer { name: "norm" type: "BatchNorm" bottom: "ip" top: "norm"
            param { name: "mean" lr_mult: 0 } param { name: "variance" lr_mult: 0 }
            param { name: "count" lr_mult: 0 } }
    """
    both = PRODUCT + text
    other = both.replace('"ip"', '"two"').replace('"norm"', '"other"')
    total = """
    layer { name: "sum" type: "Eltwise" bottom: "norm" bottom: "other" top: "sum" }
    """
    _check_alike(net=INPUTS + both + other + total + LOSS.replace('"ip"', '"sum"'))


def test_statistics_are_those_of_forward_whatever_is_changed_behind_it() -> None:
    text = """
    layer { name: "norm" type: "BatchNorm" bottom: "ip" top: "norm" }
    layer { name: "same" type: "Reshape" bottom: "ip" top: "same"
            reshape_param { shape { dim: [0, -1] } } }
    layer { name: "act" type: "TanH" bottom: "same" top: "same" }
    layer { name: "sum" type: "Eltwise" bottom: "norm" bottom: "same" top: "sum" }
    """
    _check_alike(net=INPUTS + PRODUCT + text + LOSS.replace('"ip"', '"sum"'))


BOTH = (
    PRODUCT.replace('"ip"', '"beside"').replace('"data"', '"other"')
    + """
layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "beside" top: "sum" }
"""
    + LOSS.replace('"ip"', '"sum"')
)


def test_inputs_that_share_their_memory_change_together() -> None:
    text = """
    layer { name: "copy" type: "Split" bottom: "data" top: "one" top: "other" }
    layer { name: "bias" type: "Bias" bottom: "other" top: "other"
            bias_param { filler { type: "constant" value: 2 } } }
    """
    _check_alike(net=INPUTS + text + PRODUCT.replace('"data"', '"one"') + BOTH)


def test_inputs_keep_their_digits_where_short_ones_were_in_their_place() -> None:
    def between(solver: caffe.Solver, number: int) -> None:
        caffe.set_precision("bfloat16")
        if number != PATIENCE:
            # What a layer has left in the place of the last ones is recorded.
            _feed(solver, number)

    text = """
    force_backward: true
    layer { name: "means" type: "LRN" bottom: "data" top: "means" }
    layer { name: "other" type: "Reshape" bottom: "data" top: "other"
            reshape_param { shape { dim: [0, 2, 3, 3] } } }
    layer { name: "drop" type: "Dropout" bottom: "other" top: "other" }
    """
    try:
        _check_alike(between, net=INPUTS + text + PRODUCT.replace('"data"', '"means"') + BOTH)
    finally:
        caffe.set_precision("float32")


@pytest.mark.parametrize("kind", [ReplayingStore, Cramped])
def test_a_held_gradient_of_a_parameter_is_not_its_top_s(kind: type[CountingStore]) -> None:
    net = (
        INPUTS
        + """
    layer { name: "own" type: "Parameter" top: "own"
            parameter_param { shape { dim: [6, 2, 3, 3] } } }
    layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "own" top: "sum" }
    """
        + PRODUCT.replace('"data"', '"sum"')
        + LOSS
    )
    found = []
    for store in (kind(), None):
        solver = _solver(store or Cramped(), net, caffe.AdamSolver)
        if store is None:
            caffe.set_mode_cpu()
        held = solver.net.blobs["own"].diff
        solver.step(STEPS)
        found.append(solver.net.blobs["sum"].diff.copy())
        del held
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-7)


def test_other_shapes_are_recorded_anew() -> None:
    replays, found = [], []
    for store in (ReplayingStore(), Cramped()):
        solver = _solver(store)
        for items in (4, 7):
            solver.net.blobs["data"].reshape(items, 2, 9, 9)
            solver.net.blobs["label"].reshape(items)
            for number in range(STEPS):
                _feed(solver, number)
                solver.step(1)
                found.append(solver.loss)
            replays.append(store.replays)
    assert 0 < replays[0] < replays[1]
    assert found[: 2 * STEPS] == found[2 * STEPS :]


def test_a_net_that_tests_sees_what_is_trained() -> None:
    found = []
    for store in (ReplayingStore(), Cramped()):
        solver = _solver(store)
        test = caffe.Net(parse_net(NET), caffe.TEST)
        test.share_with(solver.net)
        seen = []
        for number in range(STEPS):
            _feed(solver, number)
            solver.step(1)
            data, label = (solver.net.blobs[name].data for name in ("data", "label"))
            seen.append(float(test.forward(data=data, label=label)["loss"]))
        found.append(seen)
    assert found[0] == found[1]
    assert len(set(found[0])) == STEPS


def test_a_wrong_label_is_refused_by_its_layer() -> None:
    solver = _solver(ReplayingStore())
    solver.step(STEPS)
    solver.net.blobs["label"].data[4] = 7
    with pytest.raises(caffe.CaffeError, match=r"layer 'loss'.* the label 7 at \[4\]"):
        solver.step(1)


class _Source(Layer):
    """Gives labels, of which one is wrong at one forward, and notes each."""

    bottoms = 0
    tops = 1
    on_blobs = True
    wrong: ClassVar[int] = -1
    seen: ClassVar[list[str]] = []

    def reshape_blobs(self, bottoms: list[Any], tops: list[Any]) -> None:
        tops[0].reshape(6)

    def forward_blobs(self, bottoms: list[Any], tops: list[Any]) -> None:
        labels = np.arange(6) % 3
        if len(self.seen) == self.wrong:
            labels[4] = 8
        tops[0].data[...] = labels
        self.seen.append("data")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> str:
    """The net with labels of that source."""
    monkeypatch.setitem(registered, "TestSource", _Source)
    monkeypatch.setattr(_Source, "seen", [])
    given = 'name: "label" type: "Input" top: "label" input_param { shape { dim: 6 } }'
    assert given in NET
    return NET.replace(given, 'name: "label" type: "TestSource" top: "label"')


def test_the_next_data_are_read_before_the_last_loss_is_waited_for(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Store(ReplayingStore):
        def fetch(self, array: torch.Tensor) -> Callable[[], torch.Tensor]:
            return lambda: (_Source.seen.append("known"), self.download(array))[1]

    solver = _solver(Store(), source)
    solver.step(STEPS)
    del _Source.seen[:]
    solver.step(3)
    assert _Source.seen == ["data", "data", "known", "data", "known", "known"]


def test_whoever_is_asked_after_each_step_finds_its_loss() -> None:
    solver, found = _solver(ReplayingStore()), []

    def action() -> Action:
        found.append(solver.loss)
        return Action.NONE

    solver.action = action
    solver.step(STEPS)
    one_by_one = _solver(Cramped())
    for number in range(STEPS):
        one_by_one.step(1)
        assert found[number] == one_by_one.loss


def test_a_step_that_tells_of_each_layer_has_the_last_loss() -> None:
    found = []
    for store in (ReplayingStore(), Cramped()):
        solver = _solver(store, debug_info=True, display=STEPS + 1)
        solver.step(STEPS)
        solver.step(2)
        found.append(solver.loss)
    assert found[0] == found[1]


@pytest.mark.parametrize("passes", [1, 3])
def test_a_label_that_was_wrong_is_named_once_others_are_there(
    source: str, monkeypatch: pytest.MonkeyPatch, passes: int
) -> None:
    monkeypatch.setattr(_Source, "wrong", STEPS * passes)
    solver = _solver(ReplayingStore(), source, iter_size=passes)
    solver.step(STEPS)
    with pytest.raises(caffe.CaffeError, match=r"layer 'loss'.* the label 8 at \[4\]"):
        solver.step(3)


def test_whoever_is_called_for_each_layer_still_is() -> None:
    solver = _solver(ReplayingStore())
    solver.step(STEPS)
    seen: list[int] = []
    solver.net.after_backward(seen.append)
    solver.step(1)
    assert seen == [*range(len(solver.net.layers))][::-1]


def test_a_gradient_that_is_replaced_is_used() -> None:
    store = ReplayingStore()
    solver = _solver(store)
    solver.step(STEPS)
    replays = store.replays
    layer = solver.net.layers[list(solver.net._layer_names).index("ip")]
    layer.backward = lambda diffs, tops, inputs, needs: [  # type: ignore[method-assign]
        torch.full_like(x, 2.0) for x in inputs
    ]
    solver.step(1)
    # What is left behind Dropout is doubled.
    assert set(np.unique(solver.net.blobs["flat"].diff)) == {0, 4}
    assert store.replays == replays


def test_a_step_moves_no_more_than_its_loss() -> None:
    store = ReplayingStore()
    solver = _solver(store)
    solver.step(STEPS)
    before = store.moved
    solver.step(5)
    assert store.moved == (before[0], before[1] + 5)


def test_a_layer_that_asks_for_values_is_not_recorded() -> None:
    named = (
        NET
        + """
    layer { name: "named" type: "Embed" bottom: "label" top: "named"
            embed_param { num_output: 3 input_dim: 3 } }
    layer { name: "far" type: "EuclideanLoss" bottom: "ip" bottom: "named" top: "far" }
    """
    )
    store = ReplayingStore()
    _train(store, _feed, net=named)
    assert not store.replays


def test_a_net_that_enlarges_by_places_with_weights_of_classes_is_recorded() -> None:
    _check_alike(net=SEGNET)


def test_a_place_that_is_none_is_refused_by_its_layer() -> None:
    net = SEGNET.replace('bottom: "places" top: "up"', 'bottom: "data" top: "up"')
    store = ReplayingStore()
    solver = _solver(store, net)
    solver.net.blobs["data"].data[...] = 3
    solver.step(STEPS)
    assert store.replays
    solver.net.blobs["data"].data[0, 0, 0, 1] = 40
    with pytest.raises(caffe.CaffeError, match=r"layer 'up'.*names the place 40"):
        solver.step(1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("out of memory"), ": out of memory$"),
        (RuntimeError("CUDA error: refused\nCUDA kernel errors might be"), "error: refused$"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has a"),
            ": memory does not suffice for a recording; a smaller batch needs less$",
        ),
    ],
)
def test_what_cannot_be_recorded_goes_on_by_hand(error: Exception, said: str) -> None:
    class Broken(CountingStore):
        def record(self, function: object, tries: bool = True) -> None:  # type: ignore[override]
            raise error

    expected = _train(Cramped(), _feed)
    with pytest.warns(caffe.CaffeWarning, match=f"cannot be recorded.*{said}"):
        losses, arrays = _train(Broken(), _feed)
    assert losses == expected[0]
    assert all(np.array_equal(arrays[name], values) for name, values in expected[1].items())
