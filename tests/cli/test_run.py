"""`caffe run`: programs that put another caffe first on the path get this one all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import caffe
from tests.helpers.command import caffe_command

SOURCE = Path(caffe.__file__).parents[1]
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1] + "python")
import caffe
from caffe.proto import caffe_pb2
import beside
print(json.dumps([caffe.__file__, caffe.TEST, sys.argv, __name__, beside.here]))
if "--fail" in sys.argv:
    def inner():
        raise ValueError("of the program")
    inner()
sys.exit(3)
"""


def checkout(folder: Path) -> Path:
    """An old checkout, whose package cannot be imported."""
    package = folder / "python" / "caffe"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from ._caffe import Net\n")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "beside.py").write_text("here = True\n")
    return folder


def python(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'python'}{os.pathsep}{SOURCE}"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )


def test_the_program_runs_as_itself_with_this_caffe(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    words = ["./", "--gpu=0", "-logtostderr"]
    assert "_caffe" in python(folder, "program.py", *words).stderr
    done = python(folder, "-m", "recaffe", "run", "program.py", *words)
    assert done.returncode == 3, done.stderr
    expected = [str(Path(caffe.__file__)), caffe.TEST, ["program.py", *words], "__main__", True]
    assert json.loads(done.stdout) == expected


def test_a_failing_program_shows_its_own_lines_and_no_others(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    done = python(folder, "-m", "recaffe", "run", "program.py", "./", "--fail")
    assert done.returncode == 1
    assert "ValueError: of the program" in done.stderr
    assert done.stderr.count('File "') == 2
    assert done.stderr.count("program.py") == 2


def test_a_program_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = caffe_command("run", tmp_path / "none.py")
    assert result.exit_code == 1
    assert "none.py: there is no such program" in result.stderr
