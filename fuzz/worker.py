"""A process that gives inputs to a target, one after the other; it may die of one.

Where it stands is written into a file that the parent maps: the number of the input that is being
tried, and how many have been. What was found goes out as lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import caffe

from .engines import Differs, try_everything
from .targets import TARGETS, Target

PLACE = struct.Struct("<qq")
"""The number of the input that is being tried, and how many have been."""

SLOW = 20.0
"""Seconds of the processor's time beyond which an input counts as a hang."""

MEMORY = 6 << 30
"""Bytes of addresses beyond what a worker starts with: beyond, memory is refused."""


def limit_memory() -> None:
    """Let this process have only so much memory more."""
    with open("/proc/self/statm") as stream:
        now = int(stream.read().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def tried(target: Target, data: bytes, folder: Path) -> tuple[str, str] | None:
    """Give a target an input.

    Returns
    -------
    (str, str) or None
        What kind of finding it is, and what was raised; None where all is well.
    """
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.run(data, folder)
    except caffe.CaffeError:
        pass
    except Differs:
        return "differs", traceback.format_exc()
    except BaseException:
        return "error", traceback.format_exc()
    seconds = time.process_time() - began
    return ("hang", f"{seconds:.0f} s") if seconds > SLOW else None


def work(name: str, first: int, count: int, place: Path) -> None:
    """Try the inputs of a target from number `first` on; print what is found."""
    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=os.environ.get("FUZZ_FOLDER")))
    # It may be gone before this one is ready.
    parent = int(os.environ.get("FUZZ_PARENT", os.getppid()))
    target.input(first)
    limit_memory()
    os.chdir(folder)
    with open(place, "r+b") as stream, mmap.mmap(stream.fileno(), PLACE.size) as where:
        for done, number in enumerate(range(first, first + count)):
            if os.getppid() != parent:
                break
            PLACE.pack_into(where, 0, number, done)
            found = tried(target, target.input(number), folder)
            if found is not None:
                print(
                    json.dumps({"number": number, "kind": found[0], "what": found[1]}), flush=True
                )
        PLACE.pack_into(where, 0, first + count, count)
    with contextlib.suppress(OSError):
        os.chdir("/")
        shutil.rmtree(folder)


if __name__ == "__main__":
    try_everything()
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
