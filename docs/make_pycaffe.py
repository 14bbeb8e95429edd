"""Write docs/pycaffe.md: pycaffe's names, and what each is here; ``--check`` only compares.

The names are those of ``tests/goldens/namespace.json``, which a test walks. What differs stands
here, by the name's path; whatever stands not here is the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "pycaffe.md"
NAMES = json.loads((REPOSITORY / "tests/goldens/namespace.json").read_text(encoding="utf-8"))

HEAD = """# pycaffe's names

Every name of the original's Python modules (BVLC Caffe 1.0), of their classes and of their
arguments is there after `import caffe` alone. `import caffe` itself loads nothing: a name is
imported when it is first used, and what needs no PyTorch does not load it. A test walks the list
(`tests/goldens/test_namespace.py`); this page is written from it by `python docs/make_pycaffe.py`.

"Same" is what a program can take for the original. "Better" does what the original does, and more.
"Not" differs, and says why.

What holds for all of them:

- A path is text, bytes or an object such as `pathlib.Path`. Only `caffe.io.load_image` takes bytes
  for the picture itself: they may come from an upload, and are to open no file.
- What made the original end the process is an exception, a `caffe.CaffeError` (a `RuntimeError`)
  that says what, where and what to do. A net, solver, list or file of weights that is not there is
  a `FileNotFoundError` too, a picture that cannot be read an `OSError`, an argument of a wrong type
  a `TypeError`, a wrong shape a `ValueError`.
- What is written is whole or not there.
- `Transformer.preprocess` squeezes the whole picture into the input, as the original's does, and so
  does `Classifier.predict(..., oversample=False)` without `image_dims`. `caffe classify`, `caffe
  serve` and the zoo's `model.classify` do what a model was trained with: for the default one the
  picture is brought to 256 x 256, and its middle cut out. So the same cat has two probabilities:
  0.79 squeezed, 0.74 cut.
- Vectors (`caffe._caffe.BlobVec` and the others) are Python lists: they are sliced, compared and
  printed.
- Nets run in forked processes (Flask, gunicorn, `multiprocessing`), by one thread each, and in
  threads. In a fork of a process that has used OpenVINO, ONNX Runtime, MNN or a GPU, PyTorch takes
  their place and the GPU is refused; `spawn` has both.
- `os.path.dirname(caffe.__file__) + "/imagenet/ilsvrc_2012_mean.npy"` is there, 3 x 256 x 256. It
  is **not the original's picture**: it has the published mean of each channel (104.00698793,
  116.66876762, 122.67891434) at every place, so that `.mean(1).mean(1)` gives the same numbers.
  Who subtracts the whole picture takes the original's: `caffe fetch ilsvrc12` brings it as
  `imagenet_mean.binaryproto`, for `caffe.io.load_mean`.
