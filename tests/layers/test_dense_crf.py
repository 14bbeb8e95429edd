"""Conditional random fields, against the same steps with exact Gaussians left to the lattice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe
from caffe.errors import CaffeError, NetError, ShapeError
from caffe.layers.permutohedral import PermutohedralLattice
from tests.helpers.running import SEEDS, close, floats, layer_net, run

KERNELS = "pos_xy_std: 2 pos_w: 3 bi_xy_std: 6 bi_rgb_std: 5 bi_w: 4"


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def mean(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The lattice's means of values (classes, places)."""
    lattice = PermutohedralLattice(torch.from_numpy(points))
    sums = lattice.smooth(torch.from_numpy(np.ascontiguousarray(values.T))).numpy()
    return (sums / lattice.smooth(torch.ones(len(points), 1).double()).numpy()).T


def places(height: int, width: int) -> np.ndarray:
    return np.array([[x, y] for y in range(height) for x in range(width)], np.float64)


def inferred(scores: np.ndarray, picture: np.ndarray | None, rounds: int) -> np.ndarray:
    classes, height, width = scores.shape
    unary = scores.reshape(classes, -1).astype(np.float64)
    at, q = places(height, width), softmax(unary, 0)
    for _ in range(rounds):
        total = unary + 3 * mean(at / 2, q)
        if picture is not None:
            colours = picture.reshape(3, -1).T / 5
            total = total + 4 * mean(np.concatenate([at / 6, colours], 1), q)
        q = softmax(total, 0)
    return q.reshape(scores.shape)


@pytest.mark.parametrize("seed", SEEDS)
def test_dense_crf_smooths_what_the_scores_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = floats(rng.normal(size=(2, 4, 7, 8)))
    picture = floats(rng.uniform(0, 30, size=(2, 3, 7, 8)))
    sizes = floats([[5, 6], [90, 80]])
    (top,) = run(
        f'type: "DenseCRF" dense_crf_param {{ {KERNELS} max_iter: 3 }}', scores, sizes, picture
    )
    expected = np.zeros_like(scores)
    expected[0, :, :5, :6] = inferred(scores[0, :, :5, :6], picture[0, :, :5, :6], 3)
    expected[1] = inferred(scores[1], picture[1], 3)
    close(top, expected, 1e-4)


def test_dense_crf_without_a_picture_gives_logarithms_where_asked() -> None:
    scores = floats(np.random.default_rng(0).normal(size=(1, 3, 6, 5)))
    text = "pos_xy_std: 2 pos_w: 3 max_iter: 2 output_probability: false"
    (top,) = run(f'type: "DenseCRF" dense_crf_param {{ {text} }}', scores, floats([[6, 5]]))
    close(top[0], np.log(inferred(scores[0], None, 2)), 1e-4)


@pytest.mark.parametrize(
    ("text", "shapes", "error", "message"),
    [
        ("pos_w: 3", [(1, 2, 4, 4), (1, 2)], NetError, "pos_w, pos_xy_std must have as many"),
        ("pos_w: 3 pos_xy_std: 0", [(1, 2, 4, 4), (1, 2)], NetError, "must be positive"),
        ("", [(1, 2, 4, 4), (1, 2), (1, 3, 4, 4)], NetError, "no bi_w"),
        (KERNELS, [(1, 2, 4, 4), (1, 2), (1, 3, 4, 5)], ShapeError, "need a picture of the shape"),
        ("", [(2, 2, 4, 4), (1, 2)], ShapeError, "a height and a width each"),
    ],
)
def test_dense_crf_names_what_does_not_fit(
    text: str, shapes: list[tuple[int, ...]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        layer_net(f'type: "DenseCRF" dense_crf_param {{ {text} }}', shapes)


def test_dense_crf_refuses_a_picture_larger_than_its_scores() -> None:
    with pytest.raises(CaffeError, match="said to be 3 high and 9 wide"):
        run('type: "DenseCRF"', np.zeros((1, 2, 4, 4)), floats([[3, 9]]))


MEANFIELD = (
    'type: "MultiStageMeanfield" multi_stage_meanfield_param { num_iterations: 3 theta_alpha: 6 '
    "theta_beta: 5 theta_gamma: 2 spatial_filter_weight: 3 bilateral_filter_weight: 4 }"
)


def test_mean_field_starts_as_a_dense_crf() -> None:
    rng = np.random.default_rng(0)
    scores = floats(rng.normal(size=(2, 4, 6, 5)))
    picture = floats(rng.uniform(0, 30, size=(2, 3, 6, 5)))
    (top,) = run(MEANFIELD, scores, scores, picture)
    expected = [inferred(s, p, 3) for s, p in zip(scores, picture, strict=True)]
    close(softmax(top, 1), np.array(expected), 1e-4)


def test_mean_field_has_caffes_parameters() -> None:
    net = layer_net(MEANFIELD, [(1, 2, 4, 4), (1, 2, 4, 4), (1, 3, 4, 4)])
    assert [blob.data.tolist() for blob in net.params["layer"]] == [
        [[[[w, 0], [0, w]]]] for w in (3, 4, -1)
    ]
    with pytest.raises(NetError, match="num_iterations must be above 1, not 1"):
        layer_net('type: "MultiStageMeanfield"', [(1, 2, 4, 4), (1, 2, 4, 4), (1, 3, 4, 4)])
    with pytest.raises(ShapeError, match="need a start of that shape"):
        layer_net(MEANFIELD, [(1, 2, 4, 4), (1, 2, 4, 5), (1, 3, 4, 4)], phase=caffe.TRAIN)


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        (
            'type: "MultiStageMeanfield" '
            "multi_stage_meanfield_param { num_iterations: 4294967295 }",
            [(1, 2, 3, 3), (1, 2, 3, 3), (1, 3, 3, 3)],
        ),
        ('type: "DenseCRF" dense_crf_param { max_iter: 2147483647 }', [(1, 2, 3, 3), (1, 2)]),
    ],
)
def test_rounds_are_bounded(text: str, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(CaffeError, match="at most 10000 rounds"):
        layer_net(text, shapes)
