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
    golden = np.load(shared / f"goldens/training/train_{name}.npz")
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
