"""Weight files of every age: what is read equals protobuf's reading; damage is always noticed."""

from __future__ import annotations

import os
import random
import struct
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from caffe.errors import ParseError
from caffe.proto import caffe_pb2
from caffe.proto.upgrade import upgrade_net
from caffe.weights import wire
from caffe.weights.caffemodel import write_net
from caffe.weights.files import read_blob, read_weights, write_weights
from caffe.weights.layer_weights import WeightBlob

VALUES = np.array([1.5, -2, 3e-8, 4, 5, 6], np.float32)


def sample_net() -> caffe_pb2.NetParameter:
    net = caffe_pb2.NetParameter(name="net")
    layer = net.layer.add(name="ip", type="InnerProduct", bottom=["x"], top=["y"])
    layer.loss_weight.extend([1, 2])
    layer.inner_product_param.num_output = 2
    layer.blobs.add(data=VALUES).shape.dim.extend([2, 3])
    layer.blobs.add(data=VALUES[:2]).shape.dim.append(2)
    net.layer.add(name="relu", type="ReLU")
    return net


def floats(values: Iterable[float]) -> np.ndarray:
    return np.array(list(values), np.float32)


def write(path: Path, message: caffe_pb2.NetParameter | bytes) -> Path:
    path.write_bytes(message if isinstance(message, bytes) else message.SerializeToString())
    return path


def read_one(path: Path, blob: caffe_pb2.BlobProto | bytes) -> WeightBlob | None:
    """A blob as the only one of a net with one layer named "one"."""
    data = blob if isinstance(blob, bytes) else blob.SerializeToString()
    layer = b"\n\x03one" + wire.write_head(7, len(data)) + data
    write(path, wire.write_head(100, len(layer)) + layer)
    return read_weights(path)[0].blobs[0]


def expect(blob: WeightBlob | None, values: np.ndarray, shape: tuple[int, ...]) -> None:
    assert blob is not None
    assert blob.shape == shape
    assert blob.data.dtype == np.float32
    np.testing.assert_array_equal(blob.data, values)


def test_v2(tmp_path: Path) -> None:
    layers = read_weights(write(tmp_path / "w", sample_net()))
    assert [(layer.name, layer.type) for layer in layers] == [
        ("ip", "InnerProduct"),
        ("relu", "ReLU"),
    ]
    expect(layers[0].blobs[0], VALUES, (2, 3))
    expect(layers[0].blobs[1], VALUES[:2], (2,))
    assert layers[1].blobs == []


def test_v1_and_v0_have_v2s_names(tmp_path: Path) -> None:
    v1 = caffe_pb2.NetParameter()
    layer = v1.layers.add(name="loss", type="SOFTMAX_LOSS")
    layer.blobs.add(num=1, channels=1, height=2, width=3, data=VALUES)
    v0 = caffe_pb2.NetParameter()
    old = v0.layers.add(bottom=["x"]).layer
    old.name, old.type = "loss", "softmax_loss"
    old.blobs.extend(layer.blobs)
    for net in (v1, v0):
        (read,) = read_weights(write(tmp_path / "w", net))
        assert (read.name, read.type) == ("loss", "SoftmaxWithLoss")
        expect(read.blobs[0], VALUES, (1, 1, 2, 3))
        assert read.blobs[0] is not None
        assert read.blobs[0].legacy


def test_values_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "w"
    shape = caffe_pb2.BlobShape(dim=[6])
    doubles = caffe_pb2.BlobProto(shape=shape, double_data=VALUES, double_diff=VALUES * 2)
    blob = read_one(path, doubles)
    expect(blob, VALUES, (6,))
    assert blob is not None
    np.testing.assert_array_equal(blob.diff, VALUES * 2)
    halves = VALUES.astype("<f2")
    for kind, raw in (("FLOAT16", halves), ("FLOAT", VALUES), ("DOUBLE", VALUES.astype("<f8"))):
        proto = caffe_pb2.BlobProto(shape=shape, raw_data_type=kind, raw_data=raw.tobytes())
        expect(read_one(path, proto), raw.astype(np.float32), (6,))
    tail = caffe_pb2.BlobProto(shape=shape).SerializeToString()
    singles = b"".join(b"\x2d" + struct.pack("<f", value) for value in VALUES)
    expect(read_one(path, singles + tail), VALUES, (6,))
    expect(read_one(path, tail + singles), VALUES, (6,))
    mixed = singles[:10] + caffe_pb2.BlobProto(data=VALUES[2:]).SerializeToString() + tail
    expect(read_one(path, mixed), VALUES, (6,))
    unpacked = b"".join(b"\x41" + struct.pack("<d", value) for value in VALUES)
    expect(read_one(path, unpacked + tail), VALUES, (6,))
    expect(read_one(path, singles + b"\x3a\x04\x08\x02\x08\x03"), VALUES, (2, 3))
    expect(read_one(path, caffe_pb2.BlobProto(data=[7])), floats([7]), ())


