"""Files of tensors by their names; nothing else of them is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from caffe import CaffeError
from caffe.imports.state_dict import read_state


class Stranger:
    """What a file of a stranger's might hold."""


def test_numbers_of_every_kind_become_floats(tmp_path: Path) -> None:
    state = {"a.weight": torch.ones(2, 3, dtype=torch.bfloat16), "a.steps": torch.tensor(4)}
    torch.save(state, tmp_path / "a.pth")
    found = read_state(tmp_path / "a.pth")
    assert found["a.weight"].shape == (2, 3)
    assert found["a.weight"].data.dtype == np.float32
    assert found["a.steps"].data.tolist() == [4]
    assert read_state({"b.weight": np.ones((2, 2))})["b.weight"].shape == (2, 2)


def test_more_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": Stranger()}, tmp_path / "a.pth")
    with pytest.raises(CaffeError, match=r"could run code.*state_dict"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "told"),
    [(torch.ones(2), "holds a Tensor"), ({"epoch": 3}, "no tensors by name")],
)
def test_other_content_is_refused(tmp_path: Path, content: object, told: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CaffeError, match=told):
        read_state(tmp_path / "a.pth")


def test_short_numbers_and_no_tensors_in_safetensors(tmp_path: Path) -> None:
    form = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.float16, torch.float64):
        form.save_file({"a.weight": torch.full((2, 3), 1.5, dtype=kind)}, path)
        found = read_state(path)["a.weight"]
        assert found.shape == (2, 3)
        assert found.data.dtype == np.float32
        assert found.data.tolist() == [1.5] * 6
    form.save_file({}, path)
    with pytest.raises(CaffeError, match="no tensors by name"):
        read_state(path)


def test_tensors_without_real_numbers() -> None:
    with pytest.raises(CaffeError, match=r"'a\.weight' has a shape and no numbers"):
        read_state({"a.weight": torch.ones(2, device="meta")})
    state = {"a.weight": torch.ones(2), "a.turn": torch.ones(2, dtype=torch.complex64)}
    assert list(read_state(state)) == ["a.weight"]


def test_damaged_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a.weight": torch.ones(2)}, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CaffeError, match="damaged"):
        read_state(path)
    path.write_text("hello")
    with pytest.raises(CaffeError, match="but this is"):
        read_state(path)
    with pytest.raises(CaffeError, match=r"module\.state_dict"):
        read_state(3)  # type: ignore[arg-type]
