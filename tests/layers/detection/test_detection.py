"""Layers of detectors against what the papers say, written out box by box."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, NetError, ShapeError
from tests.helpers.running import Arrays, floats, run


def c_round(x: float) -> int:
    return int(math.floor(abs(x) + 0.5) * math.copysign(1, x))


# Permute and Normalize.


@pytest.mark.parametrize("seed", range(6))
def test_permute_reorders_axes_and_appends_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(2, 6))
    x = rng.normal(size=rng.integers(1, 5, axes))
    order = [int(n) for n in rng.permutation(axes)[: rng.integers(1, axes + 1)]]
    whole = order + [i for i in range(axes) if i not in order]
    (top,) = run(f'type: "Permute" permute_param {{ {" ".join(f"order: {n}" for n in order)} }}', x)
    np.testing.assert_array_equal(top, floats(x).transpose(whole))


@pytest.mark.parametrize(
    ("order", "error"), [("order: 1 order: 1", NetError), ("order: 4", ShapeError)]
)
def test_permute_refuses_an_order_that_is_none(order: str, error: type[CaffeError]) -> None:
    with pytest.raises(error, match=r"layer 'layer' \(Permute\): order \["):
        run(f'type: "Permute" permute_param {{ {order} }}', np.zeros((1, 2, 3, 4)))


@pytest.mark.parametrize("across_spatial", [True, False])
@pytest.mark.parametrize("channel_shared", [True, False])
def test_normalize_divides_by_the_norm(across_spatial: bool, channel_shared: bool) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    text = (
        f"norm_param {{ across_spatial: {str(across_spatial).lower()} "
        f"channel_shared: {str(channel_shared).lower()} eps: 0.01 "
        'scale_filler { type: "constant" value: 7 } }'
    )
    (top,) = run(f'type: "Normalize" {text}', x)
    expected = np.empty_like(x)
    for n in range(2):
        for h in range(4):
            for w in range(5):
                part = x[n] if across_spatial else x[n, :, h, w]
                expected[n, :, h, w] = 7 * x[n, :, h, w] / math.sqrt((part**2).sum() + 0.01)
    np.testing.assert_allclose(top, expected, rtol=1e-5)


def test_normalize_has_a_factor_for_each_channel_or_one_for_all() -> None:
    net = caffe.Net(
        """input: "x" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }
           layer { name: "one" type: "Normalize" bottom: "x" top: "a" }
           layer { name: "each" type: "Normalize" bottom: "x" top: "b"
                   norm_param { channel_shared: false } }""",
        caffe.TEST,
    )
    assert net.params["one"][0].shape == ()
    assert net.params["each"][0].shape == (3,)
    assert net.params["each"][0].data.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (3,)])
def test_weights_of_forks_are_taken_in_whatever_shape_they_have(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    net = caffe.Net(
        """input: "x" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }
        layer { name: "bn" type: "BN" bottom: "x" top: "y" bn_param { frozen: true } }
        layer { name: "norm" type: "Normalize" bottom: "y" top: "z"
                norm_param { channel_shared: false } }""",
        caffe.TEST,
    )
    values = {"bn": [[1.0, 2, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3]], "norm": [[5, 6, 7]]}
    weights = caffe.proto.caffe_pb2.NetParameter()
    for name, blobs in values.items():
        layer = weights.layer.add(name=name)
        for blob in blobs:
            layer.blobs.add(data=blob).shape.dim.extend(shape)
    path = tmp_path / "w.caffemodel"
    path.write_bytes(weights.SerializeToString())
    net.copy_from(path)
    for name, blobs in values.items():
        assert [blob.data.ravel().tolist() for blob in net.params[name]] == blobs


# Priors.


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


# DetectionOutput.


def overlap(a: np.ndarray, b: np.ndarray, pixel: float = 0) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    h = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if w <= 0 or h <= 0:
        return 0
    sizes = [(c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (a, b)]
    return float(w * h / (sum(sizes) - w * h))


def suppress(boxes: np.ndarray, threshold: float, eta: float = 1, pixel: float = 0) -> list[int]:
    kept: list[int] = []
    for i, box in enumerate(boxes):
        if all(overlap(box, boxes[k], pixel) <= threshold for k in kept):
            kept.append(i)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


def decoded(code: str, prior: np.ndarray, variance: np.ndarray, loc: np.ndarray) -> np.ndarray:
    d = variance * loc
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        return prior + d
    if code == "CORNER_SIZE":
        return prior + d * [w, h, w, h]
    x = (prior[0] + prior[2]) / 2 + d[0] * w
    y = (prior[1] + prior[3]) / 2 + d[1] * h
    w, h = w * math.exp(d[2]), h * math.exp(d[3])
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def random_priors(rng: np.random.Generator, count: int) -> np.ndarray:
    """PriorBox's top for random boxes."""
    center, half = rng.uniform(size=(count, 2)), rng.uniform(0.05, 0.3, size=(count, 2))
    boxes = np.concatenate([center - half, center + half], 1)
    variances = np.tile([0.1, 0.2, 0.3, 0.15], count)
    return floats([boxes.reshape(-1), variances])[None]


