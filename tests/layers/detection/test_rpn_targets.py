"""py-faster-rcnn's target layers: which boxes are to be learned, and how far they are off."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import NetError, ShapeError
from tests.helpers.boxes import overlap
from tests.helpers.running import run

TRUE = np.array([[30, 40, 200, 260, 7], [320, 100, 500, 300, 15.0]])
INFO = np.array([[400, 600, 1.0]])
ANCHORS = """type: "Python" python_param { module: "rpn.anchor_target_layer"
    layer: "AnchorTargetLayer" param_str: "'feat_stride': 16" }"""
PROPOSALS = """type: "Python" python_param { module: "rpn.proposal_target_layer"
    layer: "ProposalTargetLayer" param_str: "'num_classes': 21" }"""


def offsets(box: np.ndarray, true: np.ndarray) -> np.ndarray:
    w, h = box[2] - box[0] + 1, box[3] - box[1] + 1
    tw, th = true[2] - true[0] + 1, true[3] - true[1] + 1
    x, y = box[0] + w / 2, box[1] + h / 2
    tx, ty = true[0] + tw / 2, true[1] + th / 2
    return np.array([(tx - x) / w, (ty - y) / h, np.log(tw / w), np.log(th / h)])


def test_anchors_are_labelled_by_their_overlap() -> None:
    from caffe.layers.detection.proposal import RATIOS, SCALES, anchors

    caffe.set_random_seed(3)
    height, width = 25, 38
    labels, targets, inside, outside = run(
        ANCHORS, np.zeros((1, 18, height, width)), TRUE, INFO, np.zeros((1, 3, 400, 600)), tops=4
    )
    assert labels.shape == (1, 1, 9 * height, width)
    assert targets.shape == inside.shape == outside.shape == (1, 36, height, width)
    labels = labels.reshape(9, height, width)
    by_anchor = [a.reshape(9, 4, height, width) for a in (targets, inside, outside)]
    counted = int((labels >= 0).sum())
    assert counted == 256
    assert 0 < (labels == 1).sum() <= 128
    base = anchors(16, RATIOS, SCALES)
    best = np.zeros(2)
    for a in range(9):
        for y in range(height):
            for x in range(width):
                box = base[a] + 16 * np.array([x, y, x, y])
                each = [overlap(box, t, 1) for t in TRUE]
                label = labels[a, y, x]
                fits = box.min() >= 0 and box[2] < 600 and box[3] < 400
                if not fits:
                    assert label == -1
                    assert not any(m[a, :, y, x].any() for m in by_anchor)
                    continue
                best = np.maximum(best, each)
                if label == 0:
                    assert max(each) < 0.7
                np.testing.assert_allclose(
                    by_anchor[0][a, :, y, x], offsets(box, TRUE[int(np.argmax(each))]), atol=1e-4
                )
                np.testing.assert_array_equal(by_anchor[1][a, :, y, x], label == 1)
                np.testing.assert_allclose(by_anchor[2][a, :, y, x], (label >= 0) / counted)
    positive = np.argwhere(labels == 1)
    for a, y, x in positive:
        each = [overlap(base[a] + 16 * np.array([x, y, x, y]), t, 1) for t in TRUE]
        assert max(each) >= 0.7 or any(abs(each[t] - best[t]) < 1e-5 for t in range(2))


def test_a_picture_without_objects_teaches_the_background() -> None:
    labels, targets, inside, _ = run(
        ANCHORS, np.zeros((1, 18, 25, 38)), np.zeros((0, 5)), INFO, np.zeros((1, 3, 4, 4)), tops=4
    )
    assert set(np.unique(labels)) == {-1, 0}
    assert not targets.any()
    assert not inside.any()


@pytest.mark.parametrize("classes", [21, 2])
def test_regions_get_the_class_and_the_offsets_of_what_they_overlap(classes: int) -> None:
    caffe.set_random_seed(5)
    rng = np.random.default_rng(0)
    near = TRUE[rng.integers(0, 2, 100), :4] + rng.normal(size=(100, 4)) * 15
    corner = rng.uniform(0, 300, size=(100, 2))
    far = np.concatenate([corner, corner + rng.uniform(20, 90, size=(100, 2))], 1)
    regions = np.pad(np.concatenate([near, far]), ((0, 0), (1, 0)))
    text = PROPOSALS.replace("21", str(classes))
    rois, labels, targets, inside, outside = run(text, regions, TRUE, tops=5, settled=False)
    assert len(rois) == len(labels) == 128
    assert targets.shape == inside.shape == outside.shape == (128, 4 * classes)
    assert (labels > 0).sum() == 32
    known = {tuple(np.float32(r)) for r in [*regions, *np.pad(TRUE[:, :4], ((0, 0), (1, 0)))]}
    for roi, label, target, weight in zip(rois, labels, targets, inside, strict=True):
        assert tuple(roi) in known
        each = [overlap(roi[1:], t, 1) for t in TRUE]
        wanted, own = np.zeros((2, classes, 4))
        if label:
            true = TRUE[int(np.argmax(each))]
            assert label == true[4]
            assert max(each) >= 0.5
            place = min(int(label), classes - 1)
            wanted[place] = offsets(roi[1:], true) / [0.1, 0.1, 0.2, 0.2]
            own[place] = 1
        else:
            assert max(each) < 0.5
        np.testing.assert_allclose(target, wanted.ravel(), atol=2e-4)
        np.testing.assert_array_equal(weight, own.ravel())
    np.testing.assert_array_equal(inside, outside)


def test_settings_and_bottoms_that_do_not_fit_are_refused() -> None:
    with pytest.raises(NetError, match="param_str needs num_classes"):
        run(PROPOSALS.replace("num_classes", "count"), np.zeros((1, 5)), TRUE)
    with pytest.raises(ShapeError, match="one picture at a time"):
        run(PROPOSALS, np.ones((3, 5)), TRUE, tops=5)
    with pytest.raises(ShapeError, match="rows of 5"):
        run(PROPOSALS, np.zeros((3, 4)), TRUE, tops=5)
    with pytest.raises(NetError, match="param_str needs feat_stride"):
        run(ANCHORS.replace("feat_stride", "x"), np.zeros((1, 18, 2, 2)), TRUE, INFO)
