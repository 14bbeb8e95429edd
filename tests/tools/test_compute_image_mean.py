"""`compute_image_mean`: the mean of a database, as transform_param takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.proto.caffe_pb2 import BlobProto
from caffe.tools.compute_image_mean import compute_image_mean
from tests.helpers.command import tool
from tests.helpers.sources import picture, source, write_lmdb


@pytest.fixture
def pictures() -> np.ndarray:
    return np.stack([picture(4, 5).transpose(2, 0, 1) for _ in range(7)])


@pytest.fixture
def database(tmp_path: Path, pictures: np.ndarray) -> Path:
    datums = [caffe.io.array_to_datum(one, 0).SerializeToString() for one in pictures]
    write_lmdb(tmp_path / "db", {b"%d" % i: datum for i, datum in enumerate(datums)})
    return tmp_path / "db"


def test_the_mean_is_written_and_told(tmp_path: Path, database: Path, pictures: np.ndarray) -> None:
    target = tmp_path / "mean.binaryproto"
    result = tool(compute_image_mean, "-backend=lmdb", database, target)
    assert result.exit_code == 0, result.stderr
    blob = BlobProto.FromString(target.read_bytes())
    # In the old form, as the original writes it.
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 4, 5)
    assert np.allclose(caffe.io.load_mean(target), pictures.mean(0), rtol=1e-6)
    for number, mean in enumerate(pictures.mean((0, 2, 3))):
        assert f"mean_value channel [{number}]: {mean:g}" in result.stderr
    assert "Processed 7 files." in result.stderr
    net = source(
        f'type: "Data" data_param {{ source: "{database}" batch_size: 7 backend: LMDB }} '
        f'transform_param {{ mean_file: "{target}" }}'
    )
    assert np.allclose(net.forward()["data"], pictures - pictures.mean(0), atol=1e-4)


def test_without_a_file_the_means_are_told_alone(tmp_path: Path, database: Path) -> None:
    before = sorted(tmp_path.iterdir())
    result = tool(compute_image_mean, database)
    assert result.exit_code == 0
    assert "Number of channels: 3" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_pictures_of_several_sizes_have_no_mean(tmp_path: Path, database: Path) -> None:
    odd = caffe.io.array_to_datum(picture(3, 3).transpose(2, 0, 1)).SerializeToString()
    write_lmdb(database, {b"9": odd})
    result = tool(compute_image_mean, database, tmp_path / "mean.binaryproto")
    assert result.exit_code == 1
    assert "(3, 3, 3)" in result.stderr
    assert not (tmp_path / "mean.binaryproto").exists()


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    for arguments in ((tmp_path / "none",), (tmp_path, "-backend", "sqlite")):
        result = tool(compute_image_mean, *arguments)
        assert result.exit_code == 1
        assert "database" in result.stderr or "LMDB" in result.stderr