def reference_detections(
    loc: np.ndarray,
    conf: np.ndarray,
    priors: np.ndarray,
    *,
    classes: int,
    shared: bool,
    code: str,
    in_target: bool,
    background: int,
    threshold: float | None,
    nms: float,
    eta: float,
    top_k: int,
    keep_top_k: int,
) -> np.ndarray:
    boxes, variances = priors.reshape(2, -1, 4).astype(np.float64)
    if in_target:
        variances = np.ones_like(variances)
    rows = []
    for n in range(len(loc)):
        found = []
        for c in range(classes):
            if c == background:
                continue
            scores = conf[n].reshape(-1, classes)[:, c]
            offsets = loc[n].reshape(len(boxes), -1, 4)[:, 0 if shared else c]
            order = list(np.argsort(-scores, kind="stable"))
            if threshold is not None:
                order = [i for i in order if scores[i] > threshold]
            if top_k > -1:
                order = order[:top_k]
            own = [decoded(code, boxes[i], variances[i], offsets[i]) for i in order]
            kept = suppress(np.array(own).reshape(-1, 4), nms, eta)
            found += [[n, c, scores[order[k]], *own[k]] for k in kept]
        if -1 < keep_top_k < len(found):
            best = sorted(range(len(found)), key=lambda k: -found[k][2])[:keep_top_k]
            found = [found[k] for k in sorted(best)]
        rows += found
    return np.array(rows or [[n, *[-1] * 6] for n in range(len(loc))])


@pytest.mark.parametrize("seed", range(30))
def test_detection_output_is_what_ssd_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num, count, classes = int(rng.integers(1, 4)), int(rng.integers(1, 60)), int(rng.integers(2, 5))
    settings = {
        "classes": classes,
        "shared": bool(rng.random() < 0.7),
        "code": ["CORNER", "CENTER_SIZE", "CORNER_SIZE"][seed % 3],
        "in_target": bool(rng.random() < 0.3),
        "background": [0, 1, -1][int(rng.integers(3))],
        "threshold": [None, 0.2, 0.9][int(rng.integers(3))],
        "nms": float(rng.choice([0.3, 0.45, 0.8])),
        "eta": float(rng.choice([1, 0.9])),
        "top_k": int(rng.choice([-1, 5, 20])),
        "keep_top_k": int(rng.choice([-1, 0, 7])),
    }
    loc = floats(rng.normal(size=(num, count * 4 * (1 if settings["shared"] else classes))))
    conf = floats(rng.uniform(size=(num, count * classes)))
    priors = random_priors(rng, count)
    text = (
        f"num_classes: {classes} share_location: {str(settings['shared']).lower()} "
        f"code_type: {settings['code']} background_label_id: {settings['background']} "
        f"variance_encoded_in_target: {str(settings['in_target']).lower()} "
        f"keep_top_k: {settings['keep_top_k']} visualize: true visualize_threshold: 0.3 "
        f"nms_param {{ nms_threshold: {settings['nms']} eta: {settings['eta']} "
        f"top_k: {settings['top_k']} }} "
    )
    if settings["threshold"] is not None:
        text += f"confidence_threshold: {settings['threshold']}"
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        loc,
        conf,
        priors,
        settled=False,
    )
    expected = reference_detections(loc, conf, priors, **settings)
    assert top.shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(top[0, 0], expected, atol=2e-5)


def test_detection_output_gives_a_row_of_minus_one_where_nothing_is_found() -> None:
    priors = random_priors(np.random.default_rng(0), 3)
    text = "num_classes: 2 confidence_threshold: 0.5"
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        np.zeros((2, 12)),
        np.zeros((2, 6)),
        priors,
        settled=False,
    )
    assert top.tolist() == [[[[0, *[-1] * 6], [1, *[-1] * 6]]]]


def test_detection_output_keeps_the_earlier_of_equal_scores() -> None:
    far_apart = floats([[[0, 0, 0.1, 0.1, 0.5, 0.5, 0.6, 0.6], [0.1] * 8]])
    text = "num_classes: 2 keep_top_k: 1"
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        np.zeros((1, 8)),
        floats([[0, 0.5, 0, 0.5]]),
        far_apart,
    )
    np.testing.assert_allclose(top[0, 0], [[0, 1, 0.5, 0, 0, 0.1, 0.1]], atol=1e-6)


