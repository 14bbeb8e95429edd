"""The fuzzers: what goes wrong is seen, kept, and found again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe
import fuzz.__main__ as command
from fuzz.campaign import Campaign
from fuzz.engines import differences
from fuzz.targets import READERS_AND_NETS, TARGETS


def test_whatever_goes_wrong_is_found_and_the_rest_still_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = Campaign(tmp_path / "found", stuck=20.0)
    assert campaign.run("drill", 0, 7) == 7
    assert campaign.counts == {"drill": 7}
    assert [(f.number, f.kind) for f in campaign.found] == [
        (2, "error"),
        (3, "crash"),
        (4, "differs"),
        (5, "hang"),
    ]
    kept = sorted(campaign.folder.glob("*-error-*.bin"))
    assert [path.read_bytes() for path in kept] == [b"2"]
    assert "KeyError: 'unclean'" in kept[0].with_suffix(".bin.txt").read_text()
    assert command.main(["again", "drill", str(kept[0])]) == 1
    assert "KeyError: 'unclean'" in capsys.readouterr().out
    assert command.main(["again", "drill", "1"]) == 0


@pytest.mark.parametrize("name", READERS_AND_NETS)
def test_inputs_are_the_same_each_time_and_differ(name: str) -> None:
    target = TARGETS[name]
    inputs = [target.input(number) for number in range(20)]
    assert inputs == [target.input(number) for number in range(20)]
    assert len(set(inputs)) > 10


@pytest.mark.parametrize("name", [n for n in READERS_AND_NETS if n not in ("nets", "lmdb")])
def test_some_inputs_of_each_reader(name: str, tmp_path: Path) -> None:
    from fuzz.worker import tried

    for number in range(25):
        found = tried(TARGETS[name], TARGETS[name].input(number), tmp_path)
        assert found is None, ": ".join(found or ())


def test_nets_that_everything_is_done_to(tmp_path: Path) -> None:
    from fuzz.worker import tried

    for number in range(12):
        found = tried(TARGETS["nets"], str(number).encode(), tmp_path)
        assert found is None, ": ".join(found or ())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the original runs in forked processes")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_the_layers_themselves_round_off_is_no_mistake_of_an_engines(precision: str) -> None:
    # As MVN of one number everywhere gives: noise by the deviation of noise.
    noise, zeros = {"a": np.full(4, 3e-5, np.float32)}, {"a": np.zeros(4, np.float32)}
    rough = None if precision == "float32" else zeros
    assert not differences(zeros, noise, zeros, precision, rough)
    assert differences({"a": noise["a"] * 40}, noise, zeros, precision, rough)
    assert differences(zeros, noise, noise, precision, rough and noise)


def test_nets_are_put_to_another_caffe_and_compared() -> None:
    source = Path(caffe.__file__).parents[1]
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "fuzz.original",
            sys.executable,
            source,
            "--nets",
            "25",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "differs" not in done.stdout
    assert re.search(r"(?m)^ +[1-9]\d* equal forward and backward$", done.stdout)
