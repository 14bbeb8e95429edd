"""The examples run, and their figures are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FIGURES = (
    "conv1-filters",
    "conv1-responses",
    "fully-connected",
    "last-pool-responses",
    "picture",
    "probabilities",
)

data = pytest.importorskip("skimage.data", reason="the examples use scikit-image's pictures")


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)], capture_output=True, text=True
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