def test_detection_output_with_refined_priors() -> None:
    rng = np.random.default_rng(3)
    count = 20
    priors = random_priors(rng, count)
    loc, first = floats(rng.normal(size=(2, 1, 4 * count)))
    conf = floats(rng.uniform(size=(1, 2 * count)))
    things = floats(rng.uniform(size=(1, 2 * count)))
    text = (
        "num_classes: 2 code_type: CENTER_SIZE confidence_threshold: 0.1 objectness_score: 0.5 "
        "nms_param { nms_threshold: 0.45 }"
    )
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        loc,
        conf,
        priors,
        things,
        first,
        settled=False,
    )
    boxes, variances = priors.reshape(2, -1, 4)
    moved = [
        decoded("CENTER_SIZE", b, v, d)
        for b, v, d in zip(boxes, variances, first.reshape(-1, 4), strict=True)
    ]
    conf = np.where(things.reshape(-1, 2)[:, 1:] < 0.5, 0, conf.reshape(-1, 2)).reshape(1, -1)
    expected = reference_detections(
        loc, conf, floats([np.ravel(moved), variances.ravel()])[None], classes=2, shared=True,
        code="CENTER_SIZE", in_target=False, background=0, threshold=0.1, nms=0.45, eta=1,
        top_k=-1, keep_top_k=-1,
    )  # fmt: skip
    np.testing.assert_allclose(top[0, 0], expected, atol=2e-5)


def test_boxes_of_a_net_that_is_not_trained_stay_finite() -> None:
    text = "num_classes: 2 code_type: CENTER_SIZE"
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        np.full((1, 40), 1e6),
        np.full((1, 20), 0.5),
        random_priors(np.random.default_rng(0), 10),
    )
    assert np.isfinite(top).all()


@pytest.mark.parametrize(
    ("loc", "conf", "priors", "message"),
    [
        ((1, 8), (1, 6), (1, 2, 12), r"need 12 offsets .* bottom 0 has the shape \(1, 8\)"),
        ((1, 12), (1, 9), (1, 2, 12), r"need 6 scores .* bottom 1 has the shape \(1, 9\)"),
        ((1, 12), (2, 6), (1, 2, 12), r"bottom 1 has the shape \(2, 6\)"),
        ((1, 12), (1, 6), (1, 12), r"bottom 2 must be PriorBox's top"),
        ((1, 12), (1, 6), (1, 2, 11), r"bottom 2 must be PriorBox's top"),
    ],
)  # fmt: skip
def test_detection_output_refuses_priors_that_do_not_match(
    loc: tuple[int, ...], conf: tuple[int, ...], priors: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=rf"layer 'layer' \(DetectionOutput\): .*{message}"):
        run(
            'type: "DetectionOutput" detection_output_param { num_classes: 2 }',
            np.zeros(loc),
            np.zeros(conf),
            np.zeros(priors),
        )


def test_detection_output_refuses_a_prior_without_width() -> None:
    text = "num_classes: 2 code_type: CENTER_SIZE"
    with pytest.raises(CaffeError, match=r"prior 1 has no width or no height: \(0.5, 0, 0.5, 1\)"):
        run(
            f'type: "DetectionOutput" detection_output_param {{ {text} }}',
            np.zeros((1, 8)),
            np.zeros((1, 4)),
            floats([[[0, 0, 1, 1, 0.5, 0, 0.5, 1], [0.1] * 8]]),
        )


@pytest.mark.parametrize(
    "text",
    ["", "num_classes: 2 nms_param { nms_threshold: -1 }", "num_classes: 2 nms_param { eta: 0 }"],
)
def test_detection_output_refuses_wrong_settings(text: str) -> None:
    with pytest.raises(NetError, match="DetectionOutput"):
        run(
            f'type: "DetectionOutput" detection_output_param {{ {text} }}',
            np.zeros((1, 4)),
            np.zeros((1, 2)),
            np.zeros((1, 2, 4)),
        )


# Regions.


def random_regions(
    rng: np.random.Generator, count: int, pictures: int, size: tuple[float, float]
) -> np.ndarray:
    """Regions that may reach over the edges of a picture of this height and width."""
    corner = rng.uniform(-0.2, 0.9, size=(count, 2)) * size[::-1]
    far = corner + rng.uniform(0.05, 0.8, size=(count, 2)) * size[::-1]
    picture = rng.integers(0, pictures, size=(count, 1))
    return floats(np.concatenate([picture, corner, np.maximum(far, 1)], 1))


def of_bins(edges: list[tuple[int, int]], size: int) -> list[slice]:
    return [slice(min(max(a, 0), size), min(max(b, 0), size)) for a, b in edges]


