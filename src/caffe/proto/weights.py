"""Where the readers of weight files stood once: they are in `caffe.weights.files`."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    # Found when asked for, as this floor knows nothing of the one above it.
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("caffe.weights.files"), name)
