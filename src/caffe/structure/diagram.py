"""A net as a picture for people: a node for each layer and what runs on its output in place.

`caffe.draw` has pycaffe's drawings, of layers and blobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_write
from ..draw import (
    FONT,
    RANKDIRS,
    format_of,
    main_parameters,
    own_settings,
    quoted,
    quoted_all,
    render,
)
from ..errors import CaffeError, require
from ..guarded import guarded
from ..layers.description import Family
from ..layers.registry import family_of
from ..paths import PathLike
from ..proto.caffe_pb2 import EltwiseParameter, LayerParameter
from .outline import Outline, OutlinedLayer
from .summary import shape_text, summarize

if TYPE_CHECKING:
    from pydot import Dot

INK, QUIET = "#1B1F24", "#454C54"
"""Of names, and of what stands below them: both are readable on every fill."""

PLAIN = ("#E4E7EB", "#7A828C")
COLORS: dict[Family, tuple[str, str]] = {
    "convolution": ("#D3E4FB", "#3F74B8"),
    "pooling": ("#FBE3B8", "#B07C1E"),
    "resizing": ("#FBE3B8", "#B07C1E"),
    "product": ("#E3D7F5", "#7B5AB5"),
    "activation": ("#D3EDCF", "#4B8F45"),
    "normalization": ("#E9E7C8", "#878134"),
    "loss": ("#FAD7D3", "#B9554B"),
    "source": ("#CDEDEA", "#2F8A82"),
}
"""Fill and border of layers, by their family; others are plain."""

FOLLOWERS: frozenset[Family] = frozenset({"activation", "normalization"})
"""Families of layers that are drawn with the layer before them where nobody else reads it."""

BITMAPS = frozenset({"png", "jpg", "jpeg", "gif"})
"""Formats in which a picture has a fixed number of pixels."""

_USUAL = frozenset({"stride 1", "pad 0"})
_LONGEST_BLOCK = 64
_SMALL_PICTURE = 120
_FAINT = {**FONT, "fontsize": "10", "fontcolor": QUIET, "color": "#9AA2AC"}


@dataclass
class Part:
    """What is drawn as one node.

    Attributes
    ----------
    layers : list of OutlinedLayer
        A layer and those that follow on its output.
    sources : list of int
        The parts whose outputs it reads.
    """

    layers: list[OutlinedLayer]
    sources: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first layer's name."""
        return self.layers[0].param.name

    @property
    def is_source(self) -> bool:
        """Whether it is an input, or reads data."""
        return not self.layers[0].bottoms


@dataclass(frozen=True)
class Repeat:
    """A block of parts that stands several times, each reading the one before."""

    start: int
    length: int
    times: int

    @property
    def end(self) -> int:
        """The first part behind the last repetition."""
        return self.start + self.length * self.times


@guarded
def draw_outline(
    outline: Outline,
    path: PathLike,
    rankdir: str = "TB",
    fold: bool = True,
) -> None:
    """Draw a net into a file whose name's ending says the format.

    Parameters
    ----------
    outline : Outline
        The net, in one of its phases.
    path : path-like
        Ends in .svg, .pdf, .png or another of Graphviz's formats.
    rankdir : {"TB", "BT", "LR", "RL"}
        Which way data flows in the picture: down, up, right or left.
    fold : bool
        Draw a block that stands several times, one after the other, once.

    Raises
    ------
    CaffeError
        The format or the direction is not known.
    MissingExtraError
        pydot is not installed, or there is no Graphviz.
    WriteError
        The file cannot be written; one that stood there is untouched.

    Examples
    --------
    >>> from caffe.structure.outline import outline
    >>> from caffe.proto.files import read_net
    >>> draw_outline(outline(read_net("net.prototxt"), caffe.TEST), "net.svg")  # doctest: +SKIP
    """
    ext = format_of(path)
    graph = diagram(outline, rankdir, fold)
    if ext not in BITMAPS:
        graph.set("dpi", "72")
    picture = render(graph, ext)
    with atomic_write(path) as stream:
        stream.write(picture)


@guarded
def diagram(outline: Outline, rankdir: str = "TB", fold: bool = True) -> Dot:
    """Return a net as a pydot graph; see `draw_outline`."""
    if rankdir not in RANKDIRS:
        raise CaffeError(f"rankdir must be one of {', '.join(RANKDIRS)}, not {rankdir!r}")
    pydot = require("pydot", "draw", "drawing nets")
    parts = parts_of(outline)
    repeats = find_repeats(parts) if fold else []
    drawn = drawn_for(len(parts), repeats)
    graph: Dot = pydot.Dot(
        quoted(outline.name or "net"),
        graph_type="digraph",
        rankdir=rankdir,
        nodesep="0.25",
        ranksep="0.32",
        bgcolor="white",
        # More dots would pass what picture formats can hold.
        dpi="144" if len(set(drawn)) <= _SMALL_PICTURE else "96",
        labelloc="t",
        label=_title(outline),
        **quoted_all({**FONT, "fontcolor": INK}),
    )
    boxes = _boxes(parts, repeats, drawn)
    for number, (label, members) in enumerate(boxes):
        target: Any = graph
        if label:
            # Below, and to the left: there the arrows that come in do not cross it.
            corner = {"labeljust": "l", "labelloc": "b", "margin": "9"}
            style = quoted_all({**_FAINT, **corner, "style": "rounded,dashed"})
            target = pydot.Cluster(f"box{number}", label=f'"{label}"', **style)
        for index in members:
            target.add_node(_node(pydot, index, parts[index]))
        if label:
            graph.add_subgraph(target)
    style = quoted_all({"color": "#6B737D", "arrowsize": "0.65"})
    for index in sorted(set(drawn)):
        for source in dict.fromkeys(parts[index].sources):
            graph.add_edge(pydot.Edge(f"part{drawn[source]}", f"part{index}", **style))
    return graph


