"""Pictures of nets: pycaffe's ``caffe.draw``, with pydot and Graphviz (extra ``draw``)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from .atomic import atomic_write
from .errors import CaffeError, MissingExtraError, require
from .graph import filter_layers
from .guarded import guarded
from .installation import install_command
from .paths import PathLike, path_text
from .proto import caffe_pb2 as caffe_pb2
from .proto.caffe_pb2 import (
    ConvolutionParameter,
    LayerParameter,
    NetParameter,
    NetState,
    PoolingParameter,
)
from .proto.upgrade import upgrade_net

if TYPE_CHECKING:
    from pydot import Dot

FONT = {"fontname": "Helvetica,Arial,sans-serif", "fontsize": "11"}
LAYER_STYLE_DEFAULT = {"shape": "box", "style": "filled,rounded", "color": "#00000030", **FONT}
NEURON_LAYER_STYLE = {**LAYER_STYLE_DEFAULT, "fillcolor": "#CDEBC5"}
BLOB_STYLE = {
    "shape": "box",
    "style": "filled",
    "fillcolor": "#F1F1F1",
    "color": "#B5B5B5",
    "height": "0.28",
    "margin": "0.08,0.03",
    **FONT,
    "fontsize": "10",
}
EDGE_STYLE = {
    "color": "#707070",
    "arrowsize": "0.7",
    **FONT,
    "fontsize": "9",
    "fontcolor": "#505050",
}


def __getattr__(name: str) -> Any:
    # pycaffe's module has it by its imports; here it is an extra, and named where it is missing.
    if name == "pydot":
        return require("pydot", "draw", "drawing nets")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


RANKDIRS = ("TB", "BT", "LR", "RL")
PICTURE_FORMATS = ("png", "svg", "pdf", "jpg", "jpeg", "gif", "eps", "ps", "svgz")
TEXT_FORMATS = ("dot", "gv", "raw")
_DEFAULT_COLOR = "#C5DBF2"
_COLORS: dict[str, str] = {
    "convolution": "#F9C6BE",
    "pooling": "#FBDDA6",
    "product": "#DCC8F0",
    "activation": "#CDEBC5",
    "normalization": "#E3E3C9",
    "source": "#BFE6E3",
}
"""Fills of layers, by their family."""
_WEIGHTED = ("convolution", "product")
"""Families of layers that multiply by weights, and add a bias."""


def get_pooling_types_dict() -> dict[int, str]:
    """Return the pooling methods' names by their numbers."""
    return {number: name for name, number in PoolingParameter.PoolMethod.items()}


@guarded
def choose_color_by_layertype(layertype: str) -> str:
    """Return the colour, as ``#RRGGBB``, in which layers of this type are drawn."""
    return _COLORS.get(_family_of(layertype), _DEFAULT_COLOR)


def _family_of(layer_type: str) -> str:
    # Only here, as it loads PyTorch.
    from .layers.registry import family_of

    return family_of(layer_type)


def own_settings(layer: LayerParameter) -> Message | None:
    """The layer's own parameter message; None where it has none, or its type is not known."""
    from .layers.registry import registry

    found = registry().get(layer.type)
    return None if found is None or found.message is None else getattr(layer, found.message)


def _learns(layer_type: str) -> bool:
    """Whether a layer of this type multiplies by learned weights."""
    from .layers.layer import Layer
    from .layers.registry import registry

    found = registry().get(layer_type, Layer)
    return found.family in _WEIGHTED and found.parameters is not Layer.parameters


@guarded
def get_edge_label(layer: LayerParameter) -> str:
    """Return what stands at the arrow from a layer to its tops: how many outputs, or the batch."""
    family, settings = _family_of(layer.type), own_settings(layer)
    if family == "source":
        batch = getattr(settings, "batch_size", 0)
        return f"batch {batch}" if batch else ""
    outputs = getattr(settings, "num_output", 0) if family in _WEIGHTED else 0
    return str(outputs) if outputs else ""


