"""Kernels that earlier processes have compiled, kept as files in the user's cache folder.

They hold machine code, which is run: only the user's own files are believed, that nobody else can
write, and whole ones alone.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
from contextlib import suppress
from pathlib import Path

from .. import switches
from ..atomic import atomic_write
from ..cache_folder import cache_folder
from ..errors import WriteError
from ..pytorch import torch
from . import processor

FOLDER = "kernels"

MOST = 4096
"""How many files there are at most when a process begins to write; the newest stay."""

_FORM = b"Recaffe's kernel, form 1\n"
_OTHERS_WRITE = 0o022


def recall(text: str) -> bytes | None:
    """Return a text's machine code, as `machine_code.linked` makes it; None where none is kept.

    Parameters
    ----------
    text : str
        The function, in LLVM's language.
    """
    if not switches.is_on(switches.REMEMBER):
        return None
    try:
        if not _is_ours_alone(os.stat(_folder())):
            return None
        with open(_path(text), "rb") as stream:
            content = stream.read() if _is_ours_alone(os.fstat(stream.fileno())) else b""
    except OSError:
        return None
    code = content[len(_FORM) + hashlib.sha256().digest_size :]
    return code if content == _content(code) else None


def keep(text: str, code: bytes) -> None:
    """Keep a text's machine code; where that cannot be written it is compiled again next time."""
    if not switches.is_on(switches.REMEMBER):
        return
    with suppress(OSError, WriteError):
        _make_room(_folder())
        with atomic_write(_path(text)) as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(_content(code))


def _content(code: bytes) -> bytes:
    """What a file holds: a damaged one differs."""
    return _FORM + hashlib.sha256(code).digest() + code


def _is_ours_alone(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE


def _folder() -> Path:
    return cache_folder() / FOLDER


def _path(text: str) -> Path:
    return _folder() / hashlib.sha256(f"{_origin()}\n{text}".encode()).hexdigest()[:40]


@functools.cache
def _origin() -> str:
    """What compiles, and for which processor."""
    compiler = importlib.metadata.version("llvmlite")
    capability = torch.backends.cpu.get_cpu_capability()
    return json.dumps([compiler, capability, processor.described()], sort_keys=True)


@functools.cache
def _make_room(folder: Path) -> None:
    """Have the folder, with not too many files; once, as to list them takes time."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ages = sorted((entry.stat().st_mtime, entry.path) for entry in os.scandir(folder))
    for _, path in ages[:-MOST]:
        os.unlink(path)
