"""Proposals of Faster R-CNN, box by box."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, NetError, ShapeError
from caffe.layers.detection.proposal import read_settings
from tests.helpers.boxes import suppress
from tests.helpers.running import floats, run
from tests.helpers.stopwatch import MOST, growth


def reference_anchors(base: int, ratios: list[float], scales: list[float]) -> list[np.ndarray]:
    boxes = []
    for ratio in ratios:
        w = round(math.sqrt(base * base / ratio))
        h = round(w * ratio)
        for scale in scales:
            x = y = (base - 1) / 2
            half_w, half_h = (w * scale - 1) / 2, (h * scale - 1) / 2
            boxes.append(np.array([x - half_w, y - half_h, x + half_w, y + half_h]))
    return boxes


def reference_proposals(
    scores: np.ndarray,
    deltas: np.ndarray,
    info: np.ndarray,
    *,
    stride: int,
    anchors: list[np.ndarray],
    smallest: float,
    before: int,
    after: int,
    threshold: float,
    drops: bool,
) -> tuple[np.ndarray, np.ndarray]:
    height, width = scores.shape[2:]
    count = len(anchors)
    found = []
    for y in range(height):
        for x in range(width):
            for a, anchor in enumerate(anchors):
                box = anchor + np.array([x, y, x, y]) * stride
                d = deltas[0, 4 * a : 4 * a + 4, y, x]
                w, h = box[2] - box[0] + 1, box[3] - box[1] + 1
                cx, cy = box[0] + w / 2 + d[0] * w, box[1] + h / 2 + d[1] * h
                w, h = w * math.exp(d[2]), h * math.exp(d[3])
                box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                box[0::2] = np.clip(box[0::2], 0, info[1] - 1)
                box[1::2] = np.clip(box[1::2], 0, info[0] - 1)
                least = smallest * info[2]
                big = box[2] - box[0] + 1 >= least and box[3] - box[1] + 1 >= least
                score = float(scores[0, count + a, y, x])
                if big or not drops:
                    found.append((score if big else 0.0, box))
    found = sorted(found, key=lambda one: -one[0])[:before]
    boxes = np.array([box for _, box in found]).reshape(-1, 4)
    kept = suppress(boxes, threshold, pixel=1)[:after]
    return boxes[kept], np.array([found[k][0] for k in kept])


def rpn(seed: int, anchors: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(2, 5, 2))
    scores = floats(rng.uniform(size=(1, 2 * anchors, height, width)))
    deltas = floats(rng.normal(scale=0.3, size=(1, 4 * anchors, height, width)))
    return scores, deltas, floats([[height * 16 + 40, width * 16 + 30, 1.5]])


@pytest.mark.parametrize("seed", range(8))
def test_proposals_are_what_faster_rcnn_says(seed: int) -> None:
    ratios, scales = ([0.5, 1, 2], [1, 2, 4]) if seed % 2 else ([0.5, 1, 2], [8, 16, 32])
    scores, deltas, info = rpn(seed)
    text = "feat_stride: 16 min_size: 12 pre_nms_topn: 40 post_nms_topn: 12 nms_thresh: 0.6 "
    text += "".join(f"ratio: {r} " for r in ratios) + "".join(f"scale: {s} " for s in scales)
    rois, values = run(
        f'type: "Proposal" proposal_param {{ {text} }}', scores, deltas, info, tops=2, settled=False
    )
    boxes, expected = reference_proposals(
        scores, deltas, info[0], stride=16, anchors=reference_anchors(16, ratios, scales),
        smallest=12, before=40, after=12, threshold=0.6, drops=False,
    )  # fmt: skip
    assert rois.shape == (len(boxes), 5)
    np.testing.assert_allclose(rois[:, 1:], boxes, atol=2e-4)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert not rois[:, 0].any()


PYTHON_PROPOSAL = (
    "type: 'Python' python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' "
    'param_str: "%s" }'
)


@pytest.mark.parametrize("phase", [caffe.TEST, caffe.TRAIN])
@pytest.mark.parametrize("seed", range(4))
def test_published_python_layer_is_built_in(seed: int, phase: int) -> None:
    scores, deltas, info = rpn(seed)
    settings = "'feat_stride': 16\\n'scales': !!python/tuple [1, 2, 4]"
    rois, values = run(
        PYTHON_PROPOSAL % settings, scores, deltas, info, tops=2, phase=phase, settled=False
    )
    boxes, expected = reference_proposals(
        scores, deltas, info[0], stride=16,
        anchors=reference_anchors(16, [0.5, 1, 2], [1, 2, 4]), smallest=16, before=6000,
        after=300, threshold=0.7, drops=True,
    )  # fmt: skip
    np.testing.assert_allclose(rois[:, 1:], boxes, atol=2e-4)
    np.testing.assert_allclose(values, expected[:, None], rtol=1e-6)


def test_a_module_on_the_path_goes_before_the_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rpn").mkdir()
    (tmp_path / "rpn" / "__init__.py").touch()
    (tmp_path / "rpn" / "proposal_layer.py").write_text(
        "import caffe\n"
        "class ProposalLayer(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(1, 5)\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[...] = 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        (rois,) = run(PYTHON_PROPOSAL % "'feat_stride': 16", *rpn(0))
    finally:
        for name in ("rpn", "rpn.proposal_layer"):
            sys.modules.pop(name, None)
    assert rois.tolist() == [[7] * 5]


@pytest.mark.parametrize("kind", ['type: "Proposal"', PYTHON_PROPOSAL % "'feat_stride': 16"])
@pytest.mark.parametrize("size", [[0, 0, 0], [0, 100, 1], [float("nan"), 9, 1]])
def test_proposal_on_an_empty_picture_is_refused(kind: str, size: list[float]) -> None:
    scores, deltas, _ = rpn(0)
    with pytest.raises(CaffeError, match=r"layer 'layer' \(\w+\): the picture is empty: .* high"):
        run(kind, scores, deltas, floats([size]))


def test_proposal_without_any_region_large_enough_gives_none() -> None:
    scores, deltas, _ = rpn(0)
    (rois,) = run(
        PYTHON_PROPOSAL % "'feat_stride': 16", scores, deltas, floats([[5, 5, 1]]), settled=False
    )
    assert rois.shape == (0, 5)


@pytest.mark.parametrize(
    ("scores", "deltas", "info"),
    [
        ((1, 16, 2, 2), (1, 36, 2, 2), (1, 3)),
        ((1, 18, 2, 2), (1, 36, 2, 3), (1, 3)),
        ((2, 18, 2, 2), (2, 36, 2, 2), (1, 3)),
        ((1, 18, 2, 2), (1, 36, 2, 2), (1, 2)),
        ((1, 18), (1, 36), (1, 3)),
    ],
)
def test_proposal_refuses_bottoms_that_do_not_belong_together(
    scores: tuple[int, ...], deltas: tuple[int, ...], info: tuple[int, ...]
) -> None:
    with pytest.raises(ShapeError, match="the bottoms' shapes are"):
        run('type: "Proposal"', np.zeros(scores), np.zeros(deltas), np.ones(info))


@pytest.mark.parametrize("text", ["'scales': [8]", "'feat_stride': $"])
def test_python_proposal_says_what_its_settings_lack(text: str) -> None:
    with pytest.raises(NetError, match="param_str"):
        run(PYTHON_PROPOSAL % text, *rpn(0))


def test_tensorrt_rproi_proposes_and_pools() -> None:
    scores, deltas, info = rpn(3)
    features = np.random.default_rng(0).normal(size=(1, 3, *scores.shape[2:]))
    text = "feature_stride: 16 prenms_top: 40 nms_max_out: 60 iou_threshold: 0.6 min_box_size: 8"
    pooling = "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.0625 }"
    regions, pooled = run(
        f'type: "RPROI" region_proposal_param {{ {text} }} {pooling}',
        scores,
        deltas,
        features,
        info,
        tops=2,
    )
    boxes, _ = reference_proposals(
        scores, deltas, info[0], stride=16, anchors=reference_anchors(16, [0.5, 1, 2], [8, 16, 32]),
        smallest=8, before=40, after=60, threshold=0.6, drops=True,
    )  # fmt: skip
    assert 1 < len(boxes) < 60
    np.testing.assert_allclose(regions[0, 0, : len(boxes)], boxes, atol=2e-4)
    assert not regions[0, 0, len(boxes) :].any()
    rows = np.pad(regions[0, 0], ((0, 0), (1, 0)))
    (expected,) = run(f'type: "ROIPooling" {pooling}', features, rows)
    np.testing.assert_array_equal(pooled, expected)


def test_tensorrt_rproi_refuses_a_count_that_is_not_its_anchors() -> None:
    scores, deltas, info = rpn(0)
    text = "region_proposal_param { anchor_ratio_count: 2 }"
    with pytest.raises(NetError, match="anchor_ratio_count is 2, but there are 3"):
        run(f'type: "RPROI" {text}', scores, deltas, np.zeros((1, 3, 4, 4)), info, tops=2)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("'feat_stride': 16", {"feat_stride": 16}),
        ("{a: 1, 'b' : [1, 2.5], c: (3,), d: true,\n e: x}", None),
        ("{a: 1, 'b' : [1, 2.5], c: (3,), d: true,\n e: 'x'}",
         {"a": 1, "b": [1, 2.5], "c": (3,), "d": True, "e": "x"}),
        ("a: " + "-" * 100000 + "1", None),
        ("a: " + "[" * 1000, None),
    ],
)  # fmt: skip
def test_settings_are_read_or_refused(text: str, settings: dict[str, object] | None) -> None:
    if settings is None:
        with pytest.raises(NetError, match="param_str is not read"):
            read_settings(text)
    else:
        assert read_settings(text) == settings


@pytest.mark.parametrize(
    "part", ["x", "x ", " ", "a: [, ", "a: 1\n", "!!", "a:" + " " * 9 + "1\n", ",:"]
)
def test_reading_settings_takes_time_with_their_length(part: str) -> None:
    def read(text: str) -> None:
        with contextlib.suppress(NetError):
            read_settings(text)

    assert growth(read, lambda n: part * n, 20000) <= MOST