@guarded
def get_layer_lr_mult(layer: LayerParameter) -> tuple[float, float]:
    """Return the learning rate multipliers of a layer's weights and bias.

    Raises
    ------
    ValueError
        The layer does not multiply by learned weights, as Convolution and InnerProduct do.
    """
    if not _learns(layer.type):
        raise ValueError(f"{layer.type} layers have no learning rate multipliers to show")
    multipliers = [spec.lr_mult for spec in layer.param[:2]]
    weights, bias = multipliers + [1.0] * (2 - len(multipliers))
    return weights, bias


@guarded
def get_layer_label(layer: LayerParameter, rankdir: str, display_lrm: bool = False) -> str:
    """Return a layer's label in Graphviz's HTML-like form: name, type and main parameters.

    Parameters
    ----------
    layer : LayerParameter
        The layer.
    rankdir : {"TB", "BT", "LR", "RL"}
        In a picture that runs down or up a label is written along one line, where there is room.
    display_lrm : bool
        Tell the learning rate multipliers too.
    """
    lines = list(_facts(layer, display_lrm))
    if rankdir in ("TB", "BT"):
        lines = [", ".join(lines)]
    rows = [f"<b>{escape(layer.name) or ' '}</b>"]
    rows += [f'<font point-size="9" color="#404040">{escape(line)}</font>' for line in lines]
    cells = "".join(f"<tr><td>{row}</td></tr>" for row in rows)
    return f'<<table border="0" cellspacing="0" cellpadding="0">{cells}</table>>'


def _facts(layer: LayerParameter, display_lrm: bool) -> Iterator[str]:
    yield from main_parameters(layer)
    for shape in layer.input_param.shape:
        yield _times(shape.dim)
    if display_lrm and _learns(layer.type) and any(get_layer_lr_mult(layer)):
        weights, bias = get_layer_lr_mult(layer)
        yield f"lr mult {weights:g}, {bias:g}"


def main_parameters(layer: LayerParameter) -> Iterator[str]:
    """Yield a layer's type, and what of a convolution or pooling people want to see."""
    settings = own_settings(layer)
    if isinstance(settings, PoolingParameter):
        yield f"{get_pooling_types_dict()[settings.pool]} {layer.type}"
        yield from _pooling_facts(settings)
    else:
        yield layer.type
    if layer.HasField("convolution_param"):
        yield from _convolution_facts(layer.convolution_param)


def _pooling_facts(pooling: PoolingParameter) -> Iterator[str]:
    if pooling.global_pooling:
        yield "global"
        return
    sides = (_side(pooling, "kernel", s, pooling.kernel_size) for s in "hw")
    yield f"kernel {_square(list(sides))}"
    yield f"stride {_square([_side(pooling, 'stride', s, pooling.stride) for s in 'hw'])}"
    yield f"pad {_square([_side(pooling, 'pad', s, pooling.pad) for s in 'hw'])}"


def _convolution_facts(convolution: ConvolutionParameter) -> Iterator[str]:
    for name, field_name, usual in (
        ("kernel", "kernel_size", 1),
        ("stride", "stride", 1),
        ("pad", "pad", 0),
    ):
        if convolution.HasField(f"{name}_h") or convolution.HasField(f"{name}_w"):
            values = [getattr(convolution, f"{name}_{side}") for side in "hw"]
        else:
            values = list(getattr(convolution, field_name)) or [usual]
        yield f"{name} {_square(values)}"
    if any(dilation != 1 for dilation in convolution.dilation):
        yield f"dilation {_square(list(convolution.dilation))}"
    if convolution.group != 1:
        yield f"group {convolution.group}"


def _side(message: PoolingParameter, name: str, side: str, both: int) -> int:
    one = f"{name}_{side}"
    return int(getattr(message, one)) if message.HasField(one) else both


