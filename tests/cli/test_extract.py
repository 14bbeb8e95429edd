"""`caffe extract`: rows and names that belong together, and what cannot be read."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caffe.cli import reading
from caffe.cli.sources import read_source
from caffe.proto.files import parse_net
from tests.helpers.command import caffe_command

run = partial(caffe_command, "extract")

MEANS = """
name: "Means"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "all" type: "Reduction" bottom: "mean" top: "all" }
"""


def painted(folder: Path, count: int) -> list[tuple[int, int, int]]:
    """Pictures of one colour each, and one in four that is none."""
    colors = []
    for number in range(count):
        path = folder / f"{number:03}.png"
        if number % 4 == 1:
            path.write_text("no picture")
            continue
        colors.append((number, 2 * number, 255 - number))
        Image.new("RGB", (5 + number % 3, 6), colors[-1]).save(path)
    return colors


@pytest.fixture
def net(tmp_path: Path) -> list[object]:
    (tmp_path / "net").mkdir()
    text, weights = tmp_path / "net" / "a.prototxt", tmp_path / "net" / "a.caffemodel"
    text.write_text(MEANS)
    weights.write_bytes(parse_net(MEANS).SerializeToString())
    return ["--net", text, "--weights", weights]


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_rows_and_names_belong_together(tmp_path: Path, net: list[object], batch: int) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    colors = painted(folder, 18)
    target = tmp_path / "out.npy"
    done = run(folder, *net, "--blob", "mean", "-o", target, "--batch", batch)
    assert done.exit_code == 1
    assert done.stderr.count("not a picture") == 5
    assert f"{target}: 13 x 3 of 'mean'." in done.stdout
    # The net takes blue first.
    np.testing.assert_allclose(np.load(target)[:, ::-1], colors, atol=1e-3)
    names = target.with_suffix(".names.txt").read_text().splitlines()
    assert [int(Path(name).stem) for name in names] == [n for n in range(18) if n % 4 != 1]


def test_nothing_is_written_where_nothing_can_be_read(tmp_path: Path, net: list[object]) -> None:
    target = tmp_path / "out.npy"
    target.write_text("before")
    done = run(tmp_path / "absent.png", *net, "--blob", "mean", "-o", target)
    assert done.exit_code == 1
    assert "absent.png: no such file" in done.stderr
    assert target.read_text() == "before"
    assert not target.with_suffix(".names.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "out.txt", "--blob", "mean"], "end in .npy"),
        (["-o", "out.npy", "--blob", "maen"], "no blob 'maen'"),
        (["-o", "out.npy"], "no layer of the net has weights"),
        (["-o", "out.npy", "--blob", "all"], "has no row for each"),
        (["-o", "absent/out.npy", "--blob", "mean"], "absent/out.npy"),
        (["-o", "out.npy", "--blob", "mean", "--engine", "quick"], "engine must be one of"),
        (["-o", "out.npy", "--blob", "mean", "--precision", "int8"], "precision must be one of"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path,
    net: list[object],
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (5, 6)).save(tmp_path / "a.png")
    Image.new("RGB", (5, 6)).save(tmp_path / "b.png")
    done = run("a.png", "b.png", *net, *arguments)
    assert done.exit_code == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "net"]


def test_the_default_model_gives_what_its_classes_are_told_by(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (50, 60), "white").save(stream, "PNG")
    done = run("-", "-o", tmp_path / "out.npy", input=stream.getvalue())
    assert done.exit_code == 0, done.stderr
    assert np.load(tmp_path / "out.npy").shape == (1, 1280)
    assert (tmp_path / "out.names.txt").read_text() == "-\n"


def test_ctrl_c_leaves_nothing(
    tmp_path: Path, net: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (5, 6)).save(tmp_path / "a.png")

    def read(name: str, color: bool) -> Any:
        if name == "-":
            raise KeyboardInterrupt
        return read_source(name, color)

    monkeypatch.setattr(reading, "read_source", read)
    arguments = (tmp_path / "a.png", "-", *net, "--blob", "mean", "-o", tmp_path / "out.npy")
    done = run(*arguments, "--batch", 1)
    assert done.exit_code == 130
    assert done.stderr == "caffe: interrupted\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "net"]
