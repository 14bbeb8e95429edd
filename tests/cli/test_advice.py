"""Errors of commands advise options, and no calls from Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import caffe
from caffe.cli.advice import OPTIONS, as_options
from tests.helpers.command import caffe_command

CALL = re.compile(r"\b(?:caffe|net|solver|classifier)\.\w+\(")


def texts_of_errors() -> list[str]:
    """All texts in the library below the commands that are more than names, with no docstrings."""
    found = []
    root = Path(caffe.__file__).parent
    for path in root.rglob("*.py"):
        # What writes programs has texts that are none of errors.
        is_writer = path.name == "generate.py" or path.match("export/source.py")
        if path.relative_to(root).parts[0] in ("cli", "tools") or is_writer:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        alone = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        constants = (n for n in ast.walk(tree) if isinstance(n, ast.Constant))
        found += [n.value for n in constants if isinstance(n.value, str) and id(n) not in alone]
    return found


def test_every_call_that_an_error_advises_has_an_option() -> None:
    texts = texts_of_errors()
    told = {text for text in texts if CALL.search(text)}
    assert len(told) >= 4
    # In forks of a process that uses a GPU there are no commands.
    left = {as_options(text) for text in told if "by 'spawn'" not in text}
    assert not [text for text in left if CALL.search(text)]
    for call in OPTIONS:
        assert any(call in text for text in texts), f"no error says {call!r} any more"


def test_a_gpu_that_is_not_there_is_told_with_the_option() -> None:
    result = caffe_command("time", "--gpu", 99)
    assert result.exit_code == 1
    assert "caffe." not in result.stderr
    assert "Without --gpu it runs on the CPU." in result.stderr


def test_a_layer_of_an_unknown_type_needs_no_python(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text('layer { name: "a" type: "Convolutoin" top: "a" }')
    result = caffe_command("time", "--net", net)
    assert result.exit_code == 1
    assert "did you mean 'Convolution'" in result.stderr
    assert "caffe." not in result.stderr
