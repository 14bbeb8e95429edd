"""`caffe upgrade`: old nets and solvers in, today's out."""

from __future__ import annotations

from functools import partial

import pytest

from caffe.proto import caffe_pb2
from caffe.proto.files import read_net
from caffe.proto.text import read_text
from tests.helpers.command import caffe_command

V0 = """
name: "old"
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 2 kernelsize: 3 } bottom: "pad" top: "conv" }
"""
V1 = """
layers { name: "data" type: DATA top: "data" data_param { source: "d" scale: 0.5 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" blobs_lr: 1 blobs_lr: 2
         blobs { num: 1 channels: 1 height: 1 width: 2 data: 3 data: 4 } }
"""
BATCH_NORM = """
layer { name: "bn" type: "BatchNorm" bottom: "a" top: "a"
        param { lr_mult: 1 } param { lr_mult: 1 } param { lr_mult: 1 } }
"""


run = partial(caffe_command, "upgrade")


@pytest.fixture
def upgraded(tmp_path):
    def upgrade(text: str):
        source, target = tmp_path / "old.prototxt", tmp_path / "new.prototxt"
        source.write_text(text)
        result = run(source, target)
        assert result.exit_code == 0, result.stderr
        return read_text(target, caffe_pb2.NetParameter()), result.stdout

    return upgrade


def test_a_v0_net_becomes_todays(upgraded):
    net, said = upgraded(V0)
    assert [(layer.name, layer.type) for layer in net.layer] == [
        ("input", "Input"),
        ("conv", "Convolution"),
    ]
    assert net.layer[1].convolution_param.pad == [1]
    assert "V0" in said
    assert "Input fields (data)" in said


def test_a_v1_net_becomes_todays(upgraded):
    net, said = upgraded(V1)
    assert [layer.type for layer in net.layer] == ["Data", "InnerProduct"]
    assert net.layer[0].transform_param.scale == 0.5
    assert [spec.lr_mult for spec in net.layer[1].param] == [1, 2]
    assert "V1" in said
    assert "transform_param" in said


def test_batch_norm_learning_rates_become_zero(upgraded):
    net, said = upgraded(BATCH_NORM)
    assert [spec.lr_mult for spec in net.layer[0].param] == [0, 0, 0]
    assert "bn" in said


def test_a_net_of_today_is_said_to_be_so(upgraded):
    net, said = upgraded('layer { name: "r" type: "ReLU" bottom: "a" top: "a" }')
    assert net.layer[0].type == "ReLU"
    assert "already" in said


@pytest.mark.parametrize(
    ("name", "binary"),
    [("new.caffemodel", True), ("new.prototxt", False), ("new.anything", False)],
)
def test_the_name_of_out_decides_between_text_and_binary(tmp_path, name, binary):
    source, target = tmp_path / "old.prototxt", tmp_path / name
    source.write_text(V1)
    result = run(source, target)
    assert result.exit_code == 0
    assert ("binary" if binary else "text") in result.stdout
    assert target.read_bytes().startswith(b"layer {") is not binary
    assert read_net(target).layer[1].blobs[0].data == [3, 4]


def test_binary_in_stays_binary_under_another_name_and_in_place(tmp_path):
    path = tmp_path / "weights.model"
    old = read_text_of(V1)
    path.write_bytes(old.SerializeToString())
    assert run(path, path).exit_code == 0
    new = caffe_pb2.NetParameter.FromString(path.read_bytes())
    assert [layer.name for layer in new.layer] == ["data", "ip"]
    assert not new.layers


def read_text_of(text: str):
    from caffe.proto.text import parse_text

    return parse_text(text, caffe_pb2.NetParameter())


def test_a_solver_becomes_todays(tmp_path):
    source, target = tmp_path / "old.prototxt", tmp_path / "new.prototxt"
    source.write_text('net: "net.prototxt" base_lr: 0.1 solver_type: ADAGRAD')
    result = run(source, target, "--solver")
    assert result.exit_code == 0
    solver = read_text(target, caffe_pb2.SolverParameter())
    assert solver.type == "AdaGrad"
    assert not solver.HasField("solver_type")
    # What the reading of a solver for training fills in must not be written into the file.
    assert not solver.HasField("snapshot_prefix")


@pytest.mark.parametrize(
    ("text", "arguments", "advice"),
    [
        ('net: "a" base_lr: 0.1', [], "add --solver"),
        (V1, ["--solver"], "leave out --solver"),
    ],
)
def test_a_net_and_a_solver_are_not_mistaken_for_each_other(tmp_path, text, arguments, advice):
    source, target = tmp_path / "in.prototxt", tmp_path / "out.prototxt"
    source.write_text(text)
    result = run(source, target, *arguments)
    assert result.exit_code == 1
    assert advice in result.stderr
    assert not target.exists()


def test_what_cannot_be_read_leaves_out_untouched(tmp_path):
    source, target = tmp_path / "in.prototxt", tmp_path / "out.prototxt"
    source.write_text(V1 + V0.replace("input_dim: 1 ", "") + "layer {")
    target.write_text("precious")
    result = run(source, target)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.prototxt", "out.prototxt"]


@pytest.mark.parametrize("name", ["no/such/folder.prototxt", "weights.h5"])
def test_where_out_cannot_be_written_is_said(tmp_path, name):
    source = tmp_path / "in.prototxt"
    source.write_text(V1)
    result = run(source, tmp_path / name)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"caffe: {tmp_path / name}: ")


# The command itself tells warnings, in its own words.
@pytest.mark.filterwarnings("always::caffe.CaffeWarning")
def test_a_field_that_the_schema_does_not_know_is_told(tmp_path):
    source, target = tmp_path / "in.prototxt", tmp_path / "out.prototxt"
    source.write_text('layer { name: "x" type: "Fork" no_such_param { a: 1 } }')
    result = run(source, target)
    assert result.exit_code == 0
    assert "caffe: warning: " in result.stderr
    assert "no_such_param" in result.stderr


def test_weights_of_2014_come_along(shared, tmp_path):
    old = shared / "models/lenet_v1fmt/lenet_iter_10000.caffemodel"
    new = tmp_path / "new.caffemodel"
    assert run(old, new).exit_code == 0
    before = caffe_pb2.NetParameter.FromString(old.read_bytes())
    after = caffe_pb2.NetParameter.FromString(new.read_bytes())
    assert [layer.name for layer in after.layer] == [layer.name for layer in before.layers]
    for one, other in zip(before.layers, after.layer, strict=True):
        assert list(one.blobs) == list(other.blobs)
