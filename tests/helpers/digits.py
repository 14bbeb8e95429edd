"""The trainings on digits whose figures and logs the original left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

import caffe
from caffe.proto.caffe_pb2 import Datum
from tests.helpers.sources import write_lmdb

REAL_TRAININGS = ["auto_adagrad", "bn_nesterov", "lenet_rmsprop", "lenet_sgd", "quick_clip"]


def lay_digits(shared: Path, folder: Path) -> None:
    """Write the digits as `train_lmdb` and `test_lmdb` into a folder."""
    with np.load(shared / "goldens/training/digits.npz") as stored:
        digits = dict(stored)
    for store, first, end in (("train", 0, 1397), ("test", 1397, 1797)):
        values = {
            b"%08d" % (i - first): Datum(
                channels=1,
                height=28,
                width=28,
                data=digits["images"][i].tobytes(),
                label=int(digits["labels"][i]),
            ).SerializeToString()
            for i in range(first, end)
        }
        write_lmdb(folder / f"{store}_lmdb", values)


def save_weights(golden: Mapping[str, np.ndarray], net: caffe.Net, kind: str, path: Path) -> None:
    """Save a net with the parameters that a golden file has under "param" or "last"."""
    for key in golden:
        found, _, name = key.partition("/")
        if found == kind:
            layer, _, number = name.rpartition("/")
            net.params[layer][int(number)].data[...] = golden[key]
    net.save(path)
