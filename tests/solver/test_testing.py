"""Tests during training: what their outputs come to."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

import caffe
from caffe.errors import NetError, ShapeError
from caffe.logs import logger
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.text import parse_text

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: [2, 2] } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss"
        include { phase: TRAIN } }
layer { name: "found" type: "Input" top: "found" input_param { shape { dim: [1, 1, 2, 7] } }
        include { phase: TEST } }
layer { name: "truth" type: "Input" top: "truth" input_param { shape { dim: [1, 1, 2, 8] } }
        include { phase: TEST } }
layer { name: "gone" type: "Silence" bottom: "y" bottom: "t" include { phase: TEST } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth"
        top: "detection_eval" include { phase: TEST }
        detection_evaluate_param { num_classes: 3 } }
"""
SOLVER = """base_lr: 0 lr_policy: "fixed" max_iter: 1 snapshot_after_train: false test_iter: 2
test_interval: 1 eval_type: "detection" """


def solver(folder: Path, text: str = "", net: str = NET) -> caffe.Solver:
    (folder / "net.prototxt").write_text(net)
    path = folder / "solver.prototxt"
    path.write_text(f'net: "{folder}/net.prototxt" {SOLVER} {text}')
    return caffe.get_solver(path)


@pytest.mark.parametrize("version", ["11point", "MaxIntegral", "Integral"])
def test_detections_are_judged_by_their_mean_average_precision(
    tmp_path: Path, version: str
) -> None:
    made = solver(tmp_path, f'ap_version: "{version}" show_per_class_result: true')
    net = made.test_nets[0]
    # Class 1: the better of two finds the one box. Class 2: nothing found.
    net.blobs["truth"].data[0, 0] = [
        [0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0],
        [0, 2, 0, 0.5, 0.5, 0.9, 0.9, 0],
    ]
    net.blobs["found"].data[0, 0] = [
        [0, 1, 0.9, 0.1, 0.1, 0.5, 0.5],
        [0, 1, 0.4, 0.6, 0.1, 0.9, 0.4],
    ]
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        made.step(1)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    lines = stream.getvalue().splitlines()
    assert "class1: 1" in lines
    assert "    Test net output #0: detection_eval = 0.5" in lines
    assert not [line for line in lines if line.startswith("class2")]


def test_other_outputs_are_no_detections(tmp_path: Path) -> None:
    net = NET.replace('bottom: "y" bottom: "t" include', 'bottom: "t" include')
    with pytest.raises(ShapeError, match="takes outputs of DetectionEvaluate, but 'y'"):
        solver(tmp_path, net=net)


def test_what_is_no_way_of_judging_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetError, match="ap_version must be 11point or MaxIntegral or Integral"):
        solver(tmp_path, 'ap_version: "12point"')
    text = f'net: "{tmp_path}/net.prototxt" eval_type: "segmentation"'
    with pytest.raises(NetError, match="eval_type must be classification or detection"):
        caffe.get_solver(parse_text(text, SolverParameter()))