def parts_of(outline: Outline) -> list[Part]:
    """Return what is drawn as nodes, in running order; inserted Splits are left out."""
    parts: list[Part] = []
    maker: dict[int, int] = {}
    readers = _count_readers(outline)
    for number, layer in enumerate(outline.layers):
        if layer.is_inserted_split:
            continue
        sources = [maker[outline.source(b)] for b in layer.bottoms]
        before = parts[sources[0]] if len(sources) == 1 else None
        if before is not None and not before.is_source and _follows(layer, number, readers):
            before.layers.append(layer)
            part = sources[0]
        else:
            parts.append(Part([layer], sources))
            part = len(parts) - 1
        for top in layer.tops:
            maker[top] = part
    return parts


def _count_readers(outline: Outline) -> dict[int, int]:
    """For each layer by its number: how many layers read what its first bottom holds then."""
    written: Counter[int] = Counter()
    read: Counter[tuple[int, int]] = Counter()
    versions: dict[int, tuple[int, int]] = {}
    for number, layer in enumerate(outline.layers):
        if layer.is_inserted_split:
            continue
        for bottom in layer.bottoms:
            version = (outline.source(bottom), written[outline.source(bottom)])
            read[version] += 1
            versions.setdefault(number, version)
        written.update(layer.tops)
    return {number: read[version] for number, version in versions.items()}


def _follows(layer: OutlinedLayer, number: int, readers: dict[int, int]) -> bool:
    """Whether a layer with one bottom is drawn with the layer that makes it."""
    if len(layer.tops) != 1 or readers[number] > 1:
        return False
    return layer.runs_in_place(0) or family_of(layer.param.type) in FOLLOWERS


