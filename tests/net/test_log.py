"""What is told of a net that is made, to whoever asked for it."""

from __future__ import annotations

import logging

import pytest

import caffe
from caffe.logs import logger
from tests.helpers.logs import lines

NET = """
name: "twins"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { lr_mult: 2 }
        inner_product_param { num_output: 3 } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
        inner_product_param { num_output: 3 bias_term: false } }
layer { name: "r" type: "ReLU" bottom: "b" top: "b" }
layer { name: "s" type: "Scale" bottom: "b" top: "s" scale_param { bias_term: true } }
layer { name: "loss" type: "EuclideanLoss" bottom: "s" bottom: "x" top: "loss" loss_weight: 0.5
        include { min_level: 1 } include { stage: "fit" not_stage: "raw" } }
"""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The logger as a program finds it."""
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    level = logger.level
    monkeypatch.setattr(logger, "level", level)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def told(quiet: None) -> None:
    caffe.init_log()


@pytest.mark.usefixtures("quiet")
def test_nothing_is_told_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    caffe.Net(NET, caffe.TRAIN)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("told")
def test_layers_blobs_and_memory_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    caffe.Net(NET, caffe.TRAIN, stages=["fit"])
    found = lines(capsys.readouterr().err)
    assert found[:5] == [
        "The NetState level (0) is above the min_level (1) specified by a rule in layer loss",
        "Initializing net from parameters: ",
        'name: "twins"',
        "state {",
        "  phase: TRAIN",
    ]
    assert "    lr_mult: 2" in found
    start = found.index("Creating layer b")
    assert found[start:] == [
        "Creating layer b",
        "Creating Layer b",
        "b <- a",
        "b -> b",
        "Setting up b",
        "Top shape: 2 3 (6)",
        "Memory required for data: 120",
        "Sharing parameters 'w' owned by layer 'a', param index 0",
        "Creating layer r",
        "Creating Layer r",
        "r <- b",
        "r -> b (in-place)",
        "Setting up r",
        "Top shape: 2 3 (6)",
        "Memory required for data: 144",
        "Creating layer s",
        "Creating Layer s",
        "s <- b",
        "s -> s",
        "Creating layer s",
        "Setting up s",
        "Top shape: 2 3 (6)",
        "Memory required for data: 168",
        "Creating layer loss",
        "Creating Layer loss",
        "loss <- s",
        "loss <- x_x_0_split_1",
        "loss -> loss",
        "Setting up loss",
        "Top shape: (1)",
        "    with loss weight 0.5",
        "Memory required for data: 172",
        "loss needs backward computation.",
        "s needs backward computation.",
        "r needs backward computation.",
        "b needs backward computation.",
        "a needs backward computation.",
        "x_x_0_split does not need backward computation.",
        "x does not need backward computation.",
        "This network produces output loss",
        "Network initialization done.",
    ]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ([], "The NetState did not contain stage 'fit'"),
        (["fit", "raw"], "The NetState contained a not_stage 'raw'"),
    ],
)
def test_each_rule_that_does_not_hold_is_told(
    stages: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    caffe.Net(NET, caffe.TRAIN, stages=stages)
    found = lines(capsys.readouterr().err)
    assert found[1] == f"{reason} specified by a rule in layer loss"


@pytest.mark.usefixtures("told")
def test_weights_that_find_no_layer_are_told(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{tmp_path}/w.caffemodel"
    caffe.Net(NET.replace('name: "r"', 'name: "other"'), caffe.TEST).save(path)
    net = caffe.Net(NET, caffe.TEST)
    capsys.readouterr()
    net.copy_from(path)
    assert lines(capsys.readouterr().err) == ["Ignoring source layer other"]


@pytest.mark.usefixtures("told")
def test_batch_norms_settings_of_the_original_are_told_of(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{tmp_path}/w.caffemodel"
    net = caffe.Net(NET + 'layer { name: "n" type: "BatchNorm" bottom: "s" top: "n" }', caffe.TEST)
    net.save(path)
    capsys.readouterr()
    net.copy_from(path)
    what = "batch norm layers using deprecated params"
    assert lines(capsys.readouterr().err) == [
        f"Attempting to upgrade {what}: {path}",
        f"Successfully upgraded {what}.",
    ]
