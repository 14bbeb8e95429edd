"""Inputs that are right, from which others are made; all are made here."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from google.protobuf.message import Message
from PIL import Image

import caffe
from caffe.proto import caffe_pb2
from caffe.proto.text import format_text
from caffe.weights.files import write_weights, write_weights_hdf5

from . import messages
from .nets import draw_net

OLD_TEXT = b"""
name: "old"
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
         convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "conv" bottom: "label" include { phase: TRAIN } }
"""
OLDEST_TEXT = b"""
name: "oldest" input: "data" input_dim: 1 input_dim: 1 input_dim: 6 input_dim: 6
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 2 kernelsize: 3 biasterm: true
                 weight_filler { type: "gaussian" std: 0.01 } } bottom: "pad" top: "conv" }
layers { layer { name: "p" type: "pool" kernelsize: 2 stride: 2 } bottom: "conv" top: "p" }
"""
FORKS_TEXT = b"""# A comment
layer { name: "in" type: "Input" top: "data" input_param { shape: { dim: [1, 3, 5, 5] } } }
layer { name: "own" type: "Made'Up" bottom: "data" top: 'x' made_up_param < a: 1.5e-3 b: [1, 2] > }
layer { name: "d" type: "Dropout" bottom: "data" top: "data" dropout_param { unheard: "of \\351" } }
state { phase: TEST stage: "a" } force_backward: true
"""
SOLVER_TEXT = b"""net: "net.prototxt" test_iter: 10 test_interval: 500 base_lr: 0.01 momentum: .9
lr_policy: "inv" gamma: 0.0001 power: 0.75 solver_mode: GPU solver_type: NESTEROV snapshot: 5
"""
LABEL_MAP = b"""item { name: "none" label: 0 display_name: "background" }
item { name: "cat" label: 1 display_name: "Cat" }
"""
LINKS = (
    b"http://example.com/cat.jpg", b"https://example.com:8443/a%20b?c=d#e",
    b"http://[2606:4700::1111]/x.png", b"http://93.184.216.34/y", b"HTTP://user:pass@host/z",
    b"http://10.0.0.1/", b"http://[::ffff:127.0.0.1]:22/", b"ftp://x/", b"http://b\xc3\xbccher.de/",
    b"http://0x7f.1/", b"http://2130706433/", b"//example.com/x", b"http://a.b.c.:80/?q#f",
)  # fmt: skip
MEMBERS = ("mean.binaryproto", "labels.txt")


def _written(write: Callable[[str], None], name: str = "file") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(str(path))
        return path.read_bytes()


def _message(rng: Random, kind: type[Message]) -> Message:
    message = kind()
    messages.fill(rng, message)
    return message


def texts() -> list[bytes]:
    """Return nets' texts of every age, and such as have fields by chance."""
    drawn = [draw_net(Random(seed), 4).text.encode() for seed in range(12)]
    odd = [
        format_text(_message(Random(seed), caffe_pb2.NetParameter)).encode() for seed in range(12)
    ]
    return [OLD_TEXT, OLDEST_TEXT, FORKS_TEXT, *drawn, *odd]


def solvers() -> list[bytes]:
    """Return solvers' texts and messages."""
    odd = [_message(Random(seed), caffe_pb2.SolverParameter) for seed in range(6)]
    return [SOLVER_TEXT, *(format_text(m).encode() for m in odd), *_binary(odd)]


def _binary(among: list[Message]) -> list[bytes]:
    return [message.SerializeToString() for message in among]


def _arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(4, 3, 3, 3), (4,), (), (2, 5)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes[: seed % 4 + 1]]


def _layers(seed: int) -> list[tuple[caffe_pb2.LayerParameter, list[np.ndarray]]]:
    return [
        (caffe_pb2.LayerParameter(name=f"l{i}", type="Convolution"), _arrays(seed + i))
        for i in range(3)
    ]


def caffemodels() -> list[bytes]:
    """Return weights of every binary form."""
    found = [
        _written(partial(write_weights, net_name="net", layers=_layers(seed))) for seed in range(4)
    ]
    old = caffe_pb2.NetParameter(name="old")
    layer = old.layers.add(name="conv", type=caffe_pb2.V1LayerParameter.CONVOLUTION)
    blob = layer.blobs.add(num=2, channels=1, height=1, width=3)
    blob.data.extend(range(6))
    oldest = caffe_pb2.NetParameter()
    inner = oldest.layers.add().layer
    inner.name, inner.type = "ip", "innerproduct"
    inner.blobs.add(num=1, channels=1, height=1, width=2).double_data.extend((0.5, 2))
    odd = [_message(Random(seed), caffe_pb2.NetParameter) for seed in range(12)]
    return [*found, *_binary([old, oldest, *odd])]


