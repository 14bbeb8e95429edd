"""PyTorch is loaded by what computes, and by nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The command runs in a new interpreter, since this one has long loaded PyTorch.
LOADED = """
import sys
from caffe.cli import run
sys.argv = ["caffe", *sys.argv[1:]]
try:
    run()
finally:
    print("loaded:", *sorted({"numpy", "pydantic", "torch"} & {*sys.modules}))
"""
EVERY_MODULE = """
import importlib, pkgutil, sys
import caffe
for found in pkgutil.walk_packages(caffe.__path__, "caffe."):
    # A module of PyTorch's has PyTorch's class as its base.
    if found.name not in ("caffe.__main__", "caffe.export.net_module", "caffe.proto.generate"):
        importlib.import_module(found.name)
assert "caffe.layers.convolution" in sys.modules
print("torch" in sys.modules)
"""
LATER = """
import sys
from caffe import pytorch
from caffe.memory import blob
assert "torch" not in sys.modules
assert pytorch.torch.zeros(2).shape == (2,)
torch = sys.modules["torch"]
assert pytorch.torch is torch and blob.torch is torch
from caffe.layers import pooling
assert pooling.torch is torch and pooling.F.relu is torch.nn.functional.relu
print(hasattr(pytorch.dist, "__path__"), pytorch.dist.is_available.__module__)
"""

COLLECTOR = """
import gc, sys
from caffe import pytorch
if sys.argv[1] == "off":
    gc.disable()
if sys.argv[2] == "Recaffe's":
    pytorch.stay_for_good()
pytorch.torch.zeros(2)
print(gc.isenabled(), gc.get_freeze_count() > 10000)
"""


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_module_loads_pytorch_by_being_imported() -> None:
    assert run(EVERY_MODULE) == "False"


def test_pytorch_stands_in_every_module_once_one_of_them_has_used_it() -> None:
    assert run(LATER).endswith("torch.distributed")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("on", "a person's"), "True False"),
        (("off", "a person's"), "False False"),
        (("on", "Recaffe's"), "True True"),
    ],
)
def test_the_garbage_collector_passes_over_pytorch_in_our_own_programs_alone(
    arguments: tuple[str, str], expected: str
) -> None:
    assert run(COLLECTOR, *arguments) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "efficientnet_lite0"),
        ("diff", "efficientnet_lite0", "efficientnet_lite0"),
        ("zoo",),
    ],
)
def test_commands_that_only_read_do_without_pytorch(arguments: tuple[str, ...]) -> None:
    assert "torch" not in run(LOADED, *arguments).rpartition("loaded:")[2]
