"""SSD's sampler of parts, against its definition said once more in plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.layers.sources.boxed_pictures import BoxedPicture, sample_part
from caffe.proto.caffe_pb2 import AnnotatedDataParameter, SampleConstraint, Sampler
from caffe.proto.text import parse_text

BOXES = [(0.1, 0.2, 0.5, 0.6), (0.55, 0.5, 0.9, 0.95)]
SSD = """
batch_sampler { max_sample: 1 max_trials: 1 }
batch_sampler { sampler { min_scale: 0.3 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }
                sample_constraint { min_jaccard_overlap: 0.3 } max_sample: 1 max_trials: 50 }
batch_sampler { sampler { min_scale: 0.3 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }
                sample_constraint { max_jaccard_overlap: 0.1 min_object_coverage: 0.9 }
                max_sample: 2 max_trials: 50 }
batch_sampler { use_original_image: false max_trials: 5 }
batch_sampler { sampler { min_scale: 0.5 max_scale: 1 }
                sample_constraint { min_sample_coverage: 0.2 max_sample_coverage: 0.6 }
                max_trials: 9 }
"""
Numbers = tuple[float, float, float, float]


def picture() -> BoxedPicture:
    rows = np.array([[1, 0, *box, 0] for box in BOXES], np.float32)
    return BoxedPicture(np.zeros((3, 8, 8), np.uint8), rows)


def area(box: Numbers) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def suits(part: Numbers, constraint: SampleConstraint) -> bool:
    """SSD: each box is asked in turn; the first measure that lets it pass is enough."""
    kinds = ("jaccard_overlap", "sample_coverage", "object_coverage")
    asked = [k for k in kinds for way in ("min", "max") if constraint.HasField(f"{way}_{k}")]
    if not asked:
        return True
    for box in BOXES:
        shared = area(
            (
                max(part[0], box[0]),
                max(part[1], box[1]),
                min(part[2], box[2]),
                min(part[3], box[3]),
            )
        )
        values = {
            "jaccard_overlap": shared / (area(part) + area(box) - shared),
            "sample_coverage": shared / area(part),
            "object_coverage": shared / area(box),
        }
        kind = asked[0]
        low, high = f"min_{kind}", f"max_{kind}"
        if constraint.HasField(low) and values[kind] < getattr(constraint, low):
            continue
        if constraint.HasField(high) and values[kind] > getattr(constraint, high):
            continue
        return True
    return False


def part_of(param: Sampler, random: np.random.Generator) -> Numbers:
    """SSD: scale, then the ratio from the whole range, then bounded by the scale's square."""
    scale = random.uniform(param.min_scale, param.max_scale)
    ratio = random.uniform(param.min_aspect_ratio, param.max_aspect_ratio)
    ratio = min(max(ratio, scale**2), 1 / scale**2)
    width, height = scale * ratio**0.5, scale / ratio**0.5
    x, y = random.uniform(0, max(0, 1 - width)), random.uniform(0, max(0, 1 - height))
    return (x, y, x + width, y + height)


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_drawn_as_in_ssd(seed: int) -> None:
    samplers = parse_text(SSD, AnnotatedDataParameter()).batch_sampler
    ours = sample_part(picture(), samplers, np.random.default_rng(seed))
    random, found = np.random.default_rng(seed), []
    for sampler in samplers:
        if not sampler.use_original_image:
            continue
        taken = 0
        for _ in range(sampler.max_trials):
            if sampler.HasField("max_sample") and taken >= sampler.max_sample:
                break
            part = part_of(sampler.sampler, random)
            if suits(part, sampler.sample_constraint):
                found.append(part)
                taken += 1
    expected = found[int(random.integers(len(found)))]
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_ratios_at_the_bound_are_as_many_as_are_beyond_it() -> None:
    # At scale 0.9 the ratio may be 0.81 to 1.23: of 0.5 to 2 the rest falls on these two.
    text = """batch_sampler { max_sample: 1 max_trials: 1 sampler { min_scale: 0.9 max_scale: 0.9
              min_aspect_ratio: 0.5 max_aspect_ratio: 2 } }"""
    samplers = parse_text(text, AnnotatedDataParameter()).batch_sampler
    random = np.random.default_rng(0)
    parts = np.array([sample_part(picture(), samplers, random) for _ in range(500)])
    widths, heights = parts[:, 2] - parts[:, 0], parts[:, 3] - parts[:, 1]
    assert np.isclose(widths, 1, atol=1e-5).mean() == pytest.approx((2 - 1.2346) / 1.5, abs=0.07)
    assert np.isclose(heights, 1, atol=1e-5).mean() == pytest.approx(0.31 / 1.5, abs=0.07)


def test_pictures_without_boxes_suit_no_constraint() -> None:
    empty = BoxedPicture(picture().pixels, np.zeros((0, 7), np.float32))
    samplers = parse_text(SSD, AnnotatedDataParameter()).batch_sampler[1:2]
    assert sample_part(empty, samplers, np.random.default_rng(0)) is None
