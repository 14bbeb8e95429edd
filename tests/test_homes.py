"""The table of the package's lazy names agrees with what each module says it has."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import caffe
from caffe import homes

LAZY = ("caffe", "caffe._caffe", "caffe.pycaffe")


def told_to_type_checkers() -> Iterator[tuple[str, str]]:
    """Each name that the package imports for type checkers only, and the module it is from."""
    tree = ast.parse(Path(caffe.__file__).read_text(encoding="utf-8"))
    (checked,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    for node in checked.body:
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        for alias in node.names:
            module = f"{node.module}." if node.module else ""
            yield alias.asname or alias.name, f"{module}{alias.name}"


@pytest.mark.parametrize("module", LAZY)
def test_a_module_has_all_that_it_lists(module: str) -> None:
    imported = importlib.import_module(module)
    assert len(set(imported.__all__)) == len(imported.__all__)
    for name in imported.__all__:
        assert getattr(imported, name) is not None
    assert set(imported.__all__) <= set(dir(imported))


def test_each_entry_of_the_table_is_handed_out_by_some_module() -> None:
    listed = {name for module in LAZY for name in importlib.import_module(module).__all__}
    assert set(homes.HOMES) <= listed


def test_modules_of_the_package_are_handed_out_under_their_names() -> None:
    for name, home in homes.MODULES.items():
        assert getattr(caffe, name) is importlib.import_module(f"caffe.{home}")


def test_type_checkers_are_told_the_same_homes_and_all_of_the_names() -> None:
    told = dict(told_to_type_checkers())
    for name, home in told.items():
        assert home == homes.MODULES.get(name, f"{homes.HOMES.get(name)}.{name}")
    assert set(told) >= set(caffe.__all__) & (set(homes.HOMES) | set(homes.MODULES))


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'caffe' has no attribute 'Solver'"):
        _ = caffe.Solver
