"""Kernels that earlier processes have compiled, kept as files in the user's cache folder.

They hold machine code, which is run: only the user's own files are believed, that nobody else can
write, and whole ones alone.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from .. import switches
from ..atomic import atomic_write
from ..cache_folder import cache_folder
from ..errors import WriteError
from ..pytorch import torch
from ..version import __version__
from . import processor

FOLDER = "kernels"

MOST = 4096
"""How many files there are at most; the newest stay."""

SELDOM = 256
"""After how many files that a process has written it looks how many there are."""

_FORM = b"Recaffe's kernel, form 1\n"
_NAME = re.compile("[0-9a-f]{40}")
_OTHERS_WRITE = 0o022

_written = 0


def recall(text: str) -> bytes | None:
    """Return a text's machine code, as `machine_code.linked` makes it; None where none is kept.

    Parameters
    ----------
    text : str
        What settles the code, beside the processor: the function in LLVM's language, say.
    """
    path = _path(text)
    if path is None:
        return None
    try:
        if not _is_ours_alone(os.stat(path.parent)):
            return None
        # What waits for a writer is no file of ours.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as stream:
            content = stream.read() if _is_ours_alone(os.fstat(stream.fileno())) else b""
    except OSError:
        return None
    code = content[len(_FORM) + hashlib.sha256().digest_size :]
    return code if content == _content(path.name, code) else None


def keep(text: str, code: bytes) -> None:
    """Keep a text's machine code; where that cannot be written it is compiled again next time."""
    path = _path(text)
    if path is None:
        return
    with suppress(OSError, WriteError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours_alone(os.stat(path.parent)):
            return
        _make_room(path.parent)
        with suppress(FileNotFoundError):
            # Whatever bears that name was not believed, and is not to be written through.
            path.unlink()
        with atomic_write(path) as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(_content(path.name, code))


def _content(name: str, code: bytes) -> bytes:
    """What a file holds: one that is damaged, or bears another's name, differs."""
    return _FORM + hashlib.sha256(name.encode() + code).digest() + code


def _is_ours_alone(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE


def _path(text: str) -> Path | None:
    """Where a text's machine code is kept; None where none is to be."""
    origin = _origin() if switches.is_on(switches.REMEMBER) else None
    if origin is None:
        return None
    name = hashlib.sha256(f"{origin}\n{text}".encode()).hexdigest()[:40]
    return cache_folder() / FOLDER / name


@functools.cache
def _origin() -> str | None:
    """What compiles, and for which processor; None where that cannot be told."""
    spec, cpu = importlib.util.find_spec("llvmlite"), processor.described()
    if spec is None or "flags" not in cpu:
        return None
    library = Path(*(spec.submodule_search_locations or ())[:1], "binding", "libllvmlite.so")
    try:
        found = library.stat()
    except OSError:
        # Whoever could not compile must not begin with what another could.
        return None
    compiler = [str(library), found.st_size, found.st_mtime_ns]
    return json.dumps([__version__, compiler, torch.backends.cpu.get_cpu_capability(), cpu])


def _make_room(folder: Path) -> None:
    """Take away the oldest files where there are too many; seldom, as to list them takes time."""
    global _written
    _written += 1
    if _written % SELDOM != 1:
        return
    ages = []
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            found = entry.stat(follow_symlinks=False)
            if _NAME.fullmatch(entry.name) and stat.S_ISREG(found.st_mode):
                ages.append((found.st_mtime, entry.path))
    for _, path in sorted(ages)[:-MOST]:
        with suppress(FileNotFoundError):
            os.unlink(path)
