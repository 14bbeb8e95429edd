"""The tests of a module are found by its name."""

from __future__ import annotations

from pathlib import Path

import caffe
from tests.helpers.places import REPOSITORY

PACKAGE = Path(caffe.__file__).parent
TESTS = REPOSITORY / "tests"
# Rooms whose tests are of no one module.
WHOLE = {"goldens", "whole"}
# What concerns a room as a whole.
OF_ROOMS = {
    "compiled/short_numbers",
    "engine/own_layers",
    "layers/gradients",
    "proto/schema",
    "web/page_access",
    "web/page_looks",
    "web/safety",
    "zoo/caffenet",
}


def test_tests_mirror_the_package() -> None:
    lost = []
    for path in sorted(TESTS.rglob("test_*.py")):
        name = path.relative_to(TESTS).parent / path.stem.removeprefix("test_")
        if name.parts[0] in WHOLE or name.as_posix() in OF_ROOMS or name.name == name.parent.name:
            continue
        room = PACKAGE / name.parent
        modules = {found.stem for found in room.rglob("*.py")}
        packages = {found.name for found in room.iterdir() if found.is_dir()}
        if name.name not in modules | packages:
            lost.append(name.as_posix())
    assert not lost, "name these after the module that they test, or move them to tests/whole"
