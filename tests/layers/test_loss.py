"""Losses: what the golden cases do not cover."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import caffe
from caffe.errors import NetError, ShapeError
from caffe.layers.layer import Layer, as_tensors
from caffe.proto.caffe_pb2 import BlobProto
from tests.helpers.gradient import check_gradient
from tests.helpers.running import lone_layer

RANDOM = np.random.default_rng(1)
BOTTOMS = ("x", "label", "h")


def make(layer_type: str, inputs: list[Tensor], text: str = "", tops: int = 1) -> Layer:
    bottoms = " ".join(f'bottom: "{name}"' for name in BOTTOMS[: len(inputs)])
    names = " ".join(f'top: "top{i}"' for i in range(tops))
    shapes = [tuple(x.shape) for x in inputs]
    layer = lone_layer(f'name: "loss" type: "{layer_type}" {bottoms} {names} {text}', shapes)
    assert layer.blobs == []
    assert layer.top_shapes(*shapes)[0] == ()
    return layer


def numbers(*shape: int) -> Tensor:
    return torch.from_numpy(RANDOM.normal(size=shape))


def labels(classes: int, *shape: int) -> Tensor:
    return torch.from_numpy(RANDOM.integers(0, classes, shape).astype(np.float64))


def loss(layer: Layer, inputs: list[Tensor]) -> float:
    return float(as_tensors(layer.forward(*inputs))[0])


def gradient(layer: Layer, inputs: list[Tensor], weight: float = 1) -> list[Tensor | None]:
    needs = [i not in layer.no_gradient_for for i in range(len(inputs))]
    tops = as_tensors(layer.forward(*inputs))
    diffs = [torch.full_like(tops[0], weight), *[torch.ones_like(top) for top in tops[1:]]]
    return list(layer.backward(diffs, tops, inputs, needs))


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize(
    ("layer_type", "inputs", "text"),
    [
        ("SoftmaxWithLoss", [numbers(3, 4, 2), labels(4, 3, 2)], ""),
        (
            "SoftmaxWithLoss",
            [numbers(3, 2, 4), labels(4, 3, 2)],
            "softmax_param { axis: -1 } loss_param { ignore_label: 2 normalization: FULL }",
        ),
        ("InfogainLoss", [numbers(3, 4, 2), labels(4, 3, 2), numbers(4, 4)], ""),
        (
            "InfogainLoss",
            [numbers(3, 2, 4), labels(4, 3, 2), numbers(1, 1, 4, 4)],
            "infogain_loss_param { axis: 2 } loss_param { ignore_label: 1 normalization: NONE }",
        ),
        ("MultinomialLogisticLoss", [numbers(3, 4, 2).abs() + 0.1, labels(8, 3)], ""),
        ("EuclideanLoss", [numbers(3, 4, 2), numbers(3, 8)], ""),
        ("HingeLoss", [numbers(3, 4, 2), labels(8, 3, 1)], ""),
        ("HingeLoss", [numbers(3, 4), labels(4, 3)], "hinge_loss_param { norm: L2 }"),
        (
            "ContrastiveLoss",
            [numbers(5, 3), numbers(5, 3, 1), torch.tensor([0.0, 1, 0, 1, 0])],
            "contrastive_loss_param { margin: 4 legacy_version: true }",
        ),
        ("SigmoidCrossEntropyLoss", [numbers(3, 4), torch.rand(3, 4).double()], ""),
        (
            "SigmoidCrossEntropyLoss",
            [numbers(3, 2, 2), labels(3, 3, 4)],
            "loss_param { ignore_label: 2 normalization: VALID }",
        ),
    ],
)
def test_gradient_agrees_with_finite_differences(
    layer_type: str, inputs: list[Tensor], text: str
) -> None:
    bottoms = " ".join(f'bottom: "{name}"' for name in BOTTOMS[: len(inputs)])
    text = f'type: "{layer_type}" {bottoms} top: "loss" {text}'
    check_gradient(text, [x.numpy() for x in inputs], tolerance=1e-5)


def test_contrastive_gradient_is_finite_for_equal_pairs() -> None:
    a = numbers(2, 3)
    inputs = [a, a.clone(), torch.tensor([0.0, 1.0])]
    found = gradient(make("ContrastiveLoss", inputs), inputs)
    assert all(float(g.abs().sum()) == 0 for g in found[:2] if g is not None)


@pytest.mark.parametrize("ignore", [None, 1, 255])
@pytest.mark.parametrize("mode", ["FULL", "VALID", "BATCH_SIZE", "NONE"])
def test_softmax_loss_by_the_book(mode: str, ignore: int | None) -> None:
    x, y = numbers(2, 3, 4, 5), labels(3, 2, 4, 5)
    if ignore is not None:
        y[0, 1] = ignore
    ignored = f"ignore_label: {ignore}" if ignore is not None else ""
    layer = make(
        "SoftmaxWithLoss", [x, y], f"loss_param {{ normalization: {mode} {ignored} }}", tops=2
    )
    p = softmax(x.numpy(), 1)
    total, count = 0.0, 0
    for n, h, w in np.ndindex(2, 4, 5):
        label = int(y[n, h, w])
        if label != ignore:
            total -= np.log(p[n, label, h, w])
            count += 1
    divisor = {"FULL": 40, "VALID": count, "BATCH_SIZE": 2, "NONE": 1}[mode]
    found, probabilities = layer.forward(x, y)
    assert float(found) == pytest.approx(total / divisor)
    np.testing.assert_allclose(probabilities, p)
    assert layer.top_shapes((2, 3, 4, 5), (2, 4, 5)) == [(), (2, 3, 4, 5)]


def test_softmax_loss_with_segnets_weights() -> None:
    x, y = numbers(2, 3, 4, 5), labels(3, 2, 4, 5)
    weights = [0.5, 2, 7]
    said = f"weight_by_label_freqs: true class_weighting: {weights} ignore_label: 0"
    layer = make("SoftmaxWithLoss", [x, y], f"loss_param {{ {said} }}")
    p = softmax(x.numpy(), 1)
    losses = [
        -weights[int(y[n, h, w])] * np.log(p[n, int(y[n, h, w]), h, w])
        for n, h, w in np.ndindex(2, 4, 5)
        if y[n, h, w] != 0
    ]
    assert float(layer.forward(x, y)[0]) == pytest.approx(np.mean(losses))
    with pytest.raises(NetError, match="a class_weighting for each of the 3 classes, not 1"):
        make(
            "SoftmaxWithLoss",
            [x, y],
            "loss_param { weight_by_label_freqs: true class_weighting: 1 }",
        ).top_shapes((2, 3, 4, 5), (2, 4, 5))


def test_softmax_loss_with_jacintos_weights() -> None:
    x, y = numbers(2, 3, 4, 5), labels(3, 2, 4, 5)
    weights = [0.5, 2, 7]
    segnet = f"loss_param {{ weight_by_label_freqs: true class_weighting: {weights} }}"
    ours = make("SoftmaxWithLoss", [x, y], f"loss_param {{ label_weights: {weights} }}")
    assert float(ours.forward(x, y)[0]) == float(
        make("SoftmaxWithLoss", [x, y], segnet).forward(x, y)[0]
    )
    with pytest.raises(NetError, match="a label_weights for each of the 3 classes, not 2"):
        make("SoftmaxWithLoss", [x, y], "loss_param { label_weights: [1, 2] }").top_shapes(
            (2, 3, 4, 5), (2, 4, 5)
        )


def test_weighted_softmax_loss_multiplies_one_class() -> None:
    x, y = numbers(6, 3), labels(3, 6)
    layer = make("WeightedSoftmaxWithLoss", [x, y], "softmax_param { pos_cid: 2 pos_mult: 5 }")
    p = softmax(x.numpy(), 1)
    losses = [-(5 if int(k) == 2 else 1) * np.log(p[n, int(k)]) for n, k in enumerate(y)]
    assert float(layer.forward(x, y)[0]) == pytest.approx(np.mean(losses))


def test_weighted_softmax_loss_multiplies_each_place() -> None:
    x, y, w = numbers(2, 3, 4, 5), labels(3, 2, 4, 5), numbers(2, 1, 4, 5).abs()
    layer = make("WeightedSoftmaxWithLoss", [x, y, w], "loss_param { ignore_label: 0 }")
    p = softmax(x.numpy(), 1)
    places = [(n, h, q) for n, h, q in np.ndindex(2, 4, 5) if y[n, h, q] != 0]
    losses = [-float(w[n, 0, h, q]) * np.log(p[n, int(y[n, h, q]), h, q]) for n, h, q in places]
    whole = sum(float(w[n, 0, h, q]) for n, h, q in places)
    assert float(layer.forward(x, y, w)[0]) == pytest.approx(sum(losses) / whole)
    with pytest.raises(ShapeError, match="the weights must be as many as the labels"):
        layer.top_shapes((2, 3, 4, 5), (2, 4, 5), (2, 1, 4, 4))


def test_the_new_field_wins_over_the_old_one() -> None:
    inputs = [numbers(4, 3), labels(3, 4)]
    by_item = loss(make("SoftmaxWithLoss", inputs, "loss_param { normalize: false }"), inputs)
    text = "loss_param { normalize: false normalization: NONE }"
    assert loss(make("SoftmaxWithLoss", inputs, text), inputs) == pytest.approx(4 * by_item)


def test_all_labels_ignored_gives_zero() -> None:
    inputs = [numbers(4, 3), torch.full((4,), 9.0)]
    for layer_type in ("SoftmaxWithLoss", "SigmoidCrossEntropyLoss"):
        given = inputs if layer_type == "SoftmaxWithLoss" else [inputs[0], torch.full((4, 3), 9.0)]
        text = "loss_param { ignore_label: 9 normalization: VALID }"
        layer = make(layer_type, given, text)
        assert loss(layer, given) == 0
        assert not gradient(layer, given)[0].any()  # type: ignore[union-attr]


def test_improbable_labels_keep_a_finite_loss_and_their_gradient() -> None:
    inputs = [torch.tensor([[0.0, 1000.0]]), torch.tensor([0.0])]
    layer = make("SoftmaxWithLoss", inputs)
    assert loss(layer, inputs) == pytest.approx(87.3365, rel=1e-5)
    torch.testing.assert_close(gradient(layer, inputs)[0], torch.tensor([[-1.0, 1.0]]))
    inputs = [torch.tensor([[0.0, 1.0]]), torch.tensor([0.0])]
    layer = make("MultinomialLogisticLoss", inputs)
    assert loss(layer, inputs) == pytest.approx(46.0517, rel=1e-5)
    torch.testing.assert_close(gradient(layer, inputs)[0], torch.tensor([[-1e20, 0.0]]))


def test_infogain_with_the_identity_is_softmax_loss(tmp_path: Path) -> None:
    inputs = [numbers(3, 4, 2), labels(4, 3, 2)]
    expected = loss(make("SoftmaxWithLoss", inputs), inputs)
    identity = torch.eye(4).double()
    assert loss(make("InfogainLoss", [*inputs, identity]), [*inputs, identity]) == pytest.approx(
        expected
    )
    blob = BlobProto(data=np.eye(4).ravel().tolist(), num=1, channels=1, height=4, width=4)
    (tmp_path / "h.binaryproto").write_bytes(blob.SerializeToString())
    text = f'infogain_loss_param {{ source: "{tmp_path}/h.binaryproto" }}'
    layer = make("InfogainLoss", inputs, text, tops=2)
    assert loss(layer, inputs) == pytest.approx(expected)
    torch.testing.assert_close(layer.forward(*inputs)[1], torch.softmax(inputs[0], 1))


@pytest.mark.parametrize(
    ("layer_type", "shape", "where"),
    [
        ("SoftmaxWithLoss", (2, 3), r"\[1, 2\]"),
        ("InfogainLoss", (2, 3), r"\[1, 2\]"),
        ("HingeLoss", (2, 1), r"\[1, 0\]"),
        ("MultinomialLogisticLoss", (2,), r"\[1\]"),
    ],
)
@pytest.mark.parametrize("value", [-1.0, 4.0, float("nan")])
def test_label_out_of_range_is_named(
    layer_type: str, shape: tuple[int, ...], where: str, value: float
) -> None:
    x = numbers(2, 4, *shape[1:]) if shape[1:] != (1,) else numbers(2, 4)
    inputs = [x, torch.zeros(shape)]
    if layer_type == "InfogainLoss":
        inputs.append(torch.eye(4))
    layer = make(layer_type, inputs)
    inputs[1].view(-1)[-1] = value
    with pytest.raises(
        caffe.CaffeError, match=rf"bottom 'label' holds the label {value:g} at {where}.* 0 and 3"
    ):
        layer.forward(*inputs)


def test_fractions_of_labels_are_cut_off() -> None:
    x = numbers(3, 4)
    layer = make("SoftmaxWithLoss", [x, torch.zeros(3)])
    cut = loss(layer, [x, torch.tensor([-0.9, 3.9, 1.5])])
    assert cut == loss(layer, [x, torch.tensor([0.0, 3.0, 1.0])])


@pytest.mark.parametrize(
    ("layer_type", "shapes", "text", "said"),
    [
        ("SoftmaxWithLoss", [(2, 3), (3,)], "", "first dimension"),
        ("SoftmaxWithLoss", [(2, 3, 4), (2,)], "", "need 8 labels"),
        ("SoftmaxWithLoss", [(2, 3), (2,)], "softmax_param { axis: 2 }", "axis 2"),
        ("SoftmaxWithLoss", [(), ()], "", "first dimension"),
        ("EuclideanLoss", [(2, 3), (2, 4)], "", "as many numbers"),
        ("EuclideanLoss", [(2, 1, 1, 1, 3), (2, 3)], "", "at most 4 axes"),
        ("SigmoidCrossEntropyLoss", [(2, 3), (2, 4)], "", "one target"),
        ("MultinomialLogisticLoss", [(2, 3), (2, 3)], "", "one number per item"),
        ("ContrastiveLoss", [(2, 3), (2, 4), (2,)], "", "alike"),
        ("ContrastiveLoss", [(2, 3, 2), (2, 3, 2), (2,)], "", "alike"),
        ("ContrastiveLoss", [(2, 3), (2, 3), (2, 2)], "", "one number per item"),
        ("ContrastiveLoss", [(2, 3), (2, 3), (1,)], "", "2 pairs"),
        ("InfogainLoss", [(2, 3), (2,)], "", "infogain matrix is missing"),
        ("InfogainLoss", [(2, 3), (2,), (3, 2)], "", "3 x 3"),
        ("InfogainLoss", [(2, 3), (2,), (3, 3)], "loss_param { normalize: true }", "VALID"),
        (
            "InfogainLoss",
            [(2, 3), (2,)],
            'infogain_loss_param { source: "nowhere" }',
            "nowhere",
        ),
    ],
)
def test_bottoms_that_do_not_fit(
    layer_type: str, shapes: list[tuple[int, ...]], text: str, said: str
) -> None:
    inputs: list[Any] = [torch.zeros(shape) for shape in shapes]
    with pytest.raises(caffe.CaffeError, match=said):
        make(layer_type, inputs, text)
