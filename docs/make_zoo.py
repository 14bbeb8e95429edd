"""Write docs/zoo.md: the published texts of the reference folder, and whether they run."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402

import caffe  # noqa: E402
from caffe import zoo  # noqa: E402
from caffe.errors import CaffeError  # noqa: E402
from caffe.proto.caffe_pb2 import NetParameter  # noqa: E402
from caffe.proto.files import read_net  # noqa: E402
from caffe.proto.text import format_text, read_text  # noqa: E402
from tests.whole.test_model_texts import (  # noqa: E402
    MODELS,
    NETS,
    feed,
    graphs,
    runs_alone,
    small,
)

PAGE = REPOSITORY / "docs" / "zoo.md"

HEAD = """# Published nets

Net texts as they were published, each read, upgraded, and built for TEST. Nets that need no data
set ran forward on random numbers, with the weights that their fillers give; large ones on smaller
pictures. V0, V1 and V2 are the forms of 2013, 2014 and later. This page is written by
`python docs/make_zoo.py`.

| Net | Form | Layer types | At TEST |
|---|---|---|---|
"""


def form(net: NetParameter) -> str:
    """Return the form of a net's text."""
    if not net.layers:
        return "V2"
    return "V0" if any(layer.HasField("layer") for layer in net.layers) else "V1"


def outcome(name: str, net: NetParameter) -> str:
    """Build and run a net, and say what came of it."""
    whole = graphs(name, net)
    if caffe.TEST not in whole:
        return "is for TRAIN only; connects"
    if not runs_alone(whole[caffe.TEST]):
        return "needs its data set or project; connects"
    try:
        built = caffe.Net(format_text(small(name, net)), caffe.TEST)
        feed(built, np.random.default_rng(0))
        built.forward()
    except CaffeError as error:
        return f"fails: {error}"
    if not all(np.isfinite(built.blobs[blob].data).all() for blob in built.outputs):
        return "runs, but not to finite numbers"
    return "runs"


def row(name: str) -> str:
    """Return the table's row for one net."""
    net = read_net(MODELS / name)
    raw = read_text(MODELS / name, NetParameter())
    types = ", ".join(sorted({layer.type for layer in net.layer}))
    return f"| {name} | {form(raw)} | {types} | {outcome(name, net)} |"


FETCHED = """
## Models that `caffe fetch` brings

`caffe classify --model` and `caffe detect --model` fetch them by themselves, each checked
by its checksum. Where none is known, `caffe fetch NAME --unchecked` brings the model once.

| Name | Model | For | Checksum | Licence | Page |
|---|---|---|---|---|---|
"""


def fetched() -> str:
    """Return the table of the zoo's records."""
    rows = []
    for name in zoo.names():
        record = zoo.record(name)
        algorithms = ("md5", "sha1", "sha256", "sha384")
        known = [algorithm for algorithm in algorithms if getattr(record, algorithm) is not None]
        task = record.task if record.is_model else "files"
        cells = (name, record.title, task, ", ".join(known), record.licence, record.page)
        rows.append("| " + " | ".join(cells) + " |")
    return FETCHED + "\n".join(rows) + "\n"


def main() -> None:
    """Write the page, or with --check exit with 1 where it is not current."""
    warnings.simplefilter("ignore")
    if not NETS:
        sys.exit(f"there are no nets in {os.fspath(MODELS)}")
    page = HEAD + "\n".join(map(row, NETS)) + "\n" + fetched()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page else f"{PAGE} is not current")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
