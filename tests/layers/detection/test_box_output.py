"""MS-CNN's proposals, box by box."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe.errors import NetError, ShapeError
from tests.helpers.running import SEEDS, close, run

FIELDS = "field_w: 20 field_h: 40 downsample_rate: 8 field_w: 40 field_h: 80 downsample_rate: 16"


def shared(a: np.ndarray, b: np.ndarray, kind: str) -> float:
    """What two boxes (x, y, width, height) share."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:4], b[:2] + b[2:4])
    both = float(np.prod(np.maximum(high - low, 0)))
    first, second = a[2] * a[3], b[2] * b[3]
    return both / {"IOU": first + second - both, "IOMU": min(first, second), "IOFU": first}[kind]


def proposals(maps: list[np.ndarray], threshold: float, kind: str) -> list[list[float]]:
    """What the layer is to find, picture by picture."""
    rows = []
    for n in range(len(maps[0])):
        found = []
        for x, width, height, rate in zip(maps, (20, 40), (40, 80), (8, 16), strict=True):
            _, _, high, wide = x.shape
            for i, j in np.ndindex(high, wide):
                *scores, dx, dy, dw, dh = x[n, :, i, j]
                score = max(scores[1:]) - scores[0]
                if score < threshold:
                    continue
                dx, dy = (min(max(d, -0.5), 0.5) for d in (dx, dy))
                w, h = (
                    side * math.exp(min(max(d, -math.log(2)), math.log(2)))
                    for side, d in ((width, dw), (height, dh))
                )
                left = max(dx * width + (j + 0.5) * rate - w / 2, 0)
                top = max(dy * height + (i + 0.5) * rate - h / 2, 0)
                w, h = min(w, wide * rate - left), min(h, high * rate - top)
                if min(w, h) >= 15:
                    found.append(np.array([left, top, w, h, score]))
        found.sort(key=lambda box: -box[4])
        kept: list[np.ndarray] = []
        for box in found:
            if all(shared(better, box, kind) <= 0.5 for better in kept):
                kept.append(box)
        rows += [[n, x, y, x + w, y + h, s] for x, y, w, h, s in kept]
    return rows


@pytest.mark.parametrize("kind", ["IOU", "IOMU", "IOFU"])
@pytest.mark.parametrize("seed", SEEDS)
def test_proposals_are_what_the_maps_say(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    maps = [rng.normal(size=(2, 6, 6, 8)), rng.normal(size=(2, 6, 3, 4))]
    regions, scored = run(
        f'type: "BoxOutput" box_output_param {{ {FIELDS} fg_thr: 0.3 nms_type: "{kind}" }}',
        *maps,
        tops=2,
        settled=False,
    )
    expected = np.array(proposals([x.astype(np.float32) for x in maps], 0.3, kind))
    assert len(expected) > 4
    close(scored[:, :, 0, 0], expected, 1e-4)
    close(regions[:, :, 0, 0], expected[:, :5], 1e-4)


def test_offsets_are_brought_back_by_mean_and_deviation() -> None:
    maps = [np.random.default_rng(0).normal(size=(1, 6, 6, 8)) for _ in range(2)]
    text = f'type: "BoxOutput" box_output_param {{ {FIELDS} }}'
    norm = "bbox_reg_param { bbox_mean: [0.1, 0, 0, 0.2] bbox_std: [0.5, 1, 1, 2] }"
    (top,) = run(f"{text} {norm}", *maps, settled=False)
    moved = [x.copy() for x in maps]
    for x in moved:
        x[:, 2:] *= np.array([0.5, 1, 1, 2])[:, None, None]
        x[:, 2:] += np.array([0.1, 0, 0, 0.2])[:, None, None]
    (plain,) = run(text, *moved, settled=False)
    close(top, plain, 1e-4)


def test_where_nothing_is_found_there_is_one_region() -> None:
    maps = [np.zeros((2, 6, 6, 8)), np.zeros((2, 6, 3, 4))]
    text = f'type: "BoxOutput" box_output_param {{ {FIELDS} fg_thr: 5 }}'
    regions, scored = run(text, *maps, tops=2)
    assert regions.ravel().tolist() == [0, 1, 1, 10, 10]
    assert scored.shape == (1, 6, 1, 1)
    assert not scored.any()


def test_no_more_are_given_than_asked_for() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(2, 6, 6, 8)), rng.normal(size=(2, 6, 3, 4))]
    text = f"{FIELDS} max_nms_num: 9 max_post_nms_num: 2"
    (top,) = run(f'type: "BoxOutput" box_output_param {{ {text} }}', *maps, settled=False)
    assert top[:, 0, 0, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("field_w: 20 field_h: 40", NetError, "1 bottoms need as many downsample_rate, not 0"),
        ("field_w: 2 field_h: 4 downsample_rate: 8 nms_type: 'X'", NetError, "nms_type must be"),
        ("field_w: 2 field_h: 4 downsample_rate: 8 field_whr: 0.5", NetError, "field_whr"),
        ("field_w: 2 field_h: 4 downsample_rate: 8", ShapeError, "at least 2 classes"),
    ],
)
def test_what_does_not_fit_is_named(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(f'type: "BoxOutput" box_output_param {{ {text} }}', np.zeros((1, 5, 2, 2)))