"""

BETTER = {
    "caffe.Classifier": "threads prepare pictures while the net runs, any number of them; `recipe` "
    "says how they go in",
    "caffe.Net": "takes a net's text or a `NetParameter` as well as its file; can be copied and "
    "pickled; prints as a table; `explain()`",
    "caffe._caffe.Net.forward": "runs by prepared plans where no gradients are needed; a blob is "
    "computed when it is looked at",
    "caffe._caffe.Net.load_hdf5": "takes .caffemodel files, too, as `copy_from` takes both",
    "caffe._caffe.Net.after_backward": "and its three sisters: as long as there are functions for "
    "the forward, layers run one by one; a copy of the net has none",
    "caffe._caffe.Layer.blobs": "a list that is put here becomes a vector",
    "caffe.layer_type_list": "knows the forks' layers and one's own",
    "caffe.layers": "is the package of layers, too: a module, and no `Layers`",
    "caffe.set_mode_gpu": "says why where there is no usable GPU; so does `set_device`",
    "caffe._caffe.SolverParameter": "the whole protobuf message",
    "caffe._caffe.LayerParameter": "the whole protobuf message",
    "caffe.io.load_image": "takes a picture's content and open files, too",
    "caffe.io.Transformer": "checks what is set against the input; shows itself in a notebook",
    "caffe.coord_map.AxisMismatchException": "a `CaffeError`",
    "caffe.coord_map.UndefinedMapException": "a `CaffeError`",
    "caffe.coord_map.PASS_THROUGH_LAYERS": "the layers say it themselves; names may be added",
    "caffe.draw.draw_net": "legible for nets of hundreds of layers",
    "caffe.net_spec.Function": "names the layer, and what it takes, where a keyword is wrong",
}
NOT = {
    "caffe.__version__": "Recaffe's own version",
    "caffe.NCCL": "trains on one device; it says so, and `has_nccl()` is false",
    "caffe.init_log": "`stderr=False` writes no files: what is not an error is left to the "
    'handlers of the logger "caffe"',
    "caffe.detector.Detector.detect_selective_search": "that was a MATLAB program; "
    "`detect_windows` takes windows found by other means",
    "caffe.set_multiprocess": "is kept, and acts on nothing; so are `set_solver_count` and "
    "`set_solver_rank`",
    "caffe.draw.BLOB_STYLE": "other colours and shapes; so are the other two styles",
}
SAME = {
    "caffe._caffe.Layer.type": '"Python" for what one writes oneself',
    "caffe.io.resize": "scikit-image's own, with the extra `demo`",
    "caffe.io.zoom": "SciPy's own, with the extra `demo`",
    "caffe.io.skimage": "with the extra `demo`",
    "caffe.draw.pydot": "with the extra `draw`",
    "caffe.net_spec.six": "where it is installed; nothing here needs it",
    "caffe.pycaffe.six": "where it is installed; nothing here needs it",
}
BESIDE = {
    "caffe._caffe": "The names of `caffe` that are made here are left out.",
    "caffe.pycaffe": "The class `Net` has these without `_Net_`.",
}


def remark(path: str) -> str:
    """Return what is to be said of a name; nothing where it is the same."""
    if path in BETTER:
        return f"better: {BETTER[path]}"
    if path in NOT:
        return f"not: {NOT[path]}"
    return f"same: {SAME[path]}" if path in SAME else ""


def shown(name: str, entry: dict[str, Any]) -> str:
    """Return a name as the table has it, a function with its arguments."""
    arguments = entry.get("arguments")
    if not arguments or "->" in arguments[0] or arguments == ["self", "args", "kwargs"]:
        return f"`{name}`"
    given = [f"**{a}" if a == "kwargs" else a for a in arguments if a != "self"]
    return f"`{name}({', '.join(given)})`"


def rows(names: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the rows of a table: what is remarkable one by one, and the rest in one.

    Parameters
    ----------
    names : iterable of (str, str, str)
        Each name's path, how it is shown, and what is said of it.
    """
    same = []
    for _, text, said in names:
        if said:
            yield f"| {text} | {said} |"
        else:
            same.append(text)
    if same:
        yield f"| {', '.join(same)} | same |"


def page() -> str:
    """Return the page."""
    lines = [HEAD]
    told: set[str] = set()
    for module, names in NAMES["modules"].items():
        # What another module of the list has is told there.
        mine = {
            f"{module}.{name}": (name, entry)
            for name, entry in names.items()
            if (home := entry.get("is", f"{module}.{name}")) not in told
            and not (module != "caffe" and name in NAMES["modules"]["caffe"])
            and (home.startswith("caffe") or f"{module}.{name}" in SAME)
        }
        told.update(entry.get("is", path) for path, (_, entry) in mine.items())
        table = [(p, shown(n, e), remark(p)) for p, (n, e) in mine.items()]
        told_apart = [row for row in table if row[1] not in ("`caffe`", "`os`")]
        if not told_apart:
            continue
        lines.append(f"## `{module}`\n")
        if module in BESIDE:
            lines.append(f"{BESIDE[module]}\n")
        lines += ["| name | here |", "| --- | --- |", *rows(told_apart), ""]
        for path, (name, entry) in mine.items():
            members = NAMES["classes"].get(entry.get("is"), {})
            inner = [
                (f"{entry['is']}.{m}", shown(m, e), remark(f"{entry['is']}.{m}"))
                for m, e in members.items()
            ]
            is_plain = path.endswith("Solver") or name.endswith(("Vec", "Parameter"))
            if is_plain or {*members} <= {"__init__"}:
                continue
            if any(said for _, _, said in inner):
                lines += [
                    f"`{name}` has",
                    "",
                    "| member | here |",
                    "| --- | --- |",
                    *rows(inner),
                    "",
                ]
            else:
                lines += [f"`{name}` has the same {', '.join(text for _, text, _ in inner)}.", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    paths = {f"{m}.{n}" for m, names in NAMES["modules"].items() for n in names}
    paths |= {f"{c}.{n}" for c, members in NAMES["classes"].items() for n in members}
    unknown = {*BETTER, *NOT, *SAME} - paths
    if unknown:
        sys.exit(f"no names of pycaffe: {', '.join(sorted(unknown))}")
    if "--check" in sys.argv:
        current = PAGE.read_text(encoding="utf-8") == page()
        sys.exit(0 if current else f"{PAGE} is not current; run python {sys.argv[0]}")
    PAGE.write_text(page(), encoding="utf-8")