def test_values_of_small_files_are_views(tmp_path: Path) -> None:
    blob = read_weights(write(tmp_path / "w", sample_net()))[0].blobs[0]
    assert blob is not None
    assert not blob.data.flags.owndata
    assert not blob.data.flags.writeable
    own = blob.own_data()
    own += 1
    np.testing.assert_array_equal(blob.data + 1, own)


def large_net(path: Path) -> np.ndarray:
    values = np.arange(400_000, dtype=np.float32)
    layer = caffe_pb2.LayerParameter(name="ip", type="InnerProduct")
    with open(path, "wb") as stream:
        write_net(stream, "large", [(layer, [values, values[:3]])], [[-values, values[:3]]])
    return values


def test_values_of_large_files_stay_there_until_they_are_wanted(tmp_path: Path) -> None:
    values = large_net(tmp_path / "w")
    blob = read_weights(tmp_path / "w")[0].blobs[0]
    assert blob is not None
    assert blob.shape == (400_000,)
    np.testing.assert_array_equal(blob.data, values)
    assert blob.diff is not None
    np.testing.assert_array_equal(blob.diff, -values)
    assert blob.own_data() is not blob.own_data()


def test_a_file_that_is_cut_off_meanwhile_is_an_error(tmp_path: Path) -> None:
    large_net(tmp_path / "w")
    blob = read_weights(tmp_path / "w")[0].blobs[0]
    assert blob is not None
    os.truncate(tmp_path / "w", 1000)
    with pytest.raises(ParseError, match="changed while it was read"):
        blob.own_data()


def test_many_short_runs_take_no_longer_than_their_length() -> None:
    def seconds(count: int) -> float:
        data = b"\x0d1234\x15abcd" * count
        begin = time.perf_counter()
        assert sum(1 for _ in wire.fields(wire.whole(data))) == 2 * count
        return time.perf_counter() - begin

    assert min(seconds(8000) for _ in range(3)) < 8 * min(seconds(2000) for _ in range(3))


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (caffe_pb2.BlobProto(data=VALUES, shape=caffe_pb2.BlobShape(dim=[5])), "5.*6 values"),
        (caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[5])), "5.*0 values"),
        (caffe_pb2.BlobProto(num=2, channels=3, data=VALUES), "2 3 0 0.*6 values"),
        (caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[-1])), "-1 is impossible"),
        (caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[1] * 40)), "impossible"),
        (caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[0, 2**40, 2**40])), "impossible"),
        (caffe_pb2.BlobProto(data=[1], diff=[1, 2]), "2 gradients"),
        (caffe_pb2.BlobProto(raw_data_type="INT", raw_data=b"abcd"), "unknown type 3"),
        (b"\x2a\x03abc", "no whole number"),
        (b"\x28\x01", "field 5"),
    ],
)
def test_bad_blob_is_named(tmp_path: Path, blob: caffe_pb2.BlobProto | bytes, words: str) -> None:
    with pytest.raises(ParseError, match=f"layer 'one', blob 0: .*{words}") as caught:
        read_one(tmp_path / "w", blob)
    assert caught.value.source == str(tmp_path / "w")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b'name: "net"\nlayer { name: "a" }\n', "text file"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"PK\x03\x04\0\0\0\0", "zip"),
        (caffe_pb2.SolverState(iter=3, current_step=1).SerializeToString(), "solver state"),
        (caffe_pb2.BlobProto(num=1, data=VALUES).SerializeToString(), "a mean"),
        (caffe_pb2.NetParameter(name="net\1").SerializeToString(), "no layers"),
        (sample_net().SerializeToString() + b"\x0a\x7f", "too far"),
        (b"\x0a\x01a" + b"\xff" * 12, "no end"),
        (b"\x0b\x01", "wire type 3"),
    ],
)
def test_what_is_no_caffemodel_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ParseError, match=words) as caught:
        read_weights(write(tmp_path / "w", data))
    assert str(tmp_path / "w") in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ParseError, match="no such file"):
        read_weights(tmp_path / "absent")
    with pytest.raises(ParseError, match="folder"):
        read_weights(tmp_path)


def test_layer_and_layers_do_not_mix(tmp_path: Path) -> None:
    net = sample_net()
    net.layers.add(name="old", type="RELU")
    with pytest.raises(ParseError, match="both 'layers'"):
        read_weights(write(tmp_path / "w", net))


def test_a_cut_is_noticed_unless_it_falls_between_layers(tmp_path: Path) -> None:
    data = sample_net().SerializeToString()
    whole = [part.end for part in wire.fields(wire.whole(data)) if part.number == 100]
    for end in range(len(data)):
        write(tmp_path / "w", data[:end])
        if end in whole:
            assert len(read_weights(tmp_path / "w")) == whole.index(end) + 1
        else:
            with pytest.raises(ParseError):
                read_weights(tmp_path / "w")


