"""A tiny training, in the current folder."""

from __future__ import annotations

from pathlib import Path

import pytest

NET = """
name: "tiny"
layer { name: "d" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 1 } data_filler { type: "constant" value: 1 }
  data_filler { type: "constant" value: 2 } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1
  weight_filler { type: "constant" value: 0.1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
layer { name: "deep" type: "Power" bottom: "y" top: "deep" include { min_level: 2 } }
layer { name: "staged" type: "Power" bottom: "y" top: "staged" include { stage: "extra" } }
"""


def lay_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a solver's file, which trains a tiny net for four iterations, into a folder."""
    monkeypatch.chdir(folder)
    Path("net.prototxt").write_text(NET)
    path = Path("solver.prototxt")
    path.write_text(
        'net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" max_iter: 4 display: 2 '
        'test_iter: 1 test_interval: 2 snapshot: 2 snapshot_prefix: "s"'
    )
    return path