@pytest.mark.parametrize("seed", range(10))
def test_roi_pooling_takes_the_largest_of_each_bin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = floats(rng.normal(size=(2, 3, *rng.integers(3, 12, 2))))
    ph, pw, scale = int(rng.integers(1, 8)), int(rng.integers(1, 8)), float(rng.choice([0.5, 0.25]))
    height, width = x.shape[2:]
    rois = random_regions(rng, 7, 2, (height / scale, width / scale))
    (top,) = run(
        f'type: "ROIPooling" roi_pooling_param {{ pooled_h: {ph} pooled_w: {pw} '
        f"spatial_scale: {scale} }}",
        x,
        rois,
    )
    expected = np.zeros((7, 3, ph, pw), np.float32)
    for r, (picture, *corners) in enumerate(rois.astype(np.float64)):
        x1, y1, x2, y2 = (c_round(c * scale) for c in corners)
        sides = [(y1, max(y2 - y1 + 1, 1), ph), (x1, max(x2 - x1 + 1, 1), pw)]
        rows, columns = (
            [(start + i * side // bins, start + -(-(i + 1) * side // bins)) for i in range(bins)]
            for start, side, bins in sides
        )
        for i, a in enumerate(of_bins(rows, height)):
            for j, b in enumerate(of_bins(columns, width)):
                values = x[int(picture), :, a, b]
                if values.size:
                    expected[r, :, i, j] = values.max((1, 2))
    np.testing.assert_array_equal(top, expected)


def test_roi_pooling_with_a_pad_ratio_sees_more() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 12, 14))
    regions = np.array([[0, 0.0, 8.0, 13.0, 17.0]])
    text = "pooled_h: 2 pooled_w: 2 spatial_scale: 0.5"
    (top,) = run(f'type: "ROIPooling" roi_pooling_param {{ {text} pad_ratio: 0.2 }}', x, regions)
    pad = np.array([14, 10]) * 0.2
    start = [max(0, c_round((c - p) / 2)) for c, p in zip((0, 8), pad, strict=True)]
    end = [c_round((c + p) / 2) for c, p in zip((13, 17), pad, strict=True)]
    grown = np.array([[0, 2 * start[0], 2 * start[1], 2 * end[0], 2 * end[1]]])
    (plain,) = run(f'type: "ROIPooling" roi_pooling_param {{ {text} }}', x, grown)
    np.testing.assert_array_equal(top, plain)


@pytest.mark.parametrize("seed", range(10))
def test_psroi_pooling_takes_the_mean_of_each_bin_from_its_own_channel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, channels, scale = int(rng.integers(1, 5)), 2, 0.25
    x = floats(rng.normal(size=(2, channels * group * group, *rng.integers(3, 12, 2))))
    height, width = x.shape[2:]
    rois = random_regions(rng, 6, 2, (height / scale, width / scale))
    (top,) = run(
        f'type: "PSROIPooling" psroi_pooling_param {{ output_dim: {channels} group_size: {group} '
        f"spatial_scale: {scale} }}",
        x,
        rois,
    )
    expected = np.zeros((6, channels, group, group))
    for r, (picture, *corners) in enumerate(rois.astype(np.float64)):
        x1, y1 = (c_round(c) * scale for c in corners[:2])
        x2, y2 = ((c_round(c) + 1) * scale for c in corners[2:])
        w, h = max(x2 - x1, 0.1) / group, max(y2 - y1, 0.1) / group
        rows = [(math.floor(y1 + i * h), math.ceil(y1 + (i + 1) * h)) for i in range(group)]
        columns = [(math.floor(x1 + i * w), math.ceil(x1 + (i + 1) * w)) for i in range(group)]
        for c in range(channels):
            for i, a in enumerate(of_bins(rows, height)):
                for j, b in enumerate(of_bins(columns, width)):
                    values = x[int(picture), (c * group + i) * group + j, a, b]
                    expected[r, c, i, j] = values.mean() if values.size else 0
    np.testing.assert_allclose(top, expected, atol=1e-5)


def interpolated(x: np.ndarray, at_y: float, at_x: float, margin: float) -> np.ndarray:
    height, width = x.shape[1:]
    if not (-margin <= at_y <= height - 1 + margin and -margin <= at_x <= width - 1 + margin):
        return np.zeros(len(x))
    at_y, at_x = min(max(at_y, 0), height - 1), min(max(at_x, 0), width - 1)
    y, u = int(at_y), at_y - int(at_y)
    z, v = int(at_x), at_x - int(at_x)
    below, right = min(y + 1, height - 1), min(z + 1, width - 1)
    upper = (1 - v) * x[:, y, z] + v * x[:, y, right]
    lower = (1 - v) * x[:, below, z] + v * x[:, below, right]
    return (1 - u) * upper + u * lower


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ratio", [-1, 2])
def test_roi_align_takes_means_of_interpolated_points(seed: int, ratio: int) -> None:
    rng = np.random.default_rng(seed)
    ph, pw, scale = int(rng.integers(1, 5)), int(rng.integers(1, 5)), 0.25
    x = rng.normal(size=(2, 3, *rng.integers(3, 12, 2)))
    rois = random_regions(rng, 5, 2, (x.shape[2] / scale, x.shape[3] / scale))
    (top,) = run(
        f'type: "ROIAlign" roi_align_param {{ pooled_h: {ph} pooled_w: {pw} '
        f"spatial_scale: {scale} sampling_ratio: {ratio} }}",
        x,
        rois,
    )
    for r, (picture, *corners) in enumerate(rois.astype(np.float64)):
        x1, y1, x2, y2 = (c * scale for c in corners)
        w, h = max(x2 - x1, 1) / pw, max(y2 - y1, 1) / ph
        many_y, many_x = (ratio, ratio) if ratio > 0 else (math.ceil(h), math.ceil(w))
        for i in range(ph):
            for j in range(pw):
                points = [
                    interpolated(
                        x[int(picture)],
                        y1 + (i + (a + 0.5) / many_y) * h,
                        x1 + (j + (b + 0.5) / many_x) * w,
                        1,
                    )
                    for a in range(many_y)
                    for b in range(many_x)
                ]
                np.testing.assert_allclose(top[r, :, i, j], np.mean(points, 0), atol=2e-4)


