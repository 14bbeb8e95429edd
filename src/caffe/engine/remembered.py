"""What was found to be the quickest on this machine, kept for later nets and processes.

A busy machine may have let the wrong one win. So a finding holds for a day, and twice as long
each time that a new trial comes to the same, up to a month; and for an hour only where others were
seen to want the CPUs.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import switches
from ..atomic import atomic_write
from ..cache_folder import cache_folder
from ..compiled import llvm, processor
from ..processes import held_while_forking
from ..pytorch import torch
from ..version import __version__

FILE = "quickest.json"

MOST = 4096
"""How many findings are kept, the newest."""

DAY = 86400.0
"""How many seconds a finding holds that was made once."""

LONGEST = 32 * DAY

HOUR = 3600.0
"""How many seconds a finding holds that was made while others wanted the CPUs."""

LIBRARIES = ("torch", "llvmlite", "openvino", "onnxruntime", "MNN")

_lock = held_while_forking(threading.Lock())


@dataclass(frozen=True)
class Finding:
    """Who was the quickest.

    Attributes
    ----------
    chosen : str
        Its name.
    seconds : dict of str to float
        How long each took that was tried.
    trials : int
        How many trials, one after the other, have come to this; 0 where it is not sure.
    found_at : float
        When the last one did, in seconds since 1970.
    """

    chosen: str
    seconds: dict[str, float]
    trials: int
    found_at: float

    @property
    def holds(self) -> bool:
        """Whether it is new enough to be believed."""
        age = time.time() - self.found_at
        most = min(LONGEST, DAY * 2.0 ** (self.trials - 1)) if self.trials else HOUR
        return 0 <= age < most


def is_on() -> bool:
    """Tell whether findings are kept and believed."""
    return switches.is_on(switches.REMEMBER)


def key_of(facts: object) -> str:
    """Return what a finding is kept by: the facts, this machine, its threads and libraries.

    Parameters
    ----------
    facts : object
        What settles the work, as JSON holds it.
    """
    text = json.dumps([_machine(), torch.get_num_threads(), facts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def recall(key: str) -> Finding | None:
    """Return what was found; None where nothing was, or too long ago."""
    if not is_on():
        return None
    with _lock:
        finding = _read().get(key)
    return finding if finding is not None and finding.holds else None


def note(key: str, chosen: str, seconds: Mapping[str, float], is_sure: bool = True) -> None:
    """Keep what was found; where the file cannot be written it is as if nothing had been."""

    def noted(findings: dict[str, Finding]) -> None:
        before = findings.pop(key, None)
        again = before is not None and before.chosen == chosen
        trials = before.trials + 1 if before is not None and again else 1
        trials = trials if is_sure else 0
        findings[key] = Finding(chosen, dict(seconds), trials, time.time())

    _change(noted)


def forget(key: str) -> None:
    """Drop what was found, since it has turned out not to be usable."""
    _change(lambda findings: findings.pop(key, None))


def _change(change: Any) -> None:
    if not is_on():
        return
    with _lock, suppress(OSError):
        # What another process writes in between is lost, and found out again.
        findings = _read()
        change(findings)
        newest = sorted(findings.items(), key=lambda item: item[1].found_at)[-MOST:]
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "w") as stream:
            json.dump({key: asdict(finding) for key, finding in newest}, stream, indent=1)


def _path() -> Path:
    return cache_folder() / FILE


def _read() -> dict[str, Finding]:
    """What the file holds; nothing where there is none, or none that can be read."""
    try:
        entries = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found = {}
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        finding = _finding(entry)
        if finding is not None:
            found[key] = finding
    return found


def _finding(entry: Any) -> Finding | None:
    """One entry of the file, if it is one."""
    try:
        seconds = {str(name): float(value) for name, value in entry["seconds"].items()}
        trials = min(max(int(entry["trials"]), 0), 32)
        return Finding(str(entry["chosen"]), seconds, trials, float(entry["found_at"]))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None


@functools.cache
def _machine() -> list[str]:
    """The processor, as far as it can be known, and the libraries' versions."""
    facts = [platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability()]
    facts += [f"{name}: {value}" for name, value in processor.described().items()]
    for library in LIBRARIES:
        try:
            facts.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            facts.append(f"no {library}")
    return [*facts, f"compiled: {llvm.is_allowed()}", f"caffe {__version__}"]


def told(chosen: str, seconds: Mapping[str, float]) -> str:
    """Say how quick those were that were tried: "12 ms instead of 15 by PyTorch"."""
    others = [f"{1000 * value:.3g} by {name}" for name, value in seconds.items() if name != chosen]
    if chosen not in seconds or not others:
        return ""
    return f"{1000 * seconds[chosen]:.3g} ms instead of {' and '.join(others)}"
