"""`caffe time`: each layer's time, the whole net's, and what cannot be timed."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest

from caffe.cli.time import LayerTime, Times
from tests.helpers.command import caffe_command

LAYERS = ["data", "conv", "relu", "ip"]


run = partial(caffe_command, "time")


@pytest.mark.parametrize("option", ["--net", "--model"])
def test_the_table_has_every_layer_and_both_totals(net: Path, option: str) -> None:
    result = run(option, net, "--iterations", 2)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Tiny: batch 2, CPU")
    assert lines[0].endswith("median of 2 runs")
    assert [line.split()[0] for line in lines[3:7]] == LAYERS
    assert lines[4].split()[1] == "Convolution"
    assert float(lines[4].split()[2]) > 0
    # The numbers' ends stand below one another.
    assert len({line.index("%") for line in lines[3:7]}) == 1
    assert "BACKWARD" not in result.stdout
    whole, unit = lines[-1].split()[1], lines[-1].split()[-1]
    assert lines[-2].startswith("sum of the layers")
    assert lines[-1].startswith("net.forward()")
    assert float(whole) > 0
    assert unit == "pictures/s"


def test_json_has_the_figures_and_the_shares_add_up(net: Path) -> None:
    result = run("--net", net, "--iterations", 3, "--backward", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    facts = {key: found[key] for key in ("net", "batch", "precision", "iterations")}
    assert facts == {"net": "Tiny", "batch": 2, "precision": "float32", "iterations": 3}
    layers = found["layers"]
    assert [layer["name"] for layer in layers] == LAYERS
    assert [layer["type"] for layer in layers][1:] == ["Convolution", "ReLU", "InnerProduct"]
    assert sum(layer["share"] for layer in layers) == pytest.approx(1, abs=0.001)
    for way in ("forward", "backward"):
        total = sum(layer[f"{way}_ms"] for layer in layers)
        assert found[f"layers_{way}_ms"] == pytest.approx(total, abs=0.001)
        assert found[f"net_{way}_ms"] > 0
    assert [layer["backward_ms"] > 0 for layer in layers][1:] == [True, True, True]


def test_the_original_s_lines_are_printed_where_they_are_asked_for(net: Path) -> None:
    result = run("-model", net, "-iterations", 2, "--log")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    told = [line.partition("] ")[2] for line in result.stderr.splitlines()]
    kinds = [re.sub(r"[\d.e-]+ ms", "N ms", line) for line in told]
    layers = [f"{name:>10}\t{way}: N ms." for name in LAYERS for way in ("forward", "backward")]
    assert kinds == [
        "Use CPU.",
        "*** Benchmark begins ***",
        "Testing for 2 iterations.",
        "Iteration: 1 forward-backward time: N ms.",
        "Iteration: 2 forward-backward time: N ms.",
        "Average time per layer: ",
        *layers,
        "Average Forward pass: N ms.",
        "Average Backward pass: N ms.",
        "Average Forward-Backward: N ms.",
        "Total Time: N ms.",
        "*** Benchmark ends ***",
    ]


def test_where_no_number_is_said_the_time_is_bounded(net: Path) -> None:
    for seconds, least, most in ((0, 1, 1), (60, 50, 50)):
        found = json.loads(run("--net", net, "--seconds", seconds, "--json").stdout)
        assert least <= found["iterations"] <= most
    told = run("--net", net, "--seconds", 0, "--iterations", 3, "--json").stdout
    assert json.loads(told)["iterations"] == 3


def test_figures_are_medians_that_one_slow_run_does_not_move() -> None:
    layers = [LayerTime("a", "ReLU", [1.0, 2.0, 90.0], []), LayerTime("b", "ReLU", [3.0, 3.0, 3.0])]
    times = Times(layers, [5.0, 4.0, 80.0])
    assert (times.forward, times.backward, times.net_forward) == (5, 0, 5)
    assert times.share(layers[1]) == 0.6


def test_batch_changes_the_inputs(net: Path) -> None:
    result = run("--net", net, "--iterations", 1, "--batch", 7, "--json")
    assert json.loads(result.stdout)["batch"] == 7


def test_phase_chooses_the_layers(net: Path) -> None:
    names = [
        [layer["name"] for layer in json.loads(result.stdout)["layers"]]
        for result in (
            run("--net", net, "--iterations", 1, "--json"),
            run("--net", net, "--iterations", 1, "--json", "--phase", "TRAIN"),
        )
    ]
    assert names == [LAYERS, [*LAYERS, "ip_ip_0_split", "loss"]]


def test_a_model_of_the_zoo_needs_no_weights() -> None:
    result = run("--model", "squeezenet_v1.1", "--iterations", 1, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["layers"][1]["name"] == "conv1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--net", "absent.prototxt"], "absent.prototxt"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--model", "ilsvrc12"], "ilsvrc12"),
        (["--gpu", "99"], "GPU"),
        (["--precision", "float7"], "float7"),
    ],
)
def test_what_cannot_be_timed_is_one_line_that_names_it(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_net_of_data_layers_has_no_batch_to_set(tmp_path: Path) -> None:
    path = tmp_path / "dummy.prototxt"
    path.write_text(
        'layer { name: "data" type: "DummyData" top: "data"'
        " dummy_data_param { shape { dim: 2 dim: 3 } } }"
    )
    assert json.loads(run("--net", path, "--iterations", 1, "--json").stdout)["batch"] is None
    assert "batch" not in run("--net", path, "--iterations", 1).stdout
    result = run("--net", path, "--batch", 4)
    assert result.exit_code == 1
    assert "--batch" in result.stderr


def test_two_names_for_one_net_are_a_usage_error(net: Path) -> None:
    result = run("--net", net, "--model", "vgg16")
    assert result.exit_code == 2
    assert "--net" in result.stderr