def test_roi_align_of_cascade_rcnn_gives_the_values_at_the_corners_of_bins() -> None:
    rng = np.random.default_rng(0)
    x, scale, pad = rng.normal(size=(1, 3, 6, 8)), 0.25, 0.1
    rois = random_regions(rng, 5, 1, (24, 32))
    (top,) = run(
        'type: "ROIAlign" roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.25 '
        "pad_ratio: 0.1 }",
        x,
        rois,
    )
    assert top.shape == (5, 3, 4, 5)
    for r, (_, x1, y1, x2, y2) in enumerate(rois.astype(np.float64)):
        pad_w, pad_h = (x2 - x1 + 1) * pad, (y2 - y1 + 1) * pad
        x1, x2 = (x1 - pad_w) * scale - 0.5, (x2 + pad_w) * scale - 0.5
        y1, y2 = (y1 - pad_h) * scale - 0.5, (y2 + pad_h) * scale - 0.5
        for i in range(4):
            for j in range(5):
                at = (y1 + i * (y2 - y1) / 3, x1 + j * (x2 - x1) / 4)
                np.testing.assert_allclose(top[r, :, i, j], interpolated(x[0], *at, 0.5), atol=1e-4)


REGION_LAYERS = {
    "ROIPooling": "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }",
    "PSROIPooling": "psroi_pooling_param { output_dim: 1 group_size: 2 spatial_scale: 0.5 }",
    "ROIAlign": "roi_align_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }",
}


@pytest.mark.parametrize("kind", REGION_LAYERS)
@pytest.mark.parametrize(
    ("region", "message"),
    [
        ([2, 0, 0, 5, 5], "region 1 is of picture 2, but the map has 2, from 0 to 1"),
        ([-1, 0, 0, 5, 5], "region 1 is of picture -1"),
        (
            [0, 900, 0, 950, 5],
            r"region 1 = \(900, 0, 950, 5\) lies outside the map of 4 x 6 places",
        ),
        ([0, 0, -90, 5, -80], r"region 1 = \(0, -90, 5, -80\) lies outside"),
        ([0, 0, 0, np.nan, 5], "region 1 = .* lies outside"),
    ],
)
def test_regions_off_the_map_are_named(kind: str, region: list[float], message: str) -> None:
    with pytest.raises(CaffeError, match=rf"layer 'layer' \({kind}\): {message}"):
        run(
            f'type: "{kind}" {REGION_LAYERS[kind]}',
            np.zeros((2, 4, 4, 6)),
            floats([[0, 0, 0, 3, 3], region]),
        )


@pytest.mark.parametrize("kind", REGION_LAYERS)
@pytest.mark.parametrize("shape", [(3, 4), (5,), (1, 3, 5)])
def test_regions_are_rows_of_five(kind: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"rows of 5 numbers .* their shape is"):
        run(f'type: "{kind}" {REGION_LAYERS[kind]}', np.zeros((1, 4, 4, 4)), np.zeros(shape))


@pytest.mark.parametrize("kind", REGION_LAYERS)
def test_regions_of_four_axes_are_rows_too(kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 6))
    rois = floats([[0, 0, 0, 3, 3], [0, 2, 1, 9, 7]])
    text = f'type: "{kind}" {REGION_LAYERS[kind]}'
    np.testing.assert_array_equal(run(text, x, rois), run(text, x, rois.reshape(2, 5, 1, 1)))


def test_psroi_pooling_refuses_a_map_of_other_channels() -> None:
    with pytest.raises(ShapeError, match="need 4 channels, but the map has 5"):
        run(
            f'type: "PSROIPooling" {REGION_LAYERS["PSROIPooling"]}',
            np.zeros((1, 5, 4, 4)),
            np.zeros((1, 5)),
        )


# Proposal.


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


# YOLO.


