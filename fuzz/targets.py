"""What is tried: each reader of the package, and nets under every engine.

A target is given bytes. A `caffe.CaffeError` is a clean refusal; anything else that is raised is a
finding, and so is a `Differs`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
from google.protobuf.message import Message

import caffe
from caffe.graph import build_graph
from caffe.io.labels import read_labels
from caffe.proto import caffe_pb2
from caffe.proto.contents import is_text
from caffe.proto.files import parse_net, read_message, read_net, read_solver
from caffe.proto.text import decode, format_text, parse_text
from caffe.structure.outline import outline
from caffe.web import links
from caffe.web.settings import Settings
from caffe.weights.files import read_blob, read_weights
from caffe.zoo import files as zoo_files
from caffe.zoo.record import Record

from . import messages, seeds
from .differential import differential
from .engines import Differs
from .mutate import mutated
from .shapes import shapes

SMALL = 1 << 16
"""Nets of at most so many numbers in each blob are made and run."""


@dataclass(frozen=True)
class Target:
    """Something that takes bytes.

    Attributes
    ----------
    name : str
        What it is called.
    run : callable
        Given the bytes and a folder of its own.
    seeds : callable
        Gives bytes that are right; none where any bytes will do.
    words : tuple of bytes
        The format's own words.
    suffix : str
        What files of the kind are called.
    """

    name: str
    run: Callable[[bytes, Path], None]
    seeds: Callable[[], Sequence[bytes]]
    words: tuple[bytes, ...] = ()
    suffix: str = ".bin"

    def input(self, number: int) -> bytes:
        """Return the input of a number, always the same one."""
        rights = _seeds(self.name)
        if not rights:
            return str(number).encode()
        return mutated(Random(f"{self.name} {number}"), rights, self.words)


@functools.cache
def _seeds(name: str) -> list[bytes]:
    return list(TARGETS[name].seeds())


TEXT_WORDS = (
    b"layer {", b"layers {", b"}", b"{", b"<", b">", b"[", b"]", b":", b",", b";", b'"', b"'",
    b"\\", b"\\x", b"\\u2028", "\u2028".encode(), b"#", b"\n", b"-", b"inf", b"nan", b"true",
    b'name: "x"', b'type: "Convolution"', b'bottom: "data"', b'top: "data"', b"dim: 0",
    b"include { phase: TEST }", b"unknown_field { a: 1 }", b"input_dim: 3", b"engine: CUDNN",
    b"num_output: 4294967295", b"kernel_size: 0", b"loss_weight: 1", b'param { name: "w" }',
    b"force_backward: true", b"axis: -1", b"group: 3",
)  # fmt: skip
"""What prototxts are made of."""


def _in_file(read: Callable[[Path], object], name: str) -> Callable[[bytes, Path], None]:
    """Return what writes the bytes to a file and has it read."""

    def run(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        read(path)

    return run


def _weights(path: Path) -> None:
    """Read weights and their numbers, which stay in the file until somebody asks for them."""
    for layer in read_weights(path):
        for blob in layer.blobs:
            if blob is not None:
                blob.own_data()
                _ = blob.diff


def _large_weights(path: Path) -> None:
    """The same, with the file taken for one that is too large to be read at once."""
    with mock.patch("caffe.proto.contents.SMALL", 0):
        _weights(path)


def check_round_trip(message: Message) -> None:
    """A message written as text and read again is the message.

    Raises
    ------
    Differs
        It is not.
    """
    text = format_text(message)
    again = parse_text(text, type(message)())
    if not messages.same(again, message):
        raise Differs(f"parse(format(x)) is not x:\n{message}\n{text}")
    if format_text(again) != text:
        raise Differs(f"format(parse(format(x))) is not format(x):\n{text}")


def _text(data: bytes, folder: Path) -> None:
    text = decode(data, "text")
    check_round_trip(parse_text(text, caffe_pb2.NetParameter()))
    net = parse_net(text)
    check_round_trip(net)
    for phase in (caffe.TRAIN, caffe.TEST):
        build_graph(net, phase)


def _solver(data: bytes, folder: Path) -> None:
    (folder / "solver.prototxt").write_bytes(data)
    solver = read_solver(folder / "solver.prototxt")
    if not is_text(data):
        # What a binary has beyond the schema has no text.
        solver.DiscardUnknownFields()
    check_round_trip(solver)


def _message(data: bytes, folder: Path) -> None:
    rng = Random(data)
    kinds = (caffe_pb2.NetParameter, caffe_pb2.SolverParameter, caffe_pb2.LayerParameter)
    message = rng.choice(kinds)()
    messages.fill(rng, message)
    check_round_trip(message)


def _build(data: bytes, folder: Path) -> None:
    net = parse_net(decode(data, "text"))
    if any(layer.type == "Python" for layer in net.layer):
        return
    found = outline(net, caffe.TEST)
    shapes = [shape for layer in found.layers for shape in layer.top_shapes if shape is not None]
    sizes = [int(np.prod(shape, dtype=object)) for shape in shapes]
    if found.notes or max(sizes, default=0) > SMALL or len(net.layer) > 30:
        return
    made = caffe.Net(net, caffe.TEST)
    if sum(blob.count for blobs in made.params.values() for blob in blobs) < SMALL:
        made.forward()


def _picture(data: bytes, folder: Path) -> None:
    for color in (True, False):
        with contextlib.suppress(caffe.CaffeError):
            found = caffe.io.load_image(io.BytesIO(data), color)
            if found.ndim != 3 or found.shape[2] != (3 if color else 1):
                raise Differs(f"a picture of shape {found.shape}")
    (folder / "picture.jpg").write_bytes(data)
    caffe.io.load_image(folder / "picture.jpg")


def _npy(path: Path) -> None:
    found = caffe.io.load_mean(path)
    if found.dtype != np.float32:
        raise Differs(f"a mean of type {found.dtype}")


RECORD = Record(
    "fuzz", "Fuzz", "fuzz.tar", url=None, licence="", citation="", page="", members=seeds.MEMBERS
)


def _tar(data: bytes, folder: Path) -> None:
    inside = folder / RECORD.name
    before = set(folder.iterdir())
    archive = folder / "fuzz.tar"
    archive.write_bytes(data)
    try:
        with mock.patch.dict(os.environ, RECAFFE_HOME=str(folder)):
            zoo_files._unpacked(RECORD, archive)
    finally:
        allowed = {inside, archive, archive.with_name("fuzz.tar.rejected"), *before}
        outside = set(folder.iterdir()) - allowed
        strange = [p for p in inside.glob("*") if p.name not in seeds.MEMBERS or p.is_symlink()]
        for path in inside.glob("*"):
            path.unlink()
        if outside or strange:
            raise Differs(f"unpacked: {outside or strange}")


@contextlib.contextmanager
def _nobody_is_asked() -> Iterator[None]:
    """Names have addresses by their spelling, without a network."""
    ask = socket.getaddrinfo

    def answer(name: str, port: int, **options: Any) -> list[Any]:
        try:
            return ask(name, port, flags=socket.AI_NUMERICHOST, **options)
        except socket.gaierror:
            if len(name) % 3 == 0:
                raise
            address = ("10.0.0.7", "93.184.216.34")[len(name) % 2]
            return ask(address, port, **options)

    socket.getaddrinfo = answer  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = ask


def _link(data: bytes, folder: Path) -> None:
    with _nobody_is_asked():
        found = links.locate(data.decode("utf-8", "surrogateescape"), Settings())
    if not links.is_public(found.address):
        raise Differs(f"the link leads to {found.address}")
    if re.search(r"[\x00-\x20\x7f-\U0010ffff]", found.path + found.host):
        raise Differs(f"what is asked for is {found.path!r} of {found.host!r}")


def _data_layer(data: bytes, folder: Path) -> None:
    (folder / "data.mdb").write_bytes(data)
    (folder / "lock.mdb").unlink(missing_ok=True)
    net = caffe.Net(
        'layer { name: "d" type: "Data" top: "data" top: "label" '
        f'data_param {{ source: "{folder}/data.mdb" batch_size: 3 backend: LMDB }} }}',
        caffe.TEST,
    )
    for _ in range(3):
        net.forward()


def _hdf5_data(data: bytes, folder: Path) -> None:
    (folder / "rows.h5").write_bytes(data)
    (folder / "list.txt").write_text(f"{folder}/rows.h5\n")
    net = caffe.Net(
        'layer { name: "d" type: "HDF5Data" top: "data" top: "label" '
        f'hdf5_data_param {{ source: "{folder}/list.txt" batch_size: 2 }} }}',
        caffe.TEST,
    )
    net.forward()


def _state(path: Path) -> None:
    state = read_message(path, caffe_pb2.SolverState())
    state.DiscardUnknownFields()
    check_round_trip(state)


def _drill(data: bytes, folder: Path) -> None:
    """Go wrong in each way once, for the tests of those who watch."""
    match int(data):
        case 1:
            raise caffe.CaffeError("a clean refusal")
        case 2:
            raise KeyError("unclean")
        case 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 4:
            raise Differs("another value")
        case 5:
            time.sleep(3600)


def _nothing() -> Sequence[bytes]:
    return ()


TARGETS = {
    target.name: target
    for target in (
        Target("text", _text, seeds.texts, TEXT_WORDS, ".prototxt"),
        Target("build", _build, seeds.texts, TEXT_WORDS, ".prototxt"),
        Target("message", _message, _nothing),
        Target("solver", _solver, seeds.solvers, TEXT_WORDS, ".prototxt"),
        Target("label_map", _in_file(read_labels, "labels.txt"), seeds.label_maps, TEXT_WORDS),
        Target("caffemodel", _in_file(_weights, "net.caffemodel"), seeds.caffemodels),
        Target("large", _in_file(_large_weights, "net.caffemodel"), seeds.caffemodels),
        Target("net", _in_file(read_net, "net.caffemodel"), seeds.caffemodels),
        Target("solver_state", _in_file(_state, "net.solverstate"), seeds.solver_states),
        Target("binaryproto", _in_file(read_blob, "mean.binaryproto"), seeds.binaryprotos),
        Target("mean", _in_file(_npy, "mean.npy"), lambda: seeds.npys() + seeds.binaryprotos()),
        Target("npy", _in_file(_npy, "mean.npy"), seeds.npys),
        Target("hdf5", _in_file(_weights, "net.h5"), seeds.hdf5_weights, suffix=".h5"),
        Target("hdf5_data", _hdf5_data, seeds.hdf5_data, suffix=".h5"),
        Target("lmdb", _data_layer, seeds.lmdbs, suffix=".mdb"),
        Target("picture", _picture, seeds.pictures),
        Target("tar", _tar, seeds.tars, suffix=".tar"),
        Target("link", _link, lambda: seeds.LINKS, (b"@", b"..", b"%0d%0a", b"[::1]", b":80")),
        Target("shapes", shapes, _nothing),
        Target("nets", differential, _nothing),
        Target("drill", _drill, _nothing),
    )
}

READERS_AND_NETS = [name for name in TARGETS if name != "drill"]
