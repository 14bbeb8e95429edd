"""Trying many inputs in processes that may die, and keeping what is found."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .targets import TARGETS
from .worker import PLACE


@dataclass
class Finding:
    """An input that went wrong.

    Attributes
    ----------
    target : str
        What it was given to.
    number : int
        Its number.
    kind : str
        "crash", "hang", "error" or "differs".
    what : str
        What was raised, or how the process died.
    """

    target: str
    number: int
    kind: str
    what: str

    @property
    def place(self) -> str:
        """What tells findings of one cause from others: what was raised, and where."""
        last = self.what[self.what.rfind('  File "') :]
        where = last.split(", in ")[0].strip()
        raised = [line for line in last.splitlines() if line and not line.startswith(" ")]
        return f"{self.kind} {raised[0].split(':')[0] if raised else ''} {where}"


@dataclass
class Campaign:
    """Inputs tried one after the other.

    Parameters
    ----------
    folder : Path
        Where what is found is kept: the input, and beside it what it did.
    stuck : float
        Seconds without a step beyond which a worker is ended: its input counts as a hang.
    """

    folder: Path
    stuck: float = 300.0
    counts: dict[str, int] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def run(self, name: str, first: int, count: int, until: float = float("inf")) -> int:
        """Try so many inputs of a target; returns the number behind the last one that was tried.

        Parameters
        ----------
        name : str
            The target's.
        first, count : int
            The inputs' numbers.
        until : float
            When to end, on `time.monotonic`'s clock; the input that is being tried is ended too.
        """
        number, end = first, first + count
        while number < end and time.monotonic() < until:
            number = self._one_process(name, number, end - number, until)
        return number

    def _one_process(self, name: str, first: int, count: int, until: float) -> int:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            place = Path(scratch) / "place"
            place.write_bytes(PLACE.pack(first, 0))
            said, complained = Path(scratch) / "said", Path(scratch) / "complained"
            numbers = str(first), str(count)
            command = [sys.executable, "-m", "fuzz.worker", name, *numbers, str(place)]
            with said.open("wb") as out, complained.open("wb") as errors:
                worker = subprocess.Popen(
                    command, stdout=out, stderr=errors, env=_environment(scratch)
                )
                verdict = _watch(worker, place, until, self.stuck)
            number, done = PLACE.unpack(place.read_bytes())
            for line in said.read_text().splitlines():
                if line.startswith('{"number"'):
                    self._note(Finding(name, **json.loads(line)))
            self.counts[name] = self.counts.get(name, 0) + done
            if verdict == "ended":
                return first + count
            if verdict is None:
                return int(number)
            complaint = complained.read_text(errors="replace")[-2000:]
            self.counts[name] += 1
            self._note(
                Finding(name, number, verdict, f"exit status {worker.returncode}\n{complaint}")
            )
            return int(number) + 1

    def _note(self, finding: Finding) -> None:
        self.found.append(finding)
        seen = self._places[finding.place] = self._places.get(finding.place, 0) + 1
        if seen > 3:
            return
        target = TARGETS[finding.target]
        data = target.input(finding.number)
        digest = hashlib.sha256(data).hexdigest()[:8]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{finding.target}-{finding.kind}-{digest}{target.suffix}"
        path.write_bytes(data)
        path.with_suffix(path.suffix + ".txt").write_text(
            f"python -m fuzz again {finding.target} {path.name}   (input {finding.number})\n\n"
            f"{finding.kind}: {finding.what}\n"
        )
        print(f"FOUND {path}: {finding.place}", flush=True)


def _environment(scratch: str) -> dict[str, str]:
    return {**os.environ, "FUZZ_FOLDER": scratch, "FUZZ_PARENT": str(os.getpid())}


def _watch(worker: subprocess.Popen[bytes], place: Path, until: float, stuck: float) -> str | None:
    """Wait for a worker; returns "ended", "crash", "hang", or None where time ran out."""
    last, since = b"", time.monotonic()
    while True:
        try:
            return "ended" if worker.wait(timeout=0.2) == 0 else "crash"
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        stands = place.read_bytes()
        if stands != last:
            last, since = stands, now
        if now >= until or now - since > stuck:
            worker.kill()
            worker.wait()
            return "hang" if now - since > stuck else None
