"""The examples run, and their figures are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe.io import labels
from tests.helpers.places import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
FIGURES = (
    "conv1-filters",
    "conv1-responses",
    "fully-connected",
    "last-pool-responses",
    "picture",
    "probabilities",
)

data = pytest.importorskip("skimage.data", reason="the examples use scikit-image's pictures")


def run(script: str, *arguments: object, shared: Path | None = None) -> str:
    """What an example prints; the reference material is there only where `shared` says so."""
    environment = {**os.environ, "RECAFFE_SHARED": str(shared or EXAMPLES / "nowhere")}
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_sees_a_cat():
    lines = run("demo.py").splitlines()
    found = [line.split(maxsplit=2) for line in lines if line.startswith("  0.")]
    assert len(found) == 5
    assert {synset for _, synset, _ in found[:3]} == {"n02123045", "n02123159", "n02124075"}


def test_classification_goes_through_the_whole_main_job(tmp_path):
    pytest.importorskip("matplotlib", reason="the figures need the extra vis")
    coffee = tmp_path / "coffee.png"
    Image.fromarray(data.coffee()).save(coffee)
    folder = tmp_path / "figures"
    out = run("classification.py", "--batch", 2, "--output", folder, "--url-or-path", coffee)

    assert "its label:       n02124075 Egyptian cat" in out
    assert "CPU, batch of 2:" in out
    assert "GPU" in out
    rows = {tuple(line.split(maxsplit=1)) for line in out.splitlines() if "(" in line}
    assert ("data", "(2, 3, 224, 224)") in rows
    assert ("stem", "(2, 32, 112, 112)") in rows
    assert ("fc", "(1000, 1280), (1000,)") in rows
    assert "n07920052 espresso" in out[out.index("Classifying /") :].splitlines()[3]

    assert sorted(path.stem for path in folder.iterdir()) == sorted(FIGURES)
    for path in folder.iterdir():
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
        assert min(pixels.shape) >= 300
        assert pixels.std() > 10, f"{path.name} is blank"


def boxes(out: str) -> np.ndarray:
    """The corners in the lines of boxes that an example prints."""
    lines = re.findall(r"^  [\d.]+  \(([-\d]+), ([-\d]+), ([-\d]+), ([-\d]+)\)$", out, re.M)
    return np.array(lines, float).reshape(-1, 4)


def is_drawn(path: Path) -> bool:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    return min(pixels.shape) >= 100 and pixels.std() > 10


@pytest.mark.parametrize("script", ["mtcnn.py", "face_detection.py"])
def test_faces_are_found_by_nets_that_the_example_builds(script, tmp_path):
    sys.path.insert(0, str(EXAMPLES))
    try:
        import drawn
    finally:
        sys.path.remove(str(EXAMPLES))
    target = tmp_path / "faces.png"
    found = boxes(run(script, "--output", target))
    yellow = np.asarray(drawn.faces()).reshape(320, 480, 3).astype(int)
    on_face = (yellow[:, :, 0] > 200) & (yellow[:, :, 2] < 120)
    assert len(found) == 5
    for x1, y1, x2, y2 in found.astype(int):
        # A disc fills three quarters of its square, less eyes and mouth.
        assert 0.4 < on_face[y1:y2, x1:x2].mean() < 0.9
    assert is_drawn(target)


@pytest.mark.parametrize("script", ["mtcnn.py", "face_detection.py"])
def test_a_face_is_found_by_trained_nets(script, tmp_path, shared):
    target = tmp_path / "faces.png"
    (face,) = boxes(run(script, "--output", target, shared=shared))
    np.testing.assert_allclose(face, (179, 60, 273, 177), atol=10)
    assert is_drawn(target)


def test_mtcnn_finds_the_landmarks_of_a_face(tmp_path, shared):
    out = run("mtcnn.py", "--output", tmp_path / "faces.png", shared=shared)
    (line,) = re.findall("eyes, nose and corners of the mouth at (.*)", out)
    points = np.array([place.split() for place in line.split(", ")], float)
    seen = [(205, 102), (247, 102), (224, 125), (203, 143), (246, 143)]
    np.testing.assert_allclose(points, seen, atol=6)


@pytest.mark.parametrize("own", [True, False])
def test_characters_of_a_plate_are_told_apart(own, tmp_path, request):
    shared = None if own else request.getfixturevalue("shared")
    target = tmp_path / "plate.png"
    out = run("license_plate.py", "--output", target, shared=shared)
    assert "7 characters" in out
    columns = re.findall(r"(\d+)-(\d+)", out.splitlines()[-2])
    middles = np.array(columns, float).mean(1)
    np.testing.assert_allclose(middles, [12, 30, 54, 72, 90, 107, 125], atol=5)
    assert is_drawn(target)


@pytest.mark.parametrize("own", [True, False])
def test_super_resolution_is_nearer_to_the_picture_than_bicubic(own, tmp_path, request):
    shared = None if own else request.getfixturevalue("shared")
    target = tmp_path / "sr.png"
    out = run("super_resolution.py", "--output", target, shared=shared)
    lines = re.findall(r"^  (.*?)  +([\d.]+) dB", out, re.M)
    values = {name.strip(): float(decibels) for name, decibels in lines}
    assert values["SRCNN, fitted here"] > values["bicubic"] + 0.2
    assert ("WeChat's net" in values) != own
    assert is_drawn(target)


def test_segmentation_lays_classes_over_a_picture(tmp_path):
    target = tmp_path / "cat.png"
    out = run("segmentation.py", "--output", target)
    shares = {name: int(share) for name, share in re.findall(r"^  (.*?)  (\d+)%", out, re.M)}
    assert sum(share for name, share in shares.items() if "cat" in name) > 50
    assert is_drawn(target)


def test_segmentation_takes_a_net_of_ones_own(tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text(
        """input: "data" input_shape { dim: 1 dim: 3 dim: 24 dim: 32 }
        layer { name: "score" type: "Convolution" bottom: "data" top: "score"
                convolution_param { num_output: 12 kernel_size: 1
                                    weight_filler { type: "gaussian" std: 0.1 } } }"""
    )
    out = run("segmentation.py", "--net", net, "--labels", "camvid", "--output", tmp_path / "o.png")
    names = re.findall(r"^  (.*?)  \d+%", out, re.M)
    assert names
    assert set(names) <= {"background", *labels.camvid()}
