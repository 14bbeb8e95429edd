"""Append figures to history.md: how quick each commit was, by what forward.py says.

python benchmarks/forward.py --json forward.json
python benchmarks/history.py forward.json --note "nothing else ran"
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

OURS = ("Recaffe", "default installation")
PLACE = Path(__file__).with_name("history.md")
HEAD = """# How quick each commit was

Written by `benchmarks/history.py`, which appends: milliseconds per forward, or per step of
training, medians. "Default" is Recaffe without extras. "Limit" is what computing each
layer directly takes at least, by the machine's measured rates (beside it, in GFLOP/s and GB/s).
"Spread" is how wide the interval is in which the median lies, of the engine that was the least
steady. Compare rows of one machine alone, and of like notes.

| commit | date | what | Recaffe | default | the quickest other | limit | spread | machine, note |
|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Append what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="what --json FILE has written")
    parser.add_argument("--note", default="", help="how they were measured")
    parser.add_argument("--into", type=Path, default=PLACE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = []
    for path in options.files:
        report = json.loads(path.read_text())
        date = time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime))
        rows += [row(figure, report["machine"], date, options.note) for figure in report["figures"]]
    before = options.into.read_text() if options.into.exists() else HEAD
    options.into.write_text(before + "".join(f"{text}\n" for text in rows))
    print(f"{len(rows)} rows were appended to {options.into}")


def row(figure: dict[str, Any], machine: dict[str, Any], date: str, note: str) -> str:
    """One figure as a row of the table."""
    taken = figure["ms"]
    others = {name: value for name, value in taken.items() if name not in OURS}
    quickest = min(others, key=others.__getitem__) if others else ""
    spreads = [spread for spread in figure["spread"].values() if spread == spread]
    what = [figure["net"], f"batch {figure['batch']}"]
    what += ["training"] if "precision" not in figure else []
    what += [figure["precision"]] if figure.get("precision", "float32") != "float32" else []
    rates = f"{machine['gflops']:.0f}/{machine['gbytes']:.0f}"
    cells = [
        machine["commit"],
        date,
        ", ".join(what),
        *(f"{taken[name]:.1f}" if name in taken else "" for name in OURS),
        f"{quickest} {others[quickest]:.1f}" if quickest else "",
        f"{figure['limit_ms']:.1f}" if "limit_ms" in figure else "",
        f"{100 * max(spreads):.0f} %" if spreads else "?",
        f"{machine['processor']}, {machine['threads']} threads, {rates}"
        + (f"; {note}" * bool(note)),
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
