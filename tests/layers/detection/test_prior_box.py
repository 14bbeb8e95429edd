"""Priors, box by box."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe.errors import NetError
from tests.helpers.running import run


def reference_priors(
    places: tuple[int, int],
    picture: tuple[int, int],
    mins: list[float],
    maxs: list[float],
    ratios: list[float],
    flip: bool,
    clip: bool,
    step: tuple[float, float] | None,
    offset: float,
) -> np.ndarray:
    every = [1.0]
    for ratio in ratios:
        if not any(abs(ratio - other) < 1e-6 for other in every):
            every += [ratio, 1 / ratio] if flip else [ratio]
    boxes = []
    for row in range(places[0]):
        for column in range(places[1]):
            step_h, step_w = step or (picture[0] / places[0], picture[1] / places[1])
            x, y = (column + offset) * step_w, (row + offset) * step_h
            for i, size in enumerate(mins):
                sides = [(size, size)]
                if maxs:
                    sides.append((math.sqrt(size * maxs[i]),) * 2)
                sides += [(size * math.sqrt(r), size / math.sqrt(r)) for r in every if r != 1]
                for w, h in sides:
                    box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                    boxes += [c / picture[1 - k % 2] for k, c in enumerate(box)]
    return np.clip(boxes, 0, 1) if clip else np.array(boxes)


@pytest.mark.parametrize("seed", range(12))
def test_prior_boxes_are_where_ssd_puts_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = (int(rng.integers(1, 5)), int(rng.integers(1, 6)))
    picture = (int(rng.integers(20, 60)), int(rng.integers(20, 60)))
    mins = [float(n) for n in rng.integers(5, 20, rng.integers(1, 4))]
    maxs = [m + float(rng.integers(1, 9)) for m in mins] if rng.random() < 0.6 else []
    ratios = [2.0, 3.0, 1.0, 2.0][: rng.integers(0, 5)]
    flip, clip = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    text = f"flip: {str(flip).lower()} clip: {str(clip).lower()} "
    text += " ".join(f"min_size: {m}" for m in mins) + " "
    text += " ".join(f"max_size: {m}" for m in maxs) + " "
    text += " ".join(f"aspect_ratio: {r}" for r in ratios) + " "
    step, offset = None, 0.5
    if seed % 3 == 1:
        step, offset = (7.0, 7.0), 0.25
        text += "step: 7 offset: 0.25 "
    elif seed % 3 == 2:
        step = (6.0, 9.0)
        text += "step_h: 6 step_w: 9 "
    size = picture
    if seed % 4 == 1:
        size = (50, 50)
        text += "img_size: 50 "
    elif seed % 4 == 2:
        size = (40, 70)
        text += "img_h: 40 img_w: 70 "
    variances = [[0.1], [0.3], [0.1, 0.1, 0.2, 0.2]][seed % 3]
    if seed % 3:
        text += " ".join(f"variance: {v}" for v in variances)
    (top,) = run(
        f'type: "PriorBox" prior_box_param {{ {text} }}',
        np.zeros((1, 2, *places)),
        np.zeros((1, 3, *picture)),
    )
    expected = reference_priors(places, size, mins, maxs, ratios, flip, clip, step, offset)
    assert top.shape == (1, 2, len(expected))
    np.testing.assert_allclose(top[0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(top[0, 1], np.resize(variances, len(expected)))


def test_prior_boxes_of_other_ratios_have_the_area_of_the_smallest_square() -> None:
    text = "prior_box_param { min_size: 10 max_size: 40 aspect_ratio: 4 flip: true }"
    (top,) = run(f'type: "PriorBox" {text}', np.zeros((1, 1, 1, 1)), np.zeros((1, 3, 100, 100)))
    sides = 100 * (top[0, 0].reshape(-1, 4)[:, 2:] - top[0, 0].reshape(-1, 4)[:, :2])
    np.testing.assert_allclose(sides, [[10, 10], [20, 20], [20, 5], [5, 20]], rtol=1e-5)


def test_prior_box_cuts_sizes_to_whole_pixels_as_the_original_does() -> None:
    text = "prior_box_param { min_size: 10.9 max_size: 20.9 }"
    (top,) = run(f'type: "PriorBox" {text}', np.zeros((1, 1, 1, 1)), np.zeros((1, 3, 100, 100)))
    widths = top[0, 0, 2::4] - top[0, 0, 0::4]
    np.testing.assert_allclose(widths, [0.10, math.sqrt(200) / 100], rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "min_size: 0",
        "min_size: 5 max_size: 5",
        "min_size: 5 min_size: 6 max_size: 9",
        "min_size: 5 variance: 0.1 variance: 0.2",
        "min_size: 5 variance: -0.1",
        "min_size: 5 img_size: 9 img_h: 9 img_w: 9",
        "min_size: 5 step: 9 step_h: 9 step_w: 9",
        "min_size: 5 step_h: 9",
        "min_size: 5 aspect_ratio: 0",
    ],
)
def test_prior_box_refuses_settings_that_contradict(text: str) -> None:
    with pytest.raises(NetError, match=r"layer 'layer' \(PriorBox\)"):
        run(
            f'type: "PriorBox" prior_box_param {{ {text} }}',
            np.zeros((1, 1, 2, 2)),
            np.zeros((1, 3, 8, 8)),
        )
