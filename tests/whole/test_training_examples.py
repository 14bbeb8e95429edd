"""The examples that train run, and learn."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.places import REPOSITORY

EXAMPLES = REPOSITORY / "examples" / "training"
NOTEBOOKS = REPOSITORY / "examples" / "notebooks"

pytest.importorskip("matplotlib", reason="the examples draw with the extra vis")
pytest.importorskip("sklearn", reason="the examples' data come with the extra training")


def run(script: str | Path, *arguments: object, folder: Path | None = None) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shares(out: str) -> list[float]:
    """The percentages in what is printed, in order."""
    return [float(share) for share in re.findall(r"([\d.]+)%", out)]


def is_drawn(path: Path) -> bool:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    return min(pixels.shape) >= 200 and pixels.std() > 5


def test_lenet_learns_digits(tmp_path):
    pytest.importorskip("lmdb", reason="writing databases needs the extra lmdb")
    target, weights = tmp_path / "curve.png", tmp_path / "lenet.caffemodel"
    out = run("lenet.py", "--epochs", 2, "--output", target, "--weights", weights)
    assert "1438 pictures to learn from, 359 to test by" in out
    assert shares(out)[-1] > 90
    assert is_drawn(target)
    assert weights.stat().st_size > 4 * 431_080


def test_lenet_says_where_clothes_come_from(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "lenet.py", "--data", "fashion", "--folder", tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "apt install dataset-fashion-mnist" in done.stderr


def test_a_bent_border_is_better_than_a_straight_one(tmp_path):
    pytest.importorskip("h5py", reason="HDF5 needs the extra hdf5")
    notebook = json.loads((NOTEBOOKS / "05-brewing-logreg.ipynb").read_text("utf-8"))
    cells = ("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    code = "\n".join(cells).replace("steps = 1000", "steps = 200")
    script = tmp_path / "notebook.py"
    script.write_text(f"{code}\nplt.savefig('border.png')\n")
    out = run(script, folder=tmp_path)
    known, straight, bent = shares(out)
    assert abs(straight - known) < 2
    assert bent > straight + 2
    # What the command told of its tests.
    assert float(out.split("accuracy = ")[-1].split()[0]) * 100 == pytest.approx(straight, abs=0.01)
    assert is_drawn(tmp_path / "border.png")


def test_a_siamese_net_brings_equal_digits_together(tmp_path):
    pytest.importorskip("lmdb", reason="writing databases needs the extra lmdb")
    target = tmp_path / "plane.png"
    out = run("siamese.py", "--steps", 60, "--output", target)
    (right,) = shares(out)
    # One in ten would be chance.
    assert right > 50
    assert is_drawn(target)


def test_fine_tuning_tells_faces_from_other_things(tmp_path):
    pytest.importorskip("skimage", reason="the pictures come with the extra demo")
    target, weights = tmp_path / "faces.png", tmp_path / "mine.caffemodel"
    out = run("finetune.py", "--steps", 9, "--output", target, "--weights", weights)
    assert "face, other: 150 to learn from, 50 to test by" in out
    before, after = shares(out)
    assert after >= max(90, before)
    assert is_drawn(target)
    assert weights.exists()
