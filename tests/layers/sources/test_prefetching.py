"""Threads that read ahead end with their net."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.proto.caffe_pb2 import Datum
from tests.helpers.sources import image_net, source, write_lmdb


def prefetch_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "caffe-prefetch"]


def test_threads_end_with_their_net(listed: tuple[Path, list[np.ndarray]]) -> None:
    gc.collect()
    before = len(prefetch_threads())
    net = image_net(listed[0])
    net.forward()
    assert len(prefetch_threads()) == before + 1
    del net
    gc.collect()
    deadline = time.monotonic() + 5
    while len(prefetch_threads()) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(prefetch_threads()) == before


def test_the_interpreter_ends_while_a_thread_reads_ahead(
    listed: tuple[Path, list[np.ndarray]],
) -> None:
    code = (
        "import sys, caffe; net = caffe.Net(sys.argv[1], caffe.TEST); net.forward(); print('done')"
    )
    text = (
        f'layer {{ name: "in" type: "ImageData" top: "data" top: "label" image_data_param {{ '
        f'source: "{listed[0]}/list.txt" root_folder: "{listed[0]}/" }} }}'
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code, text],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def through_pickle(net: caffe.Net) -> caffe.Net:
    copied: caffe.Net = pickle.loads(pickle.dumps(net))
    return copied


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
@pytest.mark.parametrize("forwards", [0, 2])
def test_a_copy_reads_from_the_front_by_a_thread_of_its_own(
    copied: Callable[[caffe.Net], caffe.Net],
    forwards: int,
    listed: tuple[Path, list[np.ndarray]],
    tmp_path: Path,
) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["row"] = np.arange(5)[:, None]
    (tmp_path / "files.txt").write_text(f"{tmp_path / 'rows.h5'}\n")
    write_lmdb(
        tmp_path / "store",
        {
            b"%d" % i: caffe.io.array_to_datum(np.full((1, 2, 2), i), i).SerializeToString()
            for i in range(4)
        },
    )
    pictures = image_net(listed[0])
    stored = source(
        f'type: "Data" data_param {{ source: "{tmp_path}/store" batch_size: 2 backend: LMDB }}'
    )
    rows = caffe.Net(
        f"""layer {{ name: "rows" type: "HDF5Data" top: "row"
            hdf5_data_param {{ source: "{tmp_path}/files.txt" batch_size: 2 }} }}""",
        caffe.TEST,
    )
    for net in (pictures, stored, rows):
        for _ in range(forwards):
            net.forward()
    other = copied(pictures)
    other.forward()
    assert other.blobs["label"].data.tolist() == [10, 11]
    other = copied(stored)
    other.forward()
    assert other.blobs["label"].data.tolist() == [0, 1]
    pictures.forward()
    assert pictures.blobs["label"].data.tolist() == ([10, 11] if forwards == 0 else [11, 12])
    other = copied(rows)
    other.forward()
    # Its values are the net's own, and go along.
    assert other.blobs["row"].data.ravel().tolist() == ([0, 1] if forwards == 0 else [4, 0])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Eleven records."""
    datum = Datum(channels=1, height=1, width=1, data=b"\1")
    write_lmdb(tmp_path / "db", {b"%d" % i: datum.SerializeToString() for i in range(10, 21)})
    return tmp_path / "db"


def restarts(net: caffe.Net, capsys: pytest.CaptureFixture[str], forwards: int) -> list[int]:
    """At which of so many forwards it is told that the store begins anew."""
    found = []
    for number in range(forwards):
        capsys.readouterr()
        net.forward()
        # Whatever the thread does meanwhile.
        time.sleep(0.002)
        found += [number] * capsys.readouterr().err.count("Restarting data prefetching from start.")
    return found


def test_a_new_beginning_is_told_where_the_original_reads_its_batch(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caffe.init_log()
    text = f'type: "Data" data_param {{ source: "{store}" backend: LMDB batch_size: 2'
    # The records end with batches 5, 10, 16 and 21; four batches are kept ready.
    assert restarts(source(f"{text} }}"), capsys, 19) == [2, 7, 13, 18]
    assert restarts(source(f"{text} prefetch: 1 }}"), capsys, 17) == [5, 10, 16]
    # A batch that is the whole store twice over.
    assert restarts(source(f"{text.replace(': 2', ': 22')} prefetch: 1 }}"), capsys, 2) == [
        *(0, 0),
        *(1, 1),
    ]


def test_where_a_restored_layer_begins_anew(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caffe.init_log()
    text = (
        f'type: "Data" data_param {{ source: "{store}" backend: LMDB batch_size: 2 prefetch: 1 }}'
    )
    net = source(text)
    for _ in range(4):
        net.forward()
    state = net.inside.layers[0].state()
    other = source(text)
    other.inside.layers[0].restore(state)
    assert restarts(other, capsys, 8) == [1, 6]


def test_solvers_that_train_together_tell_it_once(store: Path) -> None:
    read = source(f'type: "Data" data_param {{ source: "{store}" backend: LMDB batch_size: 2 }}')
    entries = read.inside.layers[0].opened()
    entries.count = 2
    # The first of two has read records 0, 2, 4, 6 after two batches, and up to 12 after four.
    assert [entries.restarts(0, batches) for batches in (2, 3, 4, 6)] == [0, 1, 1, 2]
    entries.rank = 1
    # Records 1, 3, 5, 7, 9 and 11.
    assert [entries.restarts(0, batches) for batches in (2, 3)] == [0, 1]
