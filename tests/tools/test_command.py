"""Every tool can be called by its name, and answers --help without loading PyTorch."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from caffe import tools
from tests.helpers.places import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib")

FOLDER = Path(tools.__file__).parent
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if "def run()" in p.read_text())


def test_the_programs_that_are_called_by_name_are_there() -> None:
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert {name for name in scripts if name != "caffe"} < set(NAMES)
    for name, place in scripts.items():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), name


def test_help_loads_no_torch() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {NAMES!r}:\n"
        "    sys.argv = [name, '--help']\n"
        "    try:\n"
        "        importlib.import_module(f'caffe.tools.{name}').run()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, name\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("False\n")


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "caffe.tools.upgrade_net_proto_text", "none", "out"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("caffe: none")
    assert done.stderr.count("\n") == 1