def _square(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else _times(sizes)


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


@dataclass
class _Value:
    """What a blob holds between two layers that write it."""

    blob: str
    makers: list[int] = field(default_factory=list)
    readers: list[int] = field(default_factory=list)
    overwriter: int | None = None


@guarded
def get_pydot_graph(
    caffe_net: NetParameter,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Dot:
    """Return the net as a pydot graph of layers and the blobs between them.

    A layer that runs in place stands between its blob's maker and the blob, which shows what
    the blob holds in the end.

    Parameters
    ----------
    caffe_net : NetParameter
        The net, of any age.
    rankdir : {"TB", "BT", "LR", "RL"}
        Which way data flows in the picture: down, up, right or left.
    label_edges : bool
        Write the number of outputs at the arrows.
    phase : {caffe.TRAIN, caffe.TEST}, optional
        Draw the layers that the net has in this phase; all of them where None.
    display_lrm : bool
        Tell the learning rate multipliers.

    Raises
    ------
    CaffeError
        `rankdir` is none of the four, or the net's rules contradict each other.
    MissingExtraError
        pydot is not installed.
    """
    if rankdir not in RANKDIRS:
        raise CaffeError(f"rankdir must be one of {', '.join(RANKDIRS)}, not {rankdir!r}")
    pydot = require("pydot", "draw", "drawing nets")
    net = upgrade_net(caffe_net)
    layers = list(net.layer)
    if phase is not None:
        state = NetState()
        state.CopyFrom(net.state)
        state.phase = phase  # type: ignore[assignment]
        layers = filter_layers(layers, state)
    graph: Dot = pydot.Dot(
        quoted(net.name or "Net"),
        graph_type="digraph",
        rankdir=rankdir,
        nodesep="0.2",
        ranksep="0.3",
        bgcolor="white",
    )
    for index, layer in enumerate(layers):
        style = {**LAYER_STYLE_DEFAULT, "fillcolor": choose_color_by_layertype(layer.type)}
        if _runs_in_place(layer):
            style = NEURON_LAYER_STYLE
        label = get_layer_label(layer, rankdir, display_lrm)
        graph.add_node(pydot.Node(f"layer{index}", label=label, **quoted_all(style)))
    labels = [get_edge_label(layer) if label_edges else "" for layer in layers]
    for number, value in enumerate(_values(layers)):
        _add_value(pydot, graph, value, f"blob{number}", labels)
    return graph


def _runs_in_place(layer: LayerParameter) -> bool:
    return len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]


def _values(layers: Sequence[LayerParameter]) -> list[_Value]:
    found: list[_Value] = []
    current: dict[str, _Value] = {}

    def value_of(blob: str) -> _Value:
        if blob not in current:
            current[blob] = _Value(blob)
            found.append(current[blob])
        return current[blob]

    for index, layer in enumerate(layers):
        in_place = set(layer.bottom) & set(layer.top)
        for blob in layer.bottom:
            if blob in in_place:
                value_of(blob).overwriter = index
            else:
                value_of(blob).readers.append(index)
        for blob in in_place:
            del current[blob]
        for blob in layer.top:
            value_of(blob).makers.append(index)
    return found


def _add_value(pydot: Any, graph: Dot, value: _Value, node: str, labels: Sequence[str]) -> None:
    style = quoted_all(EDGE_STYLE)
    last = [] if value.overwriter is None else [value.overwriter]
    if last and value.makers and not value.readers:
        node = f"layer{value.overwriter}"
        last = []
    else:
        graph.add_node(pydot.Node(node, label=quoted(value.blob), **quoted_all(BLOB_STYLE)))
    for maker in value.makers:
        # Blanks keep the label off the arrow.
        label = quoted(f" {labels[maker]} " if labels[maker] else "")
        graph.add_edge(pydot.Edge(f"layer{maker}", node, label=label, **style))
    for reader in value.readers + last:
        graph.add_edge(pydot.Edge(node, f"layer{reader}", **style))


def quoted(text: str) -> str:
    """A text as Graphviz's language has it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quoted_all(style: dict[str, str]) -> dict[str, str]:
    """Attributes with their values quoted."""
    return {name: quoted(value) for name, value in style.items()}


@guarded
def draw_net(
    caffe_net: NetParameter,
    rankdir: str,
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,
) -> bytes:
    """Draw a net and return the picture file's content.

    Parameters
    ----------
    caffe_net : NetParameter
        The net, of any age.
    rankdir : {"TB", "BT", "LR", "RL"}
        Which way data flows in the picture: down, up, right or left.
    ext : str
        The format: "png", "svg", "pdf", "jpg", "gif", "eps", "ps" or "svgz"; "dot", "gv" or
        "raw" for the graph as text.
    phase : {caffe.TRAIN, caffe.TEST}, optional
        Draw the layers that the net has in this phase; all of them where None.
    display_lrm : bool
        Tell the learning rate multipliers.

    Raises
    ------
    CaffeError
        The format is none of these; or as from `get_pydot_graph`.
    MissingExtraError
        pydot is not installed, or there is no Graphviz.
    """
    check_format(ext)
    return render(get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm), ext)


def check_format(ext: str) -> None:
    """Check that nets can be drawn in a format.

    Raises
    ------
    CaffeError
        They cannot.
    """
    if ext not in PICTURE_FORMATS + TEXT_FORMATS:
        raise CaffeError(
            f"a net cannot be drawn as {ext!r}; the formats are "
            + ", ".join(PICTURE_FORMATS + TEXT_FORMATS)
        )


def format_of(path: PathLike) -> str:
    """The format that a file's name asks for by its ending.

    Raises
    ------
    CaffeError
        It has no ending, or that of no format in which nets can be drawn.
    """
    ext = os.path.splitext(path_text(path))[1][1:].lower()
    if not ext:
        raise CaffeError(
            f"{path_text(path)}: the name says no picture format; end it in .png, .svg or .pdf"
        )
    check_format(ext)
    return ext


def render(graph: Dot, ext: str) -> bytes:
    """Let Graphviz draw: the library in pygraphviz's wheels, else the program ``dot``."""
    if ext in TEXT_FORMATS:
        return graph.to_string().encode()
    picture: Any
    try:
        pygraphviz = require("pygraphviz", "draw", "drawing nets")
    except MissingExtraError as error:
        if shutil.which("dot") is None:
            raise MissingExtraError(
                "drawing nets needs Graphviz, which is not installed: get it with "
                f"{install_command('draw')} (or with your system's package 'graphviz')"
            ) from error
        picture = graph.create(format=ext)
    else:
        with _font_warnings_kept():
            picture = pygraphviz.AGraph(string=graph.to_string()).draw(format=ext, prog="dot")
    return bytes(picture)


@contextmanager
def _font_warnings_kept() -> Iterator[None]:
    """Keep to itself what Fontconfig says of system files that are newer than it.

    The one in pygraphviz's wheels writes to the process's stderr itself, on every picture.
    """
    try:
        stderr = os.dup(2)
    except OSError:
        yield
        return
    with TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            said.seek(0)
            for line in said:
                if not line.startswith(b"Fontconfig warning"):
                    os.write(2, line)


@guarded
def draw_net_to_file(
    caffe_net: NetParameter,
    filename: PathLike,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Draw a net into a file whose name's ending says the format; see `draw_net`.

    Raises
    ------
    CaffeError, MissingExtraError
        As from `draw_net`; the file is then left as it was.

    Examples
    --------
    >>> from caffe.proto.files import read_net
    >>> draw_net_to_file(read_net("deploy.prototxt"), "net.svg", rankdir="TB")  # doctest: +SKIP
    """
    picture = draw_net(caffe_net, rankdir, format_of(filename), phase, display_lrm)
    with atomic_write(filename) as stream:
        stream.write(picture)
