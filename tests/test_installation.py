"""The command that installs an extra is true of the installation that there is."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import caffe
from tests.helpers.places import REPOSITORY


def command_of(site: Path, noted: Any, here: Path) -> list[str]:
    """What an installation into `site` prints, of which its installer noted this."""
    site.mkdir(parents=True)
    (site / "caffe").symlink_to(Path(caffe.__file__).parent)
    info = site / "recaffe-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recaffe\nVersion: 9\n")
    if noted is not None:
        text = noted if isinstance(noted, str) else json.dumps(noted)
        (info / "direct_url.json").write_text(text)
    program = "from caffe.installation import install_command as c; print(c('vis'))"
    environment = {**os.environ, "PYTHONPATH": str(site), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=here
    )
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout)


CLONE, ADDRESS = "/home/me/my caffe", "https://example.org/recaffe.zip"
GIT = {"vcs": "git", "commit_id": "abc"}


@pytest.mark.parametrize(
    ("noted", "wanted"),
    [
        (None, ["recaffe[vis]"]),
        ("{damaged", ["recaffe[vis]"]),
        ("[]", ["recaffe[vis]"]),
        ({"url": "file:///home/me/my%20caffe", "dir_info": {}}, [f"{CLONE}[vis]"]),
        (
            {"url": "file:///home/me/my%20caffe", "dir_info": {"editable": True}},
            ["-e", f"{CLONE}[vis]"],
        ),
        ({"url": ADDRESS, "archive_info": {}}, [f"recaffe[vis] @ {ADDRESS}"]),
        (
            {"url": "https://example.org/r", "vcs_info": GIT},
            ["recaffe[vis] @ git+https://example.org/r@abc"],
        ),
    ],
    ids=["index", "damaged", "no object", "folder", "editable", "archive", "version control"],
)
def test_an_installation_names_what_it_came_from(
    noted: Any, wanted: list[str], tmp_path: Path
) -> None:
    command = command_of(tmp_path / "a" / "b", noted, tmp_path)
    assert command == [sys.executable, "-m", "pip", "install", *wanted]


def test_a_clone_that_is_imported_as_it_lies_is_named(tmp_path: Path) -> None:
    program = "from caffe.installation import install_command as c; print(c('vis,web'))"
    source = str(REPOSITORY / "src")
    for here, shown in ((tmp_path, REPOSITORY), (REPOSITORY, ".")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": source},
            cwd=here,
        )
        assert shlex.split(done.stdout)[-3:] == ["install", "-e", f"{shown}[vis,web]"]