def find_repeats(parts: Sequence[Part]) -> list[Repeat]:
    """Find blocks of equal parts that stand one behind the other, each reading the one before.

    Equal means: of the same types, with the same parameters and shapes, and connected likewise.
    """
    signs = [_sign(index, part) for index, part in enumerate(parts)]
    last_reader = list(range(len(parts)))
    for index, part in enumerate(parts):
        for source in part.sources:
            last_reader[source] = index
    found = []
    start = 0
    while start < len(parts):
        best: Repeat | None = None
        for length in range(1, min(_LONGEST_BLOCK, (len(parts) - start) // 2) + 1):
            if not _is_block(parts, last_reader, start, length):
                continue
            one = _repeat_at(signs, last_reader, start, length)
            # A block of one layer is worth a frame only where it stands often.
            if one.times >= (2 if length > 1 else 4) and (best is None or one.end > best.end):
                best = one
        if best is not None:
            found.append(best)
        start = start + 1 if best is None else best.end
    return found


def _sign(index: int, part: Part) -> tuple[object, ...]:
    layers = tuple(
        (
            _settings(layer.param),
            *layer.top_shapes,
            *(blob.shape for blob in (layer.layer.blobs if layer.layer is not None else ())),
        )
        for layer in part.layers
    )
    return (layers, tuple(index - source for source in part.sources))


def _settings(param: LayerParameter) -> bytes:
    """What the text says of a layer, but for its name and blobs."""
    copy = LayerParameter()
    copy.CopyFrom(param)
    for name in ("name", "bottom", "top", "blobs"):
        copy.ClearField(name)
    return copy.SerializeToString(deterministic=True)


def _is_block(parts: Sequence[Part], last_reader: Sequence[int], start: int, length: int) -> bool:
    """Whether these parts read, of what is before them, the last part alone, and are read so."""
    end = start + length
    outside = {source for part in parts[start:end] for source in part.sources if source < start}
    return outside == {start - 1} and max(last_reader[start : end - 1], default=0) < end


def _repeat_at(
    signs: Sequence[tuple[object, ...]], last_reader: Sequence[int], start: int, length: int
) -> Repeat:
    """How often the block of this length at `start` stands there."""
    end = start + length
    while (
        signs[end : end + length] == signs[start : start + length]
        # Whoever reads a block that is not drawn could not be shown.
        and last_reader[end - 1] < end + length
    ):
        end += length
    return Repeat(start, length, (end - start) // length)


@guarded
def drawn_for(count: int, repeats: Iterable[Repeat]) -> list[int]:
    """Return for each part the one that is drawn for it."""
    drawn = list(range(count))
    for repeat in repeats:
        for index in range(repeat.start, repeat.end):
            drawn[index] = repeat.start + (index - repeat.start) % repeat.length
    return drawn


def _boxes(
    parts: Sequence[Part], repeats: Sequence[Repeat], drawn: Sequence[int]
) -> Iterator[tuple[str, list[int]]]:
    """Yield what stands in one frame, and the frame's label; empty where there is none."""
    repeated = {index for repeat in repeats for index in range(repeat.start, repeat.end)}
    for repeat in repeats:
        first, last = (
            _escaped(_common_name([part.name for part in parts[at : at + repeat.length]]))
            for at in (repeat.start, repeat.end - repeat.length)
        )
        members = list(range(repeat.start, repeat.start + repeat.length))
        # Narrow, so that the arrow in the middle does not cross it.
        yield f"{repeat.times} times,\\l{first}\\lto {last}\\l", members
    groups: dict[str, list[int]] = {}
    for index in sorted(set(drawn) - repeated):
        groups.setdefault(parts[index].name.rpartition("/")[0], []).append(index)
    for prefix, members in groups.items():
        yield (_escaped(prefix) if len(members) > 2 else ""), members


def _common_name(names: Sequence[str]) -> str:
    """What the names of a block begin with; the first one where that is nothing."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same).rstrip("_/-. ") or names[0]


def _escaped(text: str) -> str:
    return quoted(text)[1:-1]


@guarded
def family_of_part(part: Part) -> Family:
    """Return whose kin a part is, for its colour."""
    return "source" if part.is_source else family_of(part.layers[0].param.type)


def _node(pydot: Any, index: int, part: Part) -> Any:
    fill, border = COLORS.get(family_of_part(part), PLAIN)
    style = {"fillcolor": fill, "color": border, "margin": "0.09,0.045", **FONT}
    node = {"shape": "box", "style": "filled,rounded", **style}
    return pydot.Node(f"part{index}", label=_label(part), **quoted_all(node))


def _label(part: Part) -> str:
    """The node's label in Graphviz's HTML-like form."""
    rows = [f'<font color="{INK}"><b>{escape(part.name) or " "}</b></font>']
    rows += [
        f'<font point-size="9" color="{QUIET}">{escape(line)}</font>' for line in lines_of(part)
    ]
    cells = "".join(f"<tr><td>{row}</td></tr>" for row in rows)
    return f'<<table border="0" cellspacing="0" cellpadding="1">{cells}</table>>'


@guarded
def lines_of(part: Part) -> list[str]:
    """Return what stands below a part's name: types, settings and shapes."""
    facts = _facts(part.layers[0])
    lines = [" ".join(facts[:2]) + "".join(f", {fact}" for fact in facts[2:])]
    if len(part.layers) > 1:
        lines.append("+ " + ", ".join(layer.param.type for layer in part.layers[1:]))
    return lines + _outputs(part)


def _facts(layer: OutlinedLayer) -> list[str]:
    """The layer's type, and what else of it is worth a place in the picture."""
    param = layer.param
    facts = [fact for fact in main_parameters(param) if fact not in _USUAL]
    if len(facts) > 1 and facts[1].startswith("kernel "):
        size = facts[1].removeprefix("kernel ")
        facts[1] = size if " x " in size else f"{size} x {size}"
    settings = own_settings(param)
    if isinstance(settings, EltwiseParameter):
        facts.append(EltwiseParameter.EltwiseOp.Name(settings.operation))
    if param.slice_param.slice_point:
        facts.append(f"at {', '.join(map(str, param.slice_param.slice_point))}")
    return facts


def _outputs(part: Part) -> list[str]:
    """The shapes of what a part makes, without the batch where there is one."""
    last = part.layers[-1]
    shapes = [shape for shape in last.top_shapes if shape is not None]
    if not shapes:
        param = part.layers[0].param
        count = param.convolution_param.num_output or param.inner_product_param.num_output
        return [f"{count} outputs"] if count else []
    if part.is_source:
        return [shape_text(shape) for shape in shapes if len(shape) > 1 or len(shapes) == 1]
    # More tops than that would hide the rest.
    return [shape_text(shape[1:] if len(shape) > 1 else shape) for shape in dict.fromkeys(shapes)][
        :3
    ]


def _title(outline: Outline) -> str:
    """The net's name and totals."""
    summary = summarize(outline)
    name = escape(outline.name or "net")
    facts = [summary.phase]
    if summary.is_complete and summary.parameters:
        facts.append(f"{summary.parameters:,} parameters")
        each = "" if summary.batch is None else " per picture"
        facts.append(f"{summary.multiply_adds:,} multiply-adds{each}")
    rows = (
        f'<font point-size="15"><b>{name}</b></font>',
        f'<font point-size="10" color="{QUIET}">{", ".join(facts)}</font>',
        # Keeps a distance to the picture.
        " ",
    )
    cells = "".join(f"<tr><td>{row}</td></tr>" for row in rows)
    return f'<<table border="0" cellspacing="0" cellpadding="2">{cells}</table>>'
