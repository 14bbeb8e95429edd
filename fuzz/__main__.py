"""`python -m fuzz`: see docs/fuzzing.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from .campaign import Campaign
from .engines import try_everything
from .targets import READERS_AND_NETS, TARGETS
from .worker import tried

FOLDER = Path("build/fuzz")
ROUND = 120.0
"""Seconds that a target is tried before the next one's turn."""

SMOKE = {"nets": 60, "build": 300, "lmdb": 150, "picture": 600, "hdf5": 400, "hdf5_data": 300,
         "shapes": 500}  # fmt: skip
"""How many inputs of a target the smoke test tries; of the others, `SMOKE_OTHERS`."""

SMOKE_OTHERS = 1500
NETS_SHARE = 3
"""How many turns nets get for one of each reader."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    # Each process finds out what is quickest for itself, so that all of that is tried.
    os.environ["RECAFFE_REMEMBER"] = "0"
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="try inputs for some time, and go on where it stopped")
    run.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(TARGETS)}")
    run.add_argument("--seconds", type=float, default=600)
    run.add_argument("--folder", type=Path, default=FOLDER)
    smoke = commands.add_parser("smoke", help="try the first inputs of each target")
    smoke.add_argument("--folder", type=Path, default=None)
    again = commands.add_parser("again", help="try one input again, in this process")
    again.add_argument("target", choices=TARGETS)
    again.add_argument("input", help="a file, or an input's number")
    given = parser.parse_args(arguments)
    if given.command == "run":
        return _run(given.targets or READERS_AND_NETS, given.seconds, given.folder)
    if given.command == "smoke":
        with tempfile.TemporaryDirectory() as scratch:
            return _smoke(given.folder or Path(scratch))
    return _again(given.target, given.input)


def _run(names: list[str], seconds: float, folder: Path) -> int:
    """Take turns between the targets; numbers go on where the last run ended."""
    kept = folder / "counts.json"
    next_ones = json.loads(kept.read_text()) if kept.exists() else {}
    campaign = Campaign(folder)
    until = time.monotonic() + seconds
    turns = [name for name in names for _ in range(NETS_SHARE if name == "nets" else 1)]
    while time.monotonic() < until:
        for name in turns:
            first = next_ones.get(name, 0)
            end = min(until, time.monotonic() + ROUND)
            next_ones[name] = campaign.run(name, first, 1 << 30, end)
            folder.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(next_ones, indent=1))
    return _report(campaign)


def _smoke(folder: Path) -> int:
    campaign = Campaign(folder)
    for name in READERS_AND_NETS:
        campaign.run(name, 0, SMOKE.get(name, SMOKE_OTHERS))
    return _report(campaign)


def _report(campaign: Campaign) -> int:
    for name, count in campaign.counts.items():
        print(f"{name}: {count}")
    print(f"{sum(campaign.counts.values())} inputs, {len(campaign.found)} findings")
    return 1 if campaign.found else 0


def _again(name: str, said: str) -> int:
    target = TARGETS[name]
    data = target.input(int(said)) if said.isdigit() else Path(said).read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        found = tried(target, data, Path(scratch))
    print(": ".join(found) if found else "all is well")
    return 1 if found else 0


if __name__ == "__main__":
    try_everything()
    sys.exit(main())
