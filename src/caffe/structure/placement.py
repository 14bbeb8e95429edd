"""Where the parts of a net's diagram come to lie, for whoever draws it anew: the page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from ..errors import CaffeError, MissingExtraError
from ..installation import install_command
from .diagram import diagram, drawn_for, family_of_part, find_repeats, lines_of, parts_of
from .outline import Outline

POINTS = 72.0
"""To the inch, in which Graphviz gives the size of nodes."""
_BY_LIBRARY = (
    "import sys, pygraphviz; "
    "graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode()); "
    "sys.stdout.buffer.write(graph.draw(format='json', prog='dot'))"
)
Json = dict[str, Any]


def place(outline: Outline, fold: bool = True, seconds: float = 20) -> Json:
    """Lay out a net's diagram.

    Graphviz does so in a process of its own, so that a net that it cannot cope with costs no more
    than that.

    Parameters
    ----------
    outline : Outline
        The net.
    fold : bool
        A block that stands several times, one after the other, once.
    seconds : float
        How long it may take.

    Returns
    -------
    dict
        ``width`` and ``height`` of it all in points; ``nodes``, each with its place, ``layers``
        by name, ``lines`` of text, ``family``, and ``stands_for``, the layers of the other
        repetitions; ``edges`` as the ``points`` of Bezier curves, with their ``tip``; ``boxes``
        around repeated blocks, with ``lines`` of text. (0, 0) is the upper left corner.

    Raises
    ------
    MissingExtraError
        pydot is not installed, or there is no Graphviz.
    CaffeError
        It took too long, or Graphviz failed.
    """
    graph = diagram(outline, "TB", fold)
    graph.set("label", '""')
    found = json.loads(_laid_out(graph.to_string(), seconds))
    left, bottom, right, top = _numbers(found["bb"])
    parts = parts_of(outline)
    drawn = drawn_for(len(parts), find_repeats(parts) if fold else [])
    names: dict[int, list[str]] = {}
    for part, index in zip(parts, drawn, strict=True):
        names.setdefault(index, []).extend(layer.param.name for layer in part.layers)
    nodes, boxes = [], []
    for one in found.get("objects", []):
        if one["name"].startswith("part"):
            index = int(one["name"].removeprefix("part"))
            x, y = _numbers(one["pos"])
            width, height = (float(one[side]) * POINTS for side in ("width", "height"))
            corner = {"x": x - left - width / 2, "y": top - y - height / 2}
            nodes.append(
                (
                    index,
                    {
                        **corner,
                        "width": width,
                        "height": height,
                        "layers": [layer.param.name for layer in parts[index].layers],
                        "lines": lines_of(parts[index]),
                        "family": family_of_part(parts[index]),
                        "stands_for": names[index],
                    },
                )
            )
        elif "bb" in one:
            x, y, end, high = _numbers(one["bb"])
            lines = [line for line in one.get("label", "").split("\\l") if line]
            size = {"width": end - x, "height": high - y}
            boxes.append({"x": x - left, "y": top - high, **size, "lines": lines})
    edges = [_edge(one["pos"], left, top) for one in found.get("edges", []) if "pos" in one]
    nodes.sort(key=lambda node: node[0])
    return {
        "width": right - left,
        "height": top - bottom,
        "nodes": [node for _, node in nodes],
        "edges": edges,
        "boxes": boxes,
    }


def _edge(text: str, left: float, top: float) -> Json:
    """An edge's curve; Graphviz gives its tip first."""
    points = []
    tip = None
    for word in text.split():
        x, y = _numbers(word.removeprefix("e,"))
        point = [round(x - left, 2), round(top - y, 2)]
        if word.startswith("e,"):
            tip = point
        else:
            points.append(point)
    return {"points": points, "tip": tip or points[-1]}


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _laid_out(text: str, seconds: float) -> bytes:
    if find_spec("pygraphviz") is not None:
        command = [sys.executable, "-c", _BY_LIBRARY]
    elif (dot := shutil.which("dot")) is not None:
        command = [dot, "-Tjson"]
    else:
        raise MissingExtraError(
            "drawing nets needs Graphviz, which is not installed: get it with "
            f"{install_command('draw')} (or with your system's package 'graphviz')"
        )
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            timeout=seconds,
            check=True,
            # Nothing of the folder that one is in is to be taken for the library.
            cwd=os.path.dirname(sys.executable),
        )
    except subprocess.TimeoutExpired as error:
        raise CaffeError(f"laying the net out took longer than {seconds:g} s") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise CaffeError(f"Graphviz failed: {said[-1] if said else error}") from error
    return done.stdout
