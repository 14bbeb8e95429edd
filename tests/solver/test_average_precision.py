"""Average precision, by its definitions in plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.solver.average_precision import DetectionScores, average_precision

MARKS = [(0.9, True), (0.8, True), (0.75, False), (0.7, True), (0.6, False), (0.2, True)]


def curve(positives: int) -> list[tuple[float, float]]:
    found, points = 0, []
    for count, (_, right) in enumerate(sorted(MARKS, key=lambda mark: -mark[0]), 1):
        found += right
        points.append((found / positives, found / count))
    return points


@pytest.mark.parametrize("positives", [4, 5, 9])
def test_the_three_ways(positives: int) -> None:
    points = curve(positives)
    eleven = sum(max((p for r, p in points if r >= j / 10), default=0.0) for j in range(11)) / 11
    assert average_precision(MARKS, positives, "11point") == pytest.approx(eleven, rel=1e-6)
    natural, before = 0.0, 0.0
    for r, p in points:
        natural, before = natural + p * (r - before), r
    assert average_precision(MARKS, positives, "Integral") == pytest.approx(natural, rel=1e-6)
    # SSD's loop, from the end.
    most = points[-1][1]
    whole = 0.0
    for i in range(len(points) - 2, -1, -1):
        most = max(most, points[i][1])
        whole += most * (points[i + 1][0] - points[i][0])
    whole += points[0][0] * most
    assert average_precision(MARKS, positives, "MaxIntegral") == pytest.approx(whole, rel=1e-6)


def test_order_is_of_no_account_but_for_equal_scores() -> None:
    shuffled = [MARKS[i] for i in (3, 0, 5, 1, 4, 2)]
    assert average_precision(shuffled, 5) == average_precision(MARKS, 5)
    assert average_precision([(0.5, True), (0.5, False)], 1) == 1
    assert average_precision([(0.5, False), (0.5, True)], 1) == 0.5


def test_nothing_found_or_to_be_found_is_zero() -> None:
    for version in ("11point", "MaxIntegral", "Integral"):
        assert average_precision([], 3, version) == 0
        assert average_precision(MARKS, 0, version) == 0


def test_rows_of_several_batches_are_summed() -> None:
    scores = DetectionScores()
    scores.add(np.array([[-1, 1, 1, -1, -1], [-1, 2, 1, -1, -1], [0, 1, 0.9, 1, 0]], np.float32))
    # What finds a difficult box counts neither way.
    scores.add(np.array([[-1, 1, 1, -1, -1], [1, 1, 0.8, 0, 1], [1, 1, 0.95, 0, 0]], np.float32))
    assert scores.positives == {1: 2, 2: 1}
    assert scores.by_class("Integral") == pytest.approx({1: 0.5})
    # A class of which nothing was found counts in the mean.
    assert scores.mean("Integral") == pytest.approx(0.25)
