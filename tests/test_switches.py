"""What people turn off by the environment."""

from __future__ import annotations

import pytest

from caffe import switches
from caffe.compiled import llvm
from caffe.engine import remembered

VARIABLES = {llvm.VARIABLE: llvm.is_allowed, switches.REMEMBER: remembered.is_on}


@pytest.mark.parametrize("variable", VARIABLES)
def test_what_is_not_turned_off_is_on(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert switches.is_on(variable)
    for said, is_on in {"1": True, "": True, "0": False, " OFF ": False, "no": False}.items():
        monkeypatch.setenv(variable, said)
        assert switches.is_on(variable) == VARIABLES[variable]() == is_on
