"""No file of a stranger's can bring code: the package has no way to run any."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import caffe

SOURCE = Path(caffe.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# PyTorch's files are read for their tensors alone, which runs no code.
HARMLESS = {'torch.load(file, map_location="cpu", weights_only=True)'}
DANGEROUS = re.compile(
    r"^\s*(?:import|from)\s+(?:c?pickle|_pickle|dill|joblib|marshal|shelve|cloudpickle)\b"
    r"|allow_pickle\s*=\s*True|\btorch\.load\(|(?<![\w.])(?:eval|exec)\("
    r"|\bos\.(?:system|popen)\(|shell\s*=\s*True|\byaml\.load\("
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_unpickles_or_evaluates(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if DANGEROUS.search(line) and not any(harmless in line for harmless in HARMLESS)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from pickle import loads", "numpy.load(x, allow_pickle=True)", "eval(text)"],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert DANGEROUS.search(line)
