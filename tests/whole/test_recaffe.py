"""`import recaffe` before `import caffe`: the package of that name is this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import caffe
import recaffe
from tests.helpers.places import REPOSITORY

SOURCE = str(REPOSITORY / "src")


def said(folder: Path, program: str) -> str:
    """What a program says where another caffe stands first on the path."""
    package = folder / "caffe"
    package.mkdir()
    (package / "__init__.py").write_text("old = True\n")
    path = f"{folder}{os.pathsep}{SOURCE}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
    )
    return done.stdout + done.stderr


def test_the_old_package_is_not_taken(tmp_path: Path) -> None:
    program = "import recaffe, caffe.io; print(caffe.TEST, hasattr(caffe, 'old'), caffe.__file__)"
    assert said(tmp_path, program).split() == ["1", "False", caffe.__file__]


def test_too_late_is_told(tmp_path: Path) -> None:
    assert "import recaffe before it" in said(tmp_path, "import caffe, recaffe")


def test_all_commands_start_from_it() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    lines = text.split("[project.scripts]\n")[1].split("\n\n")[0].splitlines()
    starts = [line.split(' = "')[1].strip('"') for line in lines if " = " in line]
    assert len(starts) > 5
    for start in starts:
        module, _, name = start.partition(":")
        assert module == "recaffe"
        assert callable(getattr(recaffe, name))
    with pytest.raises(AttributeError):
        _ = recaffe.no_such_tool
