"""Solver states, both forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe.errors import CaffeError, ParseError
from caffe.weights.solver_state import State, read_state, write_state, write_state_hdf5
from tests.helpers.damage import damaged

STATE = State(
    7, "s_iter_7.caffemodel", 2, [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(0, "f4")]
)


@pytest.mark.parametrize("write", [write_state, write_state_hdf5])
def test_what_is_written_is_read(write: object, tmp_path: Path) -> None:
    assert callable(write)
    if write is write_state_hdf5:
        pytest.importorskip("h5py")
    path = tmp_path / "state"
    write(path, STATE)
    found = read_state(path)
    assert (found.iteration, found.learned_net, found.current_step) == (7, STATE.learned_net, 2)
    for mine, theirs in zip(found.history, STATE.history, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "state"),
        (b"net: 'x'\n", "this is a text"),
        (b"\x08", "a solver's state was expected"),
        (b"\x12\x01a", "has no iter"),
        (b"\x08\x01\x1a\x0b\x3a\x03\x0a\x01\x05\x2a\x04\x00\x00\x00\x00", "do not fill its shape"),
    ],
)
def test_what_is_no_state_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.solverstate"
    path.write_bytes(content)
    with pytest.raises(CaffeError, match=message):
        read_state(path)


@pytest.mark.parametrize("write", [write_state, write_state_hdf5])
def test_damaged_states_are_refused_cleanly(write: object, tmp_path: Path) -> None:
    assert callable(write)
    if write is write_state_hdf5:
        pytest.importorskip("h5py")
    path, rng = tmp_path / "state", np.random.default_rng(0)
    write(path, STATE)
    for content in damaged(path.read_bytes(), 200, rng):
        path.write_bytes(content)
        try:
            read_state(path)
        except CaffeError:
            continue


def test_an_hdf5_file_of_weights_is_no_state(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file.create_group("data")
    with pytest.raises(ParseError, match="a solver's state was expected"):
        read_state(path)
