"""Makes sure that ``import caffe`` is Recaffe, whatever stands first on the path.

An old checkout of Caffe has a package of that name too, and programs put it first
(``sys.path.insert(0, caffe_root + "python")``, or PYTHONPATH). After ``import recaffe`` that does
not matter any more::

    import recaffe
    import caffe

The commands are started from here for the same reason.
"""

from __future__ import annotations

import importlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


def _claim() -> None:
    """Import the package beside this file as ``caffe``."""
    there = sys.modules.get("caffe")
    if there is None:
        sys.path.insert(0, HERE)
        try:
            there = importlib.import_module("caffe")
        finally:
            sys.path.remove(HERE)
    place = getattr(there, "__file__", None) or "nowhere"
    if os.path.dirname(os.path.dirname(os.path.realpath(place))) != os.path.realpath(HERE):
        raise ImportError(
            f"another caffe is imported already, from {place}; import recaffe before it"
        )


_claim()


def run() -> None:
    """Run the `caffe` command."""
    importlib.import_module("caffe.cli").run()


def __getattr__(name: str) -> Any:
    """The original's tools, by their names."""
    tool = os.path.join(HERE, "caffe", "tools", f"{name}.py")
    if name.startswith("_") or not os.path.isfile(tool):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"caffe.tools.{name}").run


if __name__ == "__main__":
    run()
