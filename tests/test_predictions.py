"""Which classes are the likeliest, and whether they are probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.predictions import are_probabilities, likeliest


def test_the_likeliest_come_first_and_of_equals_the_first() -> None:
    scores = np.array([0.1, 0.4, 0.4, np.nan, 0.1])
    assert likeliest(scores, 3) == [1, 2, 0]
    assert likeliest(scores, 99) == [1, 2, 0, 4, 3]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 1], True), ([0.2, 1.0005], True), ([-0.1, 1], False), ([7], False)],
)
def test_scores_without_a_softmax_are_told_from_probabilities(
    values: list[float], expected: bool
) -> None:
    assert are_probabilities(np.array(values, np.float32)) is expected
