"""caffe.io turns arrays into Caffe's messages and back, and reads mean files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.io import (
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    caffe_pb2,
    datum_to_array,
    load_image,
    load_mean,
)


def random_array(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_blobproto_round_trip_keeps_shape_data_and_diff() -> None:
    data, diff = random_array(2, 3, 4), random_array(2, 3, 4) + 1
    blob = array_to_blobproto(data, diff)
    np.testing.assert_array_equal(blobproto_to_array(blob), data)
    np.testing.assert_array_equal(blobproto_to_array(blob, return_diff=True), diff)


def test_blobproto_of_the_old_form_has_four_axes() -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=2, height=3, width=4, data=range(24))
    np.testing.assert_array_equal(
        blobproto_to_array(blob), np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    )


def test_blobproto_in_double_precision() -> None:
    blob = caffe_pb2.BlobProto(double_data=[0.1, 0.2], shape=caffe_pb2.BlobShape(dim=[2]))
    assert blobproto_to_array(blob).tolist() == [0.1, 0.2]


def test_single_value_without_shape_is_a_scalar() -> None:
    array = blobproto_to_array(caffe_pb2.BlobProto(data=[123]))
    assert array.shape == ()
    assert array == 123


@pytest.mark.parametrize("dims", [[], [3], [2, 3], [-4], [-2, -2], [2**62, 2**62]])
@pytest.mark.parametrize("error", [ValueError, caffe.ShapeError])
def test_blobproto_whose_values_do_not_fill_its_shape(
    dims: list[int], error: type[Exception]
) -> None:
    blob = caffe_pb2.BlobProto(data=[1, 2, 3, 4], shape=caffe_pb2.BlobShape(dim=dims))
    with pytest.raises(error, match="4 data values"):
        blobproto_to_array(blob)


def test_diff_that_is_not_there() -> None:
    with pytest.raises(caffe.ShapeError, match="0 diff values"):
        blobproto_to_array(array_to_blobproto(np.ones(3)), return_diff=True)


def test_diff_of_another_shape() -> None:
    with pytest.raises(caffe.ShapeError, match=r"\(2,\).*\(3,\)"):
        array_to_blobproto(np.ones(3), np.ones(2))


def test_blobprotovector_round_trip() -> None:
    arrays = [random_array(2, 3), random_array(1), random_array(4, 1, 2)]
    found = blobprotovector_str_to_arraylist(arraylist_to_blobprotovector_str(arrays))
    assert len(found) == 3
    for array, original in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(array, original)


def test_bytes_that_are_no_blobprotovector() -> None:
    with pytest.raises(caffe.ParseError, match="BlobProtoVector"):
        blobprotovector_str_to_arraylist(b"\xff\xff\xff")


def test_datum_of_bytes() -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    datum = array_to_datum(values, label=7)
    assert datum.data == values.tobytes()
    assert datum.label == 7
    array = datum_to_array(datum)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, values)
    array[...] = 0


def test_datum_of_floats() -> None:
    values = random_array(3, 4, 5)
    datum = array_to_datum(values)
    assert not datum.data
    assert not datum.HasField("label")
    np.testing.assert_array_equal(datum_to_array(datum), values)


def test_label_zero_is_stored() -> None:
    assert array_to_datum(random_array(1, 1, 1), label=0).HasField("label")


def test_array_to_datum_needs_three_axes() -> None:
    with pytest.raises(ValueError, match=r"channels x height x width"):
        array_to_datum(np.zeros((4, 4)))


def test_datum_whose_values_do_not_fill_its_shape() -> None:
    with pytest.raises(caffe.ShapeError, match="5 values"):
        datum_to_array(caffe_pb2.Datum(channels=1, height=2, width=3, data=b"12345"))


def test_encoded_datum_says_how_to_read_it() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 2), "white").save(stream, "PNG")
    datum = caffe_pb2.Datum(data=stream.getvalue(), encoded=True)
    with pytest.raises(caffe.ShapeError, match="load_image"):
        datum_to_array(datum)
    assert load_image(datum.data).shape == (2, 4, 3)


def test_load_mean_of_npy_and_binaryproto_by_content(tmp_path: Path) -> None:
    mean = random_array(3, 4, 5)
    # Names that say nothing: the content decides.
    with open(tmp_path / "a", "wb") as file:
        np.save(file, mean.astype(np.float64))
    blob = array_to_blobproto(mean[np.newaxis])
    (tmp_path / "b").write_bytes(blob.SerializeToString())
    for name in ("a", "b"):
        found = load_mean(tmp_path / name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, mean)


def test_load_mean_by_channel(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", [104, 117, 123])
    assert load_mean(tmp_path / "m.npy").tolist() == [104, 117, 123]


def test_imagenet_mean_is_the_same_in_both_forms(shared: Path) -> None:
    models = shared / "models"
    npy = load_mean(models / "bvlc_caffe/python/caffe/imagenet/ilsvrc_2012_mean.npy")
    binaryproto = load_mean(models / "ilsvrc12_aux" / "imagenet_mean.binaryproto")
    np.testing.assert_array_equal(npy, binaryproto)
    with np.load(shared / "goldens" / "pipeline.npz") as figures:
        np.testing.assert_allclose(npy.mean((1, 2)), figures["mean_bgr"], rtol=1e-6)


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, mean=array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'name: "a prototxt"\n',
        bytes(range(100, 200)),
        npy_bytes(np.ones((3, 8, 8)))[:200],
        npy_bytes(np.ones((3, 8, 8)))[:20],
        npy_bytes(np.ones((3, 8, 8))).replace(b"(3, 8, 8), }       ", b"(3, 8, 88888888), }"),
        npy_bytes(np.array(["text"])),
        npy_bytes(np.zeros((0, 3))),
        npy_bytes(np.zeros((2, 3, 4, 4))),
        npz_bytes(np.ones(3)),
        array_to_blobproto(np.ones((1, 3, 8, 8))).SerializeToString()[:-5],
        caffe_pb2.BlobProto().SerializeToString(),
    ],
    ids=[
        "empty",
        "prototxt",
        "garbage",
        "truncated",
        "header",
        "oversized",
        "text",
        "no-values",
        "two-means",
        "npz",
        "truncated-binaryproto",
        "empty-binaryproto",
    ],
)
def test_load_mean_names_a_file_that_holds_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mean.file"
    path.write_bytes(content)
    with pytest.raises(caffe.ParseError, match=r"mean\.file"):
        load_mean(path)


@pytest.mark.parametrize(("name", "words"), [("missing.npy", "no such file"), (".", "a folder")])
def test_load_mean_of_no_file(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(caffe.ParseError, match=words):
        load_mean(tmp_path / name)
