"""Every name of pycaffe is there after ``import caffe``, of its kind, and takes its arguments.

``namespace.json`` has the names by module; of each class the members that it has not from a class
above it. Boost.Python's signatures stand as it says them: ``f( (Net)arg1 [, (int)level=0]) -> X``.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from types import MethodDescriptorType, WrapperDescriptorType
from typing import Any

import pytest
from google.protobuf.message import Message

import caffe

NAMES = json.loads((Path(__file__).parent / "namespace.json").read_text(encoding="utf-8"))

NOT_INSTALLED = {"caffe.net_spec.six", "caffe.pycaffe.six"}
"""Passed on where it is installed; nothing here needs it."""

OTHER_KINDS = {
    # `caffe.layers` is the package of layers, too.
    "caffe.layers": "module",
    # Not asked for at an import, but when the layers are.
    "caffe._caffe.Layer.type": "str",
}


BUILT_IN = (MethodDescriptorType, WrapperDescriptorType)

ENTRIES = [
    (f"{module}.{name}", entry)
    for module, names in NAMES["modules"].items()
    for name, entry in names.items()
]
MEMBERS = [
    (f"{owner}.{name}", entry)
    for owner, found in NAMES["classes"].items()
    for name, entry in found.items()
]


def reached(path: str) -> Any:
    """What a program gets that writes the path down, after ``import caffe`` alone."""
    first, *rest = path.split(".")
    assert first == "caffe"
    found: Any = caffe
    for name in rest:
        # A message's class has not what its messages have.
        if isinstance(found, type) and issubclass(found, Message) and name != "__init__":
            found = found()
        found = getattr(found, name)
    return found


def pythons_arguments(arguments: list[str], given: inspect.Signature) -> None:
    """Check the arguments of a function that the original writes in Python."""
    names = list(given.parameters)
    for position, argument in enumerate(arguments):
        name = argument.rstrip("=")
        if name in ("args", "kwargs"):
            variable = inspect.Parameter.VAR_KEYWORD
            assert any(p.kind == variable for p in given.parameters.values()), given
            continue
        assert names[position] == name, given
        has_default = given.parameters[name].default is not inspect.Parameter.empty
        assert has_default == argument.endswith("="), given


def boosts_arguments(signature: str, given: inspect.Signature) -> None:
    """Check that a compiled function's numbers of arguments, and the names that it has, do."""
    inside = signature[signature.index("(") : signature.rindex(")")]
    required, _, optional = inside.partition("[")
    known = r"\(\w+\)(\w+)"
    needed, more = re.findall(known, required), re.findall(known, optional)
    for count in range(len(needed), len(needed) + len(more) + 1):
        given.bind(*range(count))
    named = [name for name in needed + more if not re.fullmatch(r"arg\d+", name)]
    unnamed = [name for name in needed + more if name not in named]
    given.bind(*unnamed, **dict.fromkeys(named))


@pytest.mark.parametrize(("path", "entry"), ENTRIES)
def test_a_modules_name_is_reached_and_of_its_kind(path: str, entry: dict[str, Any]) -> None:
    if path in NOT_INSTALLED:
        pytest.importorskip("six")
    found = reached(path)
    kind = OTHER_KINDS.get(path, entry["kind"])
    if kind == "module":
        assert inspect.ismodule(found)
        if path not in OTHER_KINDS:
            assert found is resolve_name(entry["is"])
    elif kind == "class":
        assert isinstance(found, type)
        assert found is resolve_name(entry["is"]) or path == "caffe.pycaffe.izip_longest"
        assert set(entry["bases"]) <= {base.__name__ for base in found.__mro__}
    elif kind == "function":
        assert callable(found)
    else:
        assert type(found).__name__ == kind


@pytest.mark.parametrize(("path", "entry"), MEMBERS)
def test_a_classs_member_is_reached_and_of_its_kind(path: str, entry: dict[str, Any]) -> None:
    found = reached(path)
    assert callable(found) == (entry["kind"] == "method")
    assert path in OTHER_KINDS or entry["kind"] == "method" or not isinstance(found, str)


@pytest.mark.parametrize(
    ("path", "arguments"),
    [(path, e["arguments"]) for path, e in [*ENTRIES, *MEMBERS] if e.get("arguments")],
)
def test_arguments_are_taken_by_their_names_and_numbers(path: str, arguments: list[str]) -> None:
    found = reached(path)
    if arguments == ["self", "args", "kwargs"] or isinstance(found, BUILT_IN):
        # `object`'s own, as the original's Layers and Parameters have it; or a list's.
        return
    given = inspect.signature(found)
    if "->" in arguments[0]:
        for signature in arguments:
            boosts_arguments(signature, given)
    else:
        pythons_arguments(arguments, given)


@pytest.mark.parametrize(
    ("line", "loads_torch"),
    [
        ("caffe.proto.caffe_pb2.BlobProto()", False),
        ("caffe.io.caffe_pb2.BlobProto()", False),
        ("caffe.io.array_to_blobproto([1.0])", False),
        ("caffe.io.resize, caffe.io.zoom", False),
        ("caffe.net_spec._param_names", False),
        ("caffe.net_spec.caffe_pb2.NetParameter", False),
        ("caffe.draw.caffe_pb2.NetParameter", False),
        ("caffe._caffe, caffe.pycaffe", False),
        ("caffe._caffe.BlobVec()", False),
        ("caffe.classifier.Classifier, caffe.detector.Detector", False),
        ("caffe.pycaffe.Net", False),
        ("caffe.Blob([2]).data", True),
    ],
)
def test_a_programs_first_line_finds_what_it_names_and_loads_no_more(
    line: str, loads_torch: bool
) -> None:
    program = f"import caffe, sys; {line}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(loads_torch), done.stderr