@pytest.mark.parametrize("reverse", [False, True])
def test_reorg_puts_numbers_where_darknet_does(reverse: bool) -> None:
    num, channels, height, width, stride = 2, 8, 4, 6, 2
    x = floats(np.arange(num * channels * height * width)).reshape(num, channels, height, width)
    (top,) = run(
        f'type: "Reorg" reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}', x
    )
    flat, out, small = x.ravel(), np.empty(x.size, np.float32), channels // stride**2
    for b in range(num):
        for k in range(channels):
            for j in range(height):
                for i in range(width):
                    here = i + width * (j + height * (k + channels * b))
                    column = i * stride + (k // small) % stride
                    row = j * stride + (k // small) // stride
                    there = column + width * stride * (
                        row + height * stride * (k % small + small * b)
                    )
                    if reverse:
                        out[there] = flat[here]
                    else:
                        out[here] = flat[there]
    shape = (num, 2, 8, 12) if reverse else (num, 32, 2, 3)
    np.testing.assert_array_equal(top, out.reshape(shape))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def thinned(found: list[tuple[int, float, np.ndarray]], threshold: float) -> list[list[float]]:
    kept: list[tuple[int, float, np.ndarray]] = []
    for one in sorted(found, key=lambda f: -f[1]):
        if all(overlap(one[2], other[2]) < threshold for other in kept):
            kept.append(one)
    return [[label, score, *box] for label, score, box in kept]


@pytest.mark.parametrize("seed", range(4))
def test_yolo_v2_detections(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, classes = 2, 3
    x = floats(rng.normal(size=(2, boxes * (5 + classes), 3, 4)))
    biases = [1.5, 2.0, 3.0, 1.0]
    text = f"num_classes: {classes} num_box: {boxes} confidence_threshold: 0.2 nms_threshold: 0.4 "
    text += " ".join(f"biases: {b}" for b in biases)
    (top,) = run(
        f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {text} }}', x, settled=False
    )
    expected = []
    for n in range(2):
        found = []
        for j in range(3):
            for i in range(4):
                for b in range(boxes):
                    v = x[n, b * (5 + classes) :][: 5 + classes, j, i].astype(np.float64)
                    cx, cy = (i + sigmoid(v[0])) / 4, (j + sigmoid(v[1])) / 3
                    w, h = (
                        math.exp(v[2]) * biases[2 * b] / 4,
                        math.exp(v[3]) * biases[2 * b + 1] / 3,
                    )
                    p = np.exp(v[5:]) / np.exp(v[5:]).sum()
                    score = sigmoid(v[4]) * p.max()
                    if score >= 0.2:
                        box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                        found.append((int(p.argmax()) + 1, score, box))
        expected += [[n, *row] for row in thinned(found, 0.4)]
    np.testing.assert_allclose(top[0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_yolo_v3_detections(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, masks, scales = 2, [[1, 2], [0, 1]], [32, 16]
    maps = [floats(rng.normal(size=(1, 2 * (5 + classes), 2, 3))) for _ in range(1)]
    maps.append(floats(rng.normal(size=(1, 2 * (5 + classes), 4, 6))))
    biases = [10.0, 14.0, 23.0, 27.0, 37.0, 58.0]
    text = f"num_classes: {classes} num_box: 2 confidence_threshold: 0.4 nms_threshold: 0.45 "
    text += " ".join(f"biases: {b}" for b in biases) + " mask_group_num: 2 "
    text += " ".join(f"mask: {m}" for group in masks for m in group) + " "
    text += " ".join(f"anchors_scale: {s}" for s in scales)
    (top,) = run(
        f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {text} }}',
        *maps,
        settled=False,
    )
    found = []
    for x, mask, scale in zip(maps, masks, scales, strict=True):
        height, width = x.shape[2:]
        for j in range(height):
            for i in range(width):
                for b, m in enumerate(mask):
                    v = x[0, b * (5 + classes) :][: 5 + classes, j, i].astype(np.float64)
                    cx, cy = (i + sigmoid(v[0])) / width, (j + sigmoid(v[1])) / height
                    w = math.exp(v[2]) * biases[2 * m] / (width * scale)
                    h = math.exp(v[3]) * biases[2 * m + 1] / (height * scale)
                    box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                    for c in range(classes):
                        score = sigmoid(v[4]) * sigmoid(v[5 + c])
                        if score > 0.4:
                            found.append((c + 1, score, box))
    expected = [[0, *row] for row in thinned(found, 0.45)]
    np.testing.assert_allclose(top[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_region_yolo_activates_and_flattens() -> None:
    x = np.random.default_rng(0).normal(size=(2, 2 * 8, 3, 2))
    (top,) = run('type: "RegionYolo" region_yolo_param { num: 2 classes: 3 coords: 4 }', x)
    parts = x.reshape(2, 2, 8, 3, 2).copy()
    for channel in (0, 1, 4):
        parts[:, :, channel] = 1 / (1 + np.exp(-parts[:, :, channel]))
    powers = np.exp(parts[:, :, 5:])
    parts[:, :, 5:] = powers / powers.sum(2, keepdims=True)
    np.testing.assert_allclose(top, parts.reshape(2, -1), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "YoloDetectionOutput" yolo_detection_output_param { num_box: 1 num_classes: 1 }',
         "need 2 times biases"),
        ('type: "YoloDetectionOutput" yolo_detection_output_param { num_box: 1 num_classes: 9 '
         "biases: 1 biases: 1 }", r"need maps of shape \(1, 14,"),
        ('type: "Reorg" reorg_param { stride: 3 }', "do not divide"),
    ],
)  # fmt: skip
def test_yolo_layers_refuse_maps_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(CaffeError, match=message):
        run(text, np.zeros((1, 6, 4, 4)))


# Losses.


def reference_smooth_l1(x: np.ndarray, sigma: float = 1) -> np.ndarray:
    square = sigma * sigma
    small = np.abs(x) < 1 / square
    return np.where(small, 0.5 * square * x * x, np.abs(x) - 0.5 / square)


@pytest.mark.parametrize("bottoms", [2, 3, 4])
@pytest.mark.parametrize("sigma", [1, 3])
def test_smooth_l1_loss(bottoms: int, sigma: float) -> None:
    rng = np.random.default_rng(0)
    blobs = [rng.normal(size=(3, 4, 2, 2)) for _ in range(bottoms)]
    (top,) = run(f'type: "SmoothL1Loss" smooth_l1_loss_param {{ sigma: {sigma} }}', *blobs)
    a, b, inner, outer = [*blobs, 1, 1][:2] + [*blobs[2:], 1, 1][:2]
    expected = (outer * reference_smooth_l1(inner * (a - b), sigma)).sum() / 3
    np.testing.assert_allclose(top, expected, rtol=1e-5)


def test_l1_loss_leaves_out_nan() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 2, 3, 2, 2))
    b[0, 0, 0, 0] = np.nan
    expected = np.nansum(np.abs(a - b))
    np.testing.assert_allclose(run('type: "L1Loss"', a, b)[0], expected / 2, rtol=1e-5)
    text = 'type: "L1Loss" l1_loss_param { l2_per_location: true epsilon: 0.04 }'
    squares = np.nan_to_num((a - b) ** 2).sum(1)
    np.testing.assert_allclose(run(text, a, b)[0], np.sqrt(squares + 0.04).sum() / 2, rtol=1e-5)


