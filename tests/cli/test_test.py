"""`caffe test`: the outputs of each batch and their averages, in the original's lines."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import caffe
from tests.helpers.command import caffe_command
from tests.helpers.digits import lay_digits, save_weights
from tests.helpers.logs import assert_same_log, lines

run = partial(caffe_command, "test")

NET = """
layer { name: "d" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 } data_filler { type: "constant" value: 1 }
  data_filler { type: "constant" value: 2 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 3
  weight_filler { type: "constant" value: 1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss"
  loss_weight: 2 }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy"
  include { phase: TEST } }
layer { name: "staged" type: "Reduction" bottom: "fc" top: "sums" reduction_param { axis: 1 }
  include { stage: "sums" } }
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    caffe.Net(path, caffe.TEST).save(tmp_path / "net.caffemodel")
    return path


def test_each_batch_and_the_averages_are_told(model: Path) -> None:
    weights = model.with_suffix(".caffemodel")
    result = run("-model", model, "-weights", weights, "-iterations", 2)
    assert result.exit_code == 0, result.stderr
    told = lines(result.stderr)
    assert told[0] == "Use CPU."
    assert told[told.index("Network initialization done.") + 1 :] == [
        "Running for 2 iterations.",
        "Batch 0, accuracy = 0",
        "Batch 0, loss = 1.09861",
        "Batch 1, accuracy = 0",
        "Batch 1, loss = 1.09861",
        "Loss: 2.19722",
        "accuracy = 0",
        "loss = 1.09861 (* 2 = 2.19722 loss)",
    ]


def test_every_value_of_an_output_is_told(model: Path) -> None:
    result = run(f"-model={model}", "-iterations=1", "-stage=other,sums")
    told = lines(result.stderr)
    assert told.count("Batch 0, sums = 9") == 4
    assert told.count("sums = 9") == 4


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    assert run().exit_code == 2
    result = run("-model", tmp_path / "none.prototxt")
    assert result.exit_code == 1
    assert "none.prototxt" in result.stderr


@pytest.mark.parametrize("name", ["quick_clip", "bn_nesterov", "auto_adagrad"])
def test_a_trained_net_gets_what_the_original_told(shared: Path, tmp_path: Path, name: str) -> None:
    with np.load(shared / f"goldens/training/train_{name}.npz") as stored:
        golden = dict(stored)
    lay_digits(shared, tmp_path)
    model, weights = (
        tmp_path / "net.prototxt",
        tmp_path / f"s_iter_{golden['iterations']}.caffemodel",
    )
    model.write_text(str(golden["net"]).replace("DIR/", f"{tmp_path}/"))
    save_weights(golden, caffe.Net(model, caffe.TRAIN), "last", weights)
    result = run("-model", model, "-weights", weights, "-iterations", 4)
    assert result.exit_code == 0
    told = result.stderr.replace(f"{tmp_path}/", "DIR/")
    assert_same_log(told, str(golden["test_log"]), rel=1e-3)


DETECTOR = """
layer { name: "d" type: "HDF5Data" top: "found" top: "truth" hdf5_data_param {
  source: "boxes.txt" batch_size: 1 } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth" top: "detection_eval"
  detection_evaluate_param { num_classes: 3 background_label_id: 0 } }
layer { name: "extra" type: "Reduction" bottom: "truth" top: "sum" }
"""
A, B = [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]
NOTHING = [-1.0] * 7


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A detector with one detection of the first picture, and two, the worse right, of the next."""
    h5py = pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    found = [[[0, 1, 0.9, *A], NOTHING], [[0, 1, 0.8, *A], [0, 1, 0.7, *B]]]
    truth = [[[0, 1, 0, *A, 0], [0, 2, 0, *A, 0]], [[0, 1, 0, *B, 0], [*NOTHING, 0]]]
    with h5py.File("boxes.h5", "w") as file:
        file["found"] = np.array(found, np.float32)[:, None]
        file["truth"] = np.array(truth, np.float32)[:, None]
    Path("boxes.txt").write_text("boxes.h5\n")
    Path("net.prototxt").write_text(DETECTOR)
    return tmp_path / "net.prototxt"


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ([], 0.5 + 0.5 * 2 / 3),
        (["--ap-version", "MaxIntegral"], 0.5 + 0.5 * 2 / 3),
        (["-eval-type=detection", "-ap-version=11point"], (6 + 5 * 2 / 3) / 11),
    ],
)
def test_detectors_are_judged_by_their_mean_average_precision(
    detector: Path, options: list[str], precision: float
) -> None:
    result = run("-model", detector, "-iterations", 2, *options)
    assert result.exit_code == 0, result.stderr
    told = lines(result.stderr)
    # Class 2 has a box that is not found.
    assert told[told.index("Running for 2 iterations.") + 1 :] == [
        "Batch 0, sum = 5.4",
        "Batch 1, sum = -3",
        "Loss: 0",
        "sum = 1.2",
        f"class1: {precision:g}",
        f"detection_eval = {precision / 2:g}",
    ]


def test_detections_are_judged_only_where_there_are_any(detector: Path, model: Path) -> None:
    model.write_text(NET)
    result = run("-model", model, "--eval-type", "detection")
    assert result.exit_code == 1
    assert "no output is of a DetectionEvaluate layer, but they are accuracy, loss" in result.stderr
    for option in ("--eval-type", "--ap-version"):
        result = run("-model", model, option, "12point")
        assert result.exit_code == 2
        assert f"{option} takes one of" in result.stderr


def test_numbers_that_vary_in_count_have_no_mean(detector: Path) -> None:
    result = run("-model", detector, "-iterations", 2, "--eval-type", "classification")
    assert result.exit_code == 1
    assert "one batch has 16 numbers and the next 21 have no mean" in result.stderr
