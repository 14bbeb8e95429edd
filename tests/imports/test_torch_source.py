"""PyTorch's modules and programs in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from caffe import CaffeError, imports

pytest.importorskip("onnxscript")


class Small(nn.Module):
    """A block of a net whose channels stand last in between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.SiLU())
        self.norm = nn.LayerNorm(8)
        self.wide, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.norm(x.permute(0, 2, 3, 1))
        y = self.narrow(nn.functional.gelu(self.wide(y)))
        x = x + y.permute(0, 3, 1, 2)
        return self.head(x.mean((2, 3)))


def compared(made: imports.Imported, module: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        wanted = module.eval()(x).numpy()
    net = made.to_net()
    found = net.forward(**{net.inputs[0]: x.numpy()})[made.outputs[0]]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_a_module() -> None:
    torch.manual_seed(0)
    module, x = Small(), torch.randn(1, 3, 16, 16)
    module.stem[1].running_var.uniform_(0.5, 2)
    made = imports.load(module, x)
    assert module.training, "the module is left as it was"
    assert "Permute" not in {layer.type for layer in made.text.layer}
    assert {"stem_0", "wide", "narrow"} <= set(made.weights)
    compared(made, module, x)


def test_a_program(tmp_path: Path) -> None:
    module, x = nn.Conv2d(3, 4, 3).eval(), torch.randn(1, 3, 6, 6)
    torch.export.save(torch.export.export(module, (x,)), tmp_path / "net.pt2")
    compared(imports.load(tmp_path / "net.pt2", target="opencv"), module, x)


def test_what_is_no_module(tmp_path: Path) -> None:
    with pytest.raises(CaffeError, match="needs example inputs"):
        imports.load(Small())
    with pytest.raises(CaffeError, match="PyTorch does not write it as ONNX"):
        imports.load(nn.Conv2d(3, 4, 3), torch.zeros(1, 4, 16, 16))
    (tmp_path / "net.pt2").write_bytes(b"no program")
    with pytest.raises(CaffeError, match=r"net.pt2: this is no program of PyTorch's"):
        imports.load(tmp_path / "net.pt2")
    with pytest.raises(CaffeError, match="No such file"):
        imports.load(tmp_path / "none.pt2")