def test_ohem_losses_tell_each_regions_own() -> None:
    rng = np.random.default_rng(0)
    a, b, weights = rng.normal(size=(3, 4, 8))
    loss, single = run('type: "SmoothL1LossOHEM"', a, b, weights, tops=2)
    expected = reference_smooth_l1(weights * (a - b)).sum(1)
    np.testing.assert_allclose(single.ravel(), expected, rtol=1e-5)
    np.testing.assert_allclose(loss, expected.sum() / 4, rtol=1e-5)
    scores, labels = rng.normal(size=(4, 3)), np.array([2, 0, -1, 1])
    loss, softmax, single = run(
        'type: "SoftmaxWithLossOHEM" loss_param { ignore_label: -1 }', scores, labels, tops=3
    )
    chosen = [-math.log(softmax[i, n]) if n >= 0 else 0 for i, n in enumerate(labels)]
    np.testing.assert_allclose(single, chosen, rtol=1e-5)
    np.testing.assert_allclose(loss, sum(chosen) / 3, rtol=1e-5)


def test_box_annotator_keeps_the_regions_of_largest_loss_of_each_picture() -> None:
    rois = floats([[0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [0, 0, 0, 2, 2], [0, 0, 0, 3, 3]])
    losses, labels = floats([0.3, 0.1, 0.5, 0.4]), floats([1, 2, 3, 4])
    text = "box_annotator_ohem_param { roi_per_img: 2 ignore_label: -1 }"
    kept, weights = run(
        f'type: "BoxAnnotatorOHEM" {text}', rois, losses, labels, np.ones((4, 8)), tops=2
    )
    assert kept.tolist() == [-1, 2, 3, 4]
    assert weights[:, 0].tolist() == [0, 1, 1, 1]


def reference_multibox(
    loc: np.ndarray,
    conf: np.ndarray,
    priors: np.ndarray,
    truth: np.ndarray,
    *,
    classes: int,
    threshold: float = 0.5,
    ratio: float = 3,
    neg_overlap: float = 0.5,
) -> float:
    """CENTER_SIZE, SmoothL1 and softmax, with mining."""
    boxes, variances = priors.reshape(2, -1, 4).astype(np.float64)
    total, number = 0.0, 0
    for n in range(len(loc)):
        own = truth[truth[:, 0] == n]
        if not len(own):
            continue
        shared = np.array([[overlap(p, g[3:7]) for g in own] for p in boxes])
        belongs = np.full(len(boxes), -1)
        pairs = shared.copy()
        while pairs.max() > 1e-6:
            p, g = np.unravel_index(pairs.argmax(), pairs.shape)
            belongs[p] = g
            pairs[p] = pairs[:, g] = 0
        for p in range(len(boxes)):
            if belongs[p] < 0 and shared[p].max() >= threshold:
                belongs[p] = shared[p].argmax()
        scores = conf[n].reshape(-1, classes).astype(np.float64)
        log = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        for p in np.flatnonzero(belongs >= 0):
            g, b, v = own[belongs[p]], boxes[p], variances[p]
            w, h = b[2] - b[0], b[3] - b[1]
            wanted = np.array([
                ((g[3] + g[5]) / 2 - (b[0] + b[2]) / 2) / w / v[0],
                ((g[4] + g[6]) / 2 - (b[1] + b[3]) / 2) / h / v[1],
                math.log((g[5] - g[3]) / w) / v[2],
                math.log((g[6] - g[4]) / h) / v[3],
            ])  # fmt: skip
            total += reference_smooth_l1(loc[n].reshape(-1, 4)[p] - wanted).sum()
            total += -log[p, int(g[1])]
            number += 1
        free = [p for p in range(len(boxes)) if belongs[p] < 0 and shared[p].max() < neg_overlap]
        losses = sorted((-log[p, 0] for p in free), reverse=True)
        total += sum(losses[: int((belongs >= 0).sum() * ratio)])
    return total / max(1, number)


def multibox_bottoms(seed: int, classes: int = 3, count: int = 30) -> Arrays:
    rng = np.random.default_rng(seed)
    truth = []
    for picture in range(2):
        for _ in range(rng.integers(1, 4)):
            corner = rng.uniform(0, 0.6, 2)
            far = corner + rng.uniform(0.15, 0.4, 2)
            truth.append([picture, rng.integers(1, classes), 0, *corner, *far, 0])
    # A row that a data layer writes for a picture without boxes.
    truth.append([-1] * 8)
    return [
        floats(rng.normal(size=(3, 4 * count))),
        floats(rng.normal(size=(3, classes * count))),
        random_priors(rng, count),
        floats(truth)[None, None],
    ]


@pytest.mark.parametrize("seed", range(6))
def test_multibox_loss_is_what_ssd_says(seed: int) -> None:
    bottoms = multibox_bottoms(seed)
    text = "num_classes: 3 code_type: CENTER_SIZE overlap_threshold: 0.4 neg_overlap: 0.3"
    (top,) = run(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }}', *bottoms)
    truth = bottoms[3].reshape(-1, 8)
    expected = reference_multibox(*bottoms[:3], truth, classes=3, threshold=0.4, neg_overlap=0.3)
    np.testing.assert_allclose(top, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "code_type: CORNER loc_loss_type: L2",
        "code_type: CORNER_SIZE conf_loss_type: LOGISTIC",
        "code_type: CENTER_SIZE encode_variance_in_target: true match_type: BIPARTITE",
        "code_type: CORNER mining_type: NONE use_prior_for_matching: false",
        "code_type: CORNER mining_type: HARD_EXAMPLE sample_size: 8 bp_inside: true",
        "code_type: CORNER ignore_cross_boundary_bbox: true do_neg_mining: true",
        "code_type: CENTER_SIZE nms_param { nms_threshold: 0.9 top_k: 20 }",
    ],
)
def test_multibox_loss_in_all_its_forms_is_a_positive_number(text: str) -> None:
    text = f"num_classes: 3 {text}"
    (top,) = run(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }}', *multibox_bottoms(1))
    assert np.isfinite(top)
    assert top > 0


