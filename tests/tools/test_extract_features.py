"""`extract_features`: blobs' values in databases and HDF5 files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.layers.sources.databases import open_database
from caffe.proto.caffe_pb2 import DataParameter, Datum
from caffe.tools.extract_features import extract_features
from tests.helpers.command import tool
from tests.helpers.sources import picture, source, write_lmdb

PICTURES = 6
BATCH = 3


@pytest.fixture
def net(tmp_path: Path) -> caffe.Net:
    datums = [
        caffe.io.array_to_datum(picture(4, 4).transpose(2, 0, 1), i).SerializeToString()
        for i in range(PICTURES)
    ]
    write_lmdb(tmp_path / "in", {b"%02d" % i: datum for i, datum in enumerate(datums)})
    (tmp_path / "net.prototxt").write_text(f"""
layer {{ name: "data" type: "Data" top: "data" top: "label"
  data_param {{ source: "{tmp_path}/in" batch_size: {BATCH} backend: LMDB }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
  num_output: 2 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param {{
  num_output: 5 weight_filler {{ type: "xavier" }} }} }}
""")
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    net.save(str(tmp_path / "net.caffemodel"))
    return net


def expected(net: caffe.Net) -> dict[str, np.ndarray]:
    """The blobs' values of all pictures."""
    found: dict[str, list[np.ndarray]] = {"conv": [], "fc": [], "label": []}
    for _ in range(PICTURES // BATCH):
        net.forward()
        for name, values in found.items():
            values.append(net.blobs[name].data.copy())
    return {name: np.concatenate(values) for name, values in found.items()}


def extract(folder: Path, *arguments: object) -> object:
    return tool(extract_features, folder / "net.caffemodel", folder / "net.prototxt", *arguments)


@pytest.mark.parametrize("kind", ["lmdb", "leveldb"])
def test_a_database_has_a_datum_of_floats_for_each_picture(
    tmp_path: Path, net: caffe.Net, kind: str
) -> None:
    if kind == "leveldb":
        pytest.importorskip("plyvel")
    result = extract(
        tmp_path, "fc,conv,label", f"{tmp_path}/fc,{tmp_path}/conv,{tmp_path}/label", 2, kind, "CPU"
    )
    assert result.exit_code == 0, result.stderr
    assert "Extracted features of 6 query images for feature blob fc" in result.stderr
    shapes = {"fc": (5, 1, 1), "conv": (2, 2, 2), "label": (1, 1, 1)}
    for name, values in expected(net).items():
        store = open_database(str(tmp_path / name), DataParameter.DB.Value(kind.upper()))
        records = list(store.entries())
        assert [key for key, _ in records] == [b"%010d" % i for i in range(PICTURES)]
        for (_, value), row in zip(records, values, strict=True):
            datum = Datum.FromString(value)
            assert (datum.channels, datum.height, datum.width) == shapes[name]
            assert not datum.data
            assert np.allclose(datum.float_data, row.ravel(), rtol=1e-5, atol=1e-6)


def test_an_hdf5_file_goes_into_an_hdf5_data_layer(tmp_path: Path, net: caffe.Net) -> None:
    pytest.importorskip("h5py")
    result = extract(tmp_path, "fc", tmp_path / "fc.h5", 2, "hdf5", "CPU", "DEVICE_ID=0")
    assert result.exit_code == 0, result.stderr
    (tmp_path / "list.txt").write_text(f"{tmp_path}/fc.h5\n")
    again = source(
        f'type: "HDF5Data" hdf5_data_param {{ source: "{tmp_path}/list.txt" batch_size: 6 }}',
        'top: "fc"',
    )
    assert np.allclose(again.forward()["fc"], expected(net)["fc"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none", "x", 1, "lmdb"), "'none'"),
        (("fc,conv", "x", 1, "lmdb"), "2 blobs"),
        (("fc", "x", 1, "sqlite"), "sqlite"),
        (("fc", "x", 0, "lmdb"), "NUM_MINI_BATCHES"),
        (("fc", "x", 1, "lmdb", "TPU"), "CPU"),
    ],
)
@pytest.mark.usefixtures("net")
def test_what_cannot_be_done_is_told_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    blob, place, *rest = arguments
    before = sorted(path.name for path in tmp_path.iterdir())
    result = extract(tmp_path, blob, tmp_path / str(place), *rest)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before