def test_damage_gives_a_parse_error_or_what_protobuf_reads(tmp_path: Path) -> None:
    chance = random.Random(0)
    good = sample_net().SerializeToString()
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        write(tmp_path / "w", bytes(data))
        try:
            layers = read_weights(tmp_path / "w")
        except ParseError:
            continue
        for layer in layers:
            for blob in layer.blobs:
                assert blob is not None
                assert len(blob.data) == np.prod(blob.shape)
    for _ in range(500):
        with pytest.raises(ParseError):
            read_weights(write(tmp_path / "w", chance.randbytes(chance.randrange(1, 99))))


def test_written_file_is_protobufs_own(tmp_path: Path) -> None:
    net = sample_net()
    arrays = [
        [np.reshape(blob.data, blob.shape.dim).astype(np.float32) for blob in layer.blobs]
        for layer in net.layer
    ]
    # Neither layout nor type of the arrays matters.
    arrays[0][0] = np.asfortranarray(arrays[0][0].astype(np.float64))
    write_weights(tmp_path / "w", "net", zip(net.layer, arrays, strict=True))
    data = (tmp_path / "w").read_bytes()
    assert data == net.SerializeToString(deterministic=True)
    assert caffe_pb2.NetParameter.FromString(data) == net


def test_written_gradients_and_odd_shapes(tmp_path: Path) -> None:
    layer = caffe_pb2.LayerParameter(name="one", type="Odd")
    blobs = [np.float32(3), np.zeros((0, 4), np.float32), np.ones((1, 2), np.float32)]
    diffs = [np.float32(4), np.zeros((0, 4), np.float32), np.full((1, 2), 5, np.float32)]
    write_weights(tmp_path / "w", "", [(layer, blobs)], [diffs])
    (read,) = read_weights(tmp_path / "w")
    expect(read.blobs[0], floats([3]), ())
    expect(read.blobs[1], floats([]), (0, 4))
    expect(read.blobs[2], floats([1, 1]), (1, 2))
    assert read.blobs[2] is not None
    np.testing.assert_array_equal(read.blobs[2].diff, [5, 5])


def test_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "w", b"precious")
    layer = caffe_pb2.LayerParameter(name="one")
    with pytest.raises(ValueError, match="could not convert"):
        write_weights(path, "n", [(layer, [np.array(["no number"])])])
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_mean_file(tmp_path: Path) -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, data=VALUES)
    mean = read_blob(write(tmp_path / "m", blob.SerializeToString()))
    np.testing.assert_array_equal(mean, VALUES.reshape(1, 1, 2, 3))
    mean += 1  # the caller's own
    with pytest.raises(ParseError, match="text file"):
        read_blob(write(tmp_path / "m", b"name: 'x'"))
    with pytest.raises(ParseError, match="too far"):
        read_blob(write(tmp_path / "m", blob.SerializeToString()[:-9]))


def test_published_means_equal_protobufs_reading(shared: Path) -> None:
    for path in (shared / "models").rglob("*.binaryproto"):
        blob = caffe_pb2.BlobProto.FromString(path.read_bytes())
        mean = read_blob(path)
        assert mean.shape == (blob.num, blob.channels, blob.height, blob.width)
        np.testing.assert_array_equal(mean.ravel(), floats(blob.data))


def test_published_weights_equal_protobufs_reading_and_are_written_back(
    shared: Path, tmp_path: Path
) -> None:
    paths = sorted((shared / "models").rglob("*.caffemodel"))
    assert len(paths) > 10
    for path in paths:
        layers = read_weights(path)
        net = upgrade_net(caffe_pb2.NetParameter.FromString(path.read_bytes()))
        assert [(one.name, one.type) for one in layers] == [(p.name, p.type) for p in net.layer]
        arrays: list[list[np.ndarray]] = []
        for layer, theirs in zip(layers, net.layer, strict=True):
            arrays.append([])
            for blob, proto in zip(layer.blobs, theirs.blobs, strict=True):
                assert blob is not None
                shape = proto.shape.dim or (proto.num, proto.channels, proto.height, proto.width)
                raw = np.frombuffer(proto.raw_data, "<f2").astype(np.float32)
                expect(blob, raw if len(raw) else floats(proto.data), tuple(shape))
                assert blob.legacy == proto.HasField("num")
                arrays[-1].append(blob.data.reshape(blob.shape))
        write_weights(tmp_path / "w", net.name, zip(net.layer, arrays, strict=True))
        again = read_weights(tmp_path / "w")
        for layer, written in zip(layers, again, strict=True):
            for blob, copy in zip(layer.blobs, written.blobs, strict=True):
                assert blob is not None
                expect(copy, blob.data, blob.shape)


def test_other_published_files_are_refused(shared: Path) -> None:
    models = shared / "models"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in (
            "squeezenet_v1.0/compressed_SqueezeNet.net",
            "lenet_v2fmt/lenet_iter_10000.solverstate",
            "ilsvrc12_aux/imagenet_mean.binaryproto",
            "lenet_v2fmt/lenet.prototxt",
            "bvlc_caffe/examples/images/cat.jpg",
        ):
            with pytest.raises(ParseError):
                read_weights(models / name)
