"""Nets and solvers are read from text and binary files alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe.errors import ParseError
from caffe.proto import caffe_pb2
from caffe.proto.files import parse_net, read_net, read_solver
from caffe.proto.text import format_text

OLD = caffe_pb2.NetParameter(name="old")
OLD.layers.add(name="ip", type="INNER_PRODUCT", top=["ip"]).blobs.add(num=1, data=[2])


def test_binary_and_text_give_the_same_net(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(OLD.SerializeToString())
    (tmp_path / "b").write_text(format_text(OLD))
    net = read_net(tmp_path / "a")
    assert net == read_net(tmp_path / "b") == parse_net(format_text(OLD))
    assert (net.layer[0].type, net.layer[0].blobs[0].data[0]) == ("InnerProduct", 2)


def test_trained_net_reads_as_a_net(shared: Path) -> None:
    net = read_net(shared / "models/lenet_v1fmt/lenet_iter_10000.caffemodel")
    assert [layer.type for layer in net.layer][-1] == "SoftmaxWithLoss"
    assert len(net.layer[1].blobs[0].data) == 500


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x89HDF\r\n\x1a\n rest", "HDF5"),
        (OLD.SerializeToString()[:-3], "damaged"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"),
        (bytes(range(1, 200)), "NetParameter"),
        (OLD.SerializeToString().replace(b"old", b"o\xffd"), "damaged"),
        (b"", "empty"),
    ],
)
def test_what_is_no_net_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with pytest.raises(ParseError, match=words) as caught:
        read_net(path)
    assert caught.value.source == str(path)


def test_net_and_solver_are_not_taken_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "net").write_text('name: "n" layer { name: "a" type: "ReLU" }')
    (tmp_path / "solver").write_text('net: "net" base_lr: 0.1')
    with pytest.raises(ParseError, match="nothing of a SolverParameter"):
        read_solver(tmp_path / "net")
    with pytest.raises(ParseError, match="nothing of a NetParameter"):
        read_net(tmp_path / "solver")


def test_snapshots_are_named_after_the_solver_file(tmp_path: Path) -> None:
    path = tmp_path / "my.solver.prototxt"
    for prefix, wanted in [
        ("", tmp_path / "my.solver"),
        (f'snapshot_prefix: "{tmp_path}"', tmp_path / "my.solver"),
        ('snapshot_prefix: "given"', "given"),
    ]:
        path.write_text(f"base_lr: 0.1 {prefix}")
        assert read_solver(path).snapshot_prefix == str(wanted)
