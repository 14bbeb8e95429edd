"""Several processes out of one command."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from caffe.solver import launch


def test_each_process_knows_who_it_is(tmp_path: Path) -> None:
    code = (
        "import os, sys; open(sys.argv[1] + os.environ['RANK'], 'w').write("
        "' '.join(os.environ[n] for n in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR')))"
    )
    assert launch.launch([sys.executable, "-c", code, f"{tmp_path}/out"], 3) == 0
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == [
        f"{rank} {rank} 3 127.0.0.1" for rank in range(3)
    ]


def test_where_one_fails_the_others_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "PATIENCE", 0.2)
    code = "import os, sys, time; os.environ['RANK'] == '1' and sys.exit(3); time.sleep(60)"
    begin = time.monotonic()
    assert launch.launch([sys.executable, "-c", code], 2) in (3, -15)
    assert time.monotonic() - begin < 30


def test_a_process_by_itself_is_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not launch.is_launched()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch.is_launched()
