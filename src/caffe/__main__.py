"""``python -m caffe`` is the `caffe` command."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # Python has put the current folder first, where a stranger's modules may lie beside the net;
    # the `caffe` script does not look there either. PYTHONPATH=. says that it is wanted.
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]

    from .cli import run

    run()
