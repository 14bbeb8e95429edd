"""Which classes are the likeliest, and whether they are probabilities."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from caffe.predictions import (
    ManyPredictions,
    Prediction,
    Predictions,
    are_probabilities,
    likeliest,
)


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


SCORES = np.array([0.1, 0.6, 0.3], np.float32)


def test_a_prediction_is_a_pair_with_names() -> None:
    best = Predictions.of_scores(SCORES, ["cat", "dog", "fox"], 2)[0]
    label, probability = best
    assert (label, probability) == (best.label, best.probability) == ("dog", pytest.approx(0.6))
    assert best.index == 1
    again = pickle.loads(pickle.dumps(best))
    assert again == best
    assert again.index == 1


def test_classes_without_names_have_numbers_and_small_ones_are_left_out() -> None:
    found = Predictions.of_scores(SCORES, None, 3, least=0.2)
    assert [entry.label for entry in found] == ["class 1", "class 2"]


def test_predictions_become_json_and_tables() -> None:
    found = Predictions.of_scores(SCORES, ["cat", "dog", "fox"], 2, picture="a.png")
    assert json.loads(found.to_json()) == [
        {"index": 1, "label": "dog", "probability": pytest.approx(0.6)},
        {"index": 2, "label": "fox", "probability": pytest.approx(0.3)},
    ]
    many = ManyPredictions([found, Predictions([("cat", float("nan"))])])
    last = {"picture": 1, "rank": 1, "index": None, "label": "cat", "probability": None}
    assert json.loads(many.to_json())[-1] == last
    pytest.importorskip("pandas")
    frame = many.to_pandas()
    assert list(frame.picture) == ["a.png", "a.png", 1]
    assert list(frame["rank"]) == [1, 2, 1]
    assert list(found.to_pandas().columns) == ["index", "label", "probability"]
    assert len(ManyPredictions().to_pandas()) == 0


def test_a_pair_may_be_appended_and_sliced() -> None:
    found = Predictions([Prediction("cat", 0.5, 3)], "a.png")
    found.append(("dog", 0.25))
    assert found[:2].picture == "a.png"
    assert [entry["label"] for entry in found.to_dicts()] == ["cat", "dog"]