def test_multibox_loss_of_refinedet_moves_the_priors_and_leaves_easy_ones_out() -> None:
    loc, conf, priors, truth = multibox_bottoms(2)
    loc, conf, truth = loc[:1], conf[:1], truth[:, :, truth[0, 0, :, 0] == 0]
    moves = np.random.default_rng(3).normal(size=(30, 4))
    boxes, variances = priors.reshape(2, 30, 4)
    sizes, centers = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    centers = centers + moves[:, :2] * variances[:, :2] * sizes
    half = np.exp(moves[:, 2:] * variances[:, 2:]) * sizes / 2
    there = floats([np.concatenate([centers - half, centers + half], 1), variances])
    there = there.reshape(1, 2, -1)

    def loss(text: str, *bottoms: np.ndarray) -> np.ndarray:
        text = f"num_classes: 3 code_type: CENTER_SIZE objectness_score: 0.01 {text}"
        return run(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }}', *bottoms)[0]

    sure, easy = (np.tile([1 - p, p], 30)[None] for p in (0.9, 0.001))
    first = floats(moves)[None].reshape(1, -1)
    moved = loss("", loc, conf, there, truth)
    assert abs(moved - loss("", loc, conf, priors, truth)) > 1e-3
    found = loss("", loc, conf, priors, truth, floats(sure), first)
    np.testing.assert_allclose(found, moved, rtol=1e-4)
    found = loss("", loc, conf, priors, truth, floats(easy), first)
    without = loss("neg_pos_ratio: 0.0001", loc, conf, there, truth)
    np.testing.assert_allclose(found, without, rtol=1e-4)
    with pytest.raises(ShapeError, match="60 scores of being an object and 120 offsets"):
        loss("", loc, conf, priors, truth, first, first)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "needs num_classes"),
        ("num_classes: 4", r"the 30 priors need 120 offsets and 120 scores"),
        ("num_classes: 3 share_location: false", "mining_type: NONE"),
        ("num_classes: 3 do_neg_mining: false mining_type: MAX_NEGATIVE", "contradict"),
        ("num_classes: 3 background_label_id: 2", "has the label 2"),
    ],
)
def test_multibox_loss_refuses_what_does_not_fit(text: str, error: str) -> None:
    bottoms = multibox_bottoms(1)
    bottoms[3][0, 0, 0, 1] = 2
    with pytest.raises(CaffeError, match=error):
        run(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }}', *bottoms)