def hdf5_weights() -> list[bytes]:
    """Return weights as HDF5, Caffe's own layout and such as other programs write."""
    import h5py

    named = [("conv", _arrays(1)), ("deep/er", _arrays(3)), ("none", [])]

    def other(path: str) -> None:
        with h5py.File(path, "w", libver="latest") as file:
            group = file.create_group("data/fc")
            group.create_dataset("0", data=np.ones((8, 9), "f8"), chunks=(4, 3), compression=4)
            group.create_dataset("1", data=np.arange(5, dtype="f2"), fillvalue=3)
            file["data/again"] = h5py.SoftLink("/data/fc")
            file["data/away"] = h5py.ExternalLink("nowhere.h5", "/x")
            group.attrs["note"] = "text"

    return [
        _written(lambda path: write_weights_hdf5(path, named)),
        _written(lambda path: write_weights_hdf5(path, named, named)),
        _written(other),
    ]


def hdf5_data() -> list[bytes]:
    """Return rows as HDF5Data reads them."""
    import h5py

    def write(path: str, **options: object) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("data", data=np.ones((3, 2, 2), "f4"), **options)
            file.create_dataset("label", data=np.arange(3, dtype="f4"))

    return [
        _written(write),
        _written(lambda path: write(path, chunks=(1, 2, 2), compression="gzip", shuffle=True)),
    ]


def binaryprotos() -> list[bytes]:
    """Return means as Caffe writes them."""
    found = [caffe.io.array_to_blobproto(array) for array in (np.ones((1, 3, 4, 4)), np.ones(3))]
    found.append(caffe_pb2.BlobProto(channels=1, height=2, width=2, data=[1, 2, 3, 4]))
    odd = [_message(Random(seed), caffe_pb2.BlobProto) for seed in range(6)]
    return _binary([*found, *odd])


def npys() -> list[bytes]:
    """Return means as NumPy writes them."""
    kinds = ("f4", "f8", ">f4", "u1", "i8", "f2", "?", "c8", "U3")
    found = []
    for kind in kinds:
        stream = io.BytesIO()
        array = np.arange(12).reshape(3, 2, 2).astype(kind)
        np.save(stream, array if kind != ">f4" else np.asfortranarray(array))
        found.append(stream.getvalue())
    structured = io.BytesIO()
    np.save(structured, np.zeros(3, [("a", "f4"), ("b", "u1", (2,))]))
    return [*found, structured.getvalue()]


def solver_states() -> list[bytes]:
    """Return a training's state as Caffe writes it."""
    state = caffe_pb2.SolverState(iter=7, learned_net="net.caffemodel", current_step=2)
    state.history.add(data=[1, 2, 3]).shape.dim.append(3)
    return _binary([state, *(_message(Random(i), caffe_pb2.SolverState) for i in range(4))])


def pictures() -> list[bytes]:
    """Return small pictures of every form that people have."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    forms: list[tuple[Image.Image, str, dict[str, object]]] = [
        (rgb, "PNG", {}), (rgb.convert("P"), "PNG", {}), (rgb.convert("RGBA"), "PNG", {}),
        (rgb.convert("I;16"), "PNG", {}), (rgb.convert("LA"), "PNG", {}), (rgb, "JPEG", {}),
        (rgb, "JPEG", {"progressive": True, "exif": turned}), (rgb.convert("CMYK"), "JPEG", {}),
        (rgb.convert("P"), "GIF", {}), (rgb, "BMP", {}), (rgb, "WEBP", {}), (rgb, "PPM", {}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}), (rgb.convert("F"), "TIFF", {}),
        (rgb, "TGA", {}), (rgb.convert("1"), "PNG", {}),
    ]  # fmt: skip
    found = []
    for picture, form, options in forms:
        stream = io.BytesIO()
        picture.save(stream, form, **options)
        found.append(stream.getvalue())
    return found


def label_maps() -> list[bytes]:
    """Return lists of classes and label maps."""
    odd = [format_text(_message(Random(i), caffe_pb2.LabelMap)).encode() for i in range(4)]
    return [LABEL_MAP, b"cat\ndog\n\xe9\n", b"item {\n", *odd]


def tars() -> list[bytes]:
    """Return archives of the files that a model of the zoo may come in."""
    found = []
    for mode in ("w", "w:gz", "w:bz2"):
        for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode=mode, format=form) as tar:
                for name in (*MEMBERS, "../labels.txt", "é" * 40):
                    item = tarfile.TarInfo(name)
                    item.size = 20
                    tar.addfile(item, io.BytesIO(b"x" * 20))
                link = tarfile.TarInfo("mean.binaryproto")
                link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(link)
            found.append(stream.getvalue())
    return found


def lmdbs() -> list[bytes]:
    """Return stores of a few Datums as LMDB writes them."""
    import lmdb

    def write(path: str, height: int) -> None:
        with lmdb.open(path, subdir=False, map_size=1 << 20) as store, store.begin(write=True) as t:
            for i in range(40):
                datum = caffe_pb2.Datum(channels=1, height=2, width=2, label=i)
                datum.data, datum.height = bytes(2 * height), height
                t.put(b"%08d" % i, datum.SerializeToString())

    return [_written(partial(write, height=height)) for height in (2, 1500)]
