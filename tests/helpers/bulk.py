"""A net that is quick and whose answers are known, and runs of it over pictures of one colour."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caffe.bulk.classifying import Classifying
from caffe.bulk.job import Job
from caffe.bulk.model_files import ModelFiles
from caffe.bulk.parts import part_numbers, read_part
from caffe.bulk.verify import verify
from caffe.io.recipe import PictureRecipe
from caffe.proto.files import parse_net

COLOURS = ("blue", "green", "red")
"""The classes, in the net's order."""

NET = """
name: "Colours"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "prob" type: "Softmax" bottom: "mean" top: "prob" }
"""


def model_files(folder: Path) -> ModelFiles:
    """Write the net and its (empty) weights."""
    folder.mkdir(exist_ok=True)
    text, weights = folder / "colours.prototxt", folder / "colours.caffemodel"
    text.write_text(NET)
    weights.write_bytes(parse_net(NET).SerializeToString())
    return ModelFiles(str(text), str(weights))


def job_of(
    folder: Path, sources: Iterable[object], output: object = None, size: int = 4, **task: Any
) -> Job:
    """A run whose net and results lie in a folder."""
    recipe = PictureRecipe(mean=None, raw_scale=4.0, image_dims=None, crop=None)
    whole = Classifying(model_files(folder / "net"), recipe, labels=COLOURS, **{"top": 2, **task})
    return Job(whole, tuple(map(str, sources)), str(output or folder / "out"), size)


def colour_of(number: int) -> str:
    """What a painted picture of this number is."""
    return COLOURS[number % 3]


def encoded(number: int, form: str = "PNG") -> bytes:
    """A picture of one colour, as a file holds it."""
    stream = io.BytesIO()
    Image.new("RGB", (5 + number % 3, 6), colour_of(number)).save(stream, form)
    return stream.getvalue()


def name_of(number: int) -> str:
    """What a painted picture is called."""
    return f"{number:04}.png"


def painted(folder: Path, numbers: Iterable[int]) -> Path:
    """Write pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / name_of(number)).write_bytes(encoded(number))
    return folder


def archive(path: Path, numbers: Iterable[int]) -> Path:
    """Write pictures into an archive, a label behind each as WebDataset has it."""
    packed = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    with tarfile.open(path, packed.get(path.suffix, "w")) as tar:  # type: ignore[call-overload]
        for number in numbers:
            for name, content in ((name_of(number), encoded(number)), (f"{number}.cls", b"1")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def rows_of(job: Job) -> list[dict[str, Any]]:
    """All rows, by their ids."""
    parts = (read_part(job.store, number) for number in sorted(part_numbers(job.store)))
    return [row for part in parts for row in part.to_pylist()]


def check_whole(job: Job, pictures: int, errors: int = 0) -> list[dict[str, Any]]:
    """Check that each picture has its row, and that each row is the picture's."""
    verdict = verify(job.store)
    verdict.check()
    assert (verdict.pictures, verdict.rows, verdict.errors) == (pictures, pictures, errors)
    rows = rows_of(job)
    assert [row["id"] for row in rows] == list(range(pictures))
    for row in rows:
        if row["error"] is None:
            number = int(row["key"].rpartition(".")[0].rpartition("/")[2].rpartition("#")[2])
            assert row["labels"][0] == colour_of(number), row
            np.testing.assert_allclose(row["probabilities"][0], best_share(number), atol=1e-4)
        else:
            assert row["labels"] is None
    return rows


def best_share(number: int) -> float:
    """The probability of a picture's own colour: green is only half as bright."""
    bright = 128 / 255 if colour_of(number) == "green" else 1.0
    values: Sequence[float] = np.exp([4 * bright, 0, 0])
    return float(values[0] / sum(values))
