"""A GPU's code of kernels, made where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from types import ModuleType
from typing import Any

# Triton is told that it interprets when it is imported: another process compiles.
COMPILING = """
import importlib, json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from caffe.gpu.kernel import jitted

module, name, types, constants, options = json.loads(sys.argv[1])
kernel = jitted(getattr(importlib.import_module(module), name))
kinds = ["constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names]
signature = dict(zip(kernel.arg_names, kinds))
# PyTorch's tensors begin at such places.
places = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(kinds) if kind[0] == "*"}
source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=places)
made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
assert made.asm["cubin"]
print(made.asm["ptx"])
"""


def assert_compiles(
    module: ModuleType, name: str, types: dict[str, str], constants: dict[str, Any], **options: Any
) -> str:
    """Compile one of a module's kernels for an H100, and return its text.

    Parameters
    ----------
    module : ModuleType
        Where the kernel is.
    name : str
        What it is called there.
    types : dict of str to str
        Of arguments, in Triton's words; those not named are integers of 32 bits.
    constants : dict of str to Any
        What it is compiled for.
    **options : Any
        Triton's, such as ``num_warps``.
    """
    wanted = json.dumps([module.__name__, name, types, constants, options])
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", COMPILING, wanted],
            env={**environment, "TRITON_CACHE_DIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout
