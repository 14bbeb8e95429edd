"""`caffe segment`: palettes, overlays, areas, and what is refused."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command import caffe_command
from tests.helpers.segmenters import colours, halves

run = partial(caffe_command, "segment")


@pytest.fixture
def common(tmp_path: Path) -> tuple[object, ...]:
    folder = tmp_path / "net"
    folder.mkdir()
    net, weights = colours(folder)
    labels = folder / "labels.txt"
    labels.write_text("red\nblue\n")
    return ("--net", net, "--weights", weights, "--labels", labels)


def test_a_picture_is_drawn_and_its_areas_told(tmp_path: Path, common: tuple[object, ...]) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(halves()).save(picture)
    classes, overlay = tmp_path / "new" / "classes.png", tmp_path / "over.jpg"
    done = run(picture, *common, "-o", classes, "--overlay", overlay)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{picture} (64 x 48)"
    assert [line.split()[1] for line in lines[1:4]] == ["red", "background", "blue"] or [
        line.split()[1] for line in lines[1:4]
    ] == ["red", "blue", "background"]
    assert lines[4:] == [f"  drawn in {classes}", f"  drawn in {overlay}"]
    assert "pictures go in as bgr, pixel - (104, 117, 123)" in done.stderr
    with Image.open(classes) as read:
        numbers = np.asarray(read)
    assert numbers.shape == (48, 64)
    assert (numbers[:, :28] == 1).all()
    with Image.open(overlay) as read:
        assert read.width == 64


def test_several_go_into_folders_and_tables(tmp_path: Path, common: tuple[object, ...]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(halves()).save(folder / name)
    (folder / "b.png").write_text("no picture")
    done = run(folder, *common, "-o", tmp_path / "out", "--to", tmp_path / "areas.csv")
    assert done.exit_code == 1
    assert "b.png: not a picture" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    rows = list(csv.DictReader((tmp_path / "areas.csv").read_text().splitlines()))
    assert len(rows) == 6
    assert sum(int(row["pixels"]) for row in rows) == 2 * 48 * 64
    done = run(folder / "a.png", *common, "--to", "json")
    (found,) = json.loads(done.stdout)
    assert (found["width"], found["height"]) == (64, 48)
    assert sum(entry["share"] for entry in found["classes"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "give --net and --weights, or --model"),
        (("--net", "x"), 2, "--net goes with --weights"),
        (("--model", "segnet_driving", "--labels", "voc"), 2, "go with --net"),
        (("--net", "x", "--weights", "y", "-o", "a.jpg"), 1, "a.jpg: classes are written as .png"),
        (("--net", "x", "--weights", "y", "--to", "a.txt"), 1, "a.txt"),
        (("--model", "vgg16"), 1, "vgg16 segments no pictures but is for classification"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = run("picture.png", *arguments)
    assert done.exit_code == code
    assert told in " ".join(done.stderr.replace("│", " ").split())
