"""What a net is made of: a table of layers, shapes, parameters and multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from typing import Any

from .. import notebook
from ..guarded import guarded
from ..layers.description import Family
from ..layers.layer import Layer
from ..layers.reach import SAME, Reach
from ..layers.registry import family_of
from ..memory.blob import Shape
from ..phases import TRAIN
from .outline import Built, Outline, OutlinedLayer, outline_of

BYTES = 4
"""Of a number, in blobs and parameters alike."""

PICTURE_AXES = 4


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes
    ----------
    name, type : str
        As in the net's text.
    family : str
        Whose kin the layer is: "convolution", "activation", ...; see
        `caffe.layers.description.Family`.
    bottoms, tops : tuple of str
        The blobs' names.
    shapes : tuple of (tuple of int or None)
        The tops' shapes; None where one is not known.
    in_place : tuple of bool
        For each top, whether it is written over a bottom.
    parameter_shapes : tuple of (tuple of int), or None
        The parameter blobs' shapes; None where they are not known.
    parameters : int or None
        How many numbers they hold; those that another layer owns are not counted.
    statistics : int
        How many of these are running statistics, which are not learned.
    multiply_adds : int or None
        Products with learned weights that one forward of the whole batch adds up.
    field : tuple of Reach or None
        What a place of the first top depends on in the net's input, for each of the axes
        (height, width); None where that is not known or means nothing.
    """

    name: str
    type: str
    family: Family
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[Shape | None, ...]
    in_place: tuple[bool, ...]
    parameter_shapes: tuple[Shape, ...] | None
    parameters: int | None
    statistics: int
    multiply_adds: int | None
    field: tuple[Reach, ...] | None


@dataclass(frozen=True)
class Summary:
    """A net's layers and totals; as a string a table.

    Attributes
    ----------
    name : str
        The net's name.
    phase : str
        "TRAIN" or "TEST".
    batch : int or None
        How many pictures go through at once; None where the first blob holds none.
    rows : tuple of Row
        The layers in running order, without the Splits that stand in no text.
    blob_bytes, parameter_bytes : int
        The memory that blobs and parameters take when every layer has run: at TRAIN with
        gradients. Blobs that share their memory count once.
    notes : tuple of str
        What is not known or was assumed.
    """

    name: str
    phase: str
    batch: int | None
    rows: tuple[Row, ...]
    blob_bytes: int
    parameter_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers the parameters hold, as far as they are known."""
        return sum(row.parameters or 0 for row in self.rows)

    @property
    def statistics(self) -> int:
        """How many of these are running statistics."""
        return sum(row.statistics for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """How many multiply-adds a forward takes, for one picture if these are pictures."""
        return _per_picture(sum(row.multiply_adds or 0 for row in self.rows), self.batch)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing from the totals."""
        return all(row.parameters is not None for row in self.rows)

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return table and totals as plain text.

        Parameters
        ----------
        width : int, optional
            How many characters a line may have: columns that do not fit are left out, the
            receptive field first, and names shortened.
        """
        lines = [f"{self.title}\n", *_columns(self._cells(), width), "", *self._total_lines()]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)

    @property
    def title(self) -> str:
        """The net's name, phase and batch."""
        batch = "" if self.batch is None else f", batch {self.batch}"
        return f"{self.name or 'net'}: {len(self.rows)} layers, {self.phase}{batch}"

    def html(self) -> str:
        """Return table and totals as HTML, in the colours of the page."""
        head, *rows = ([escape(cell) for cell in row] for row in self._cells())
        numbers = [i for i, heading in enumerate(head) if heading in _RIGHT]
        content = notebook.table(self.title, rows, [h.capitalize() for h in head], numbers)
        lines = [*self._total_lines(), *(f"note: {note}" for note in self.notes)]
        return (
            f'<div style="max-height:32em;overflow:auto">{content}</div>'
            f"<p>{'<br>'.join(map(escape, lines))}</p>"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as what JSON can hold; multiply-adds per picture."""
        return {
            "net": self.name,
            "phase": self.phase,
            "batch": self.batch,
            "layers": [self._row_as_dict(row) for row in self.rows],
            "parameters": self.parameters,
            "statistics": self.statistics,
            "multiply_adds": self.multiply_adds,
            "blob_bytes": self.blob_bytes,
            "parameter_bytes": self.parameter_bytes,
            "complete": self.is_complete,
            "notes": list(self.notes),
        }

    def _row_as_dict(self, row: Row) -> dict[str, Any]:
        field = None
        if row.field is not None:
            field = [
                {"size": r.size, "stride": float(r.stride), "offset": float(r.start)}
                for r in row.field
            ]
        return {
            "name": row.name,
            "type": row.type,
            "family": row.family,
            "bottoms": list(row.bottoms),
            "tops": list(row.tops),
            "shapes": [None if shape is None else list(shape) for shape in row.shapes],
            "parameter_shapes": None
            if row.parameter_shapes is None
            else [list(shape) for shape in row.parameter_shapes],
            "parameters": row.parameters,
            "multiply_adds": None
            if row.multiply_adds is None
            else _per_picture(row.multiply_adds, self.batch),
            "receptive_field": field,
        }

    def _cells(self) -> list[list[str]]:
        """The table's rows, the headings first; a line more for each further top."""
        table = [list(_HEADINGS)]
        for row in self.rows:
            tops: list[tuple[str, str]] = [
                (name, "in place" if in_place else shape_text(shape))
                for name, shape, in_place in zip(row.tops, row.shapes, row.in_place, strict=True)
            ]
            first = tops[0] if tops else ("", "")
            field = row.field or ()
            table.append(
                [
                    row.name,
                    row.type,
                    *first,
                    _count(row.parameters, row.parameter_shapes),
                    _count(_divided(row.multiply_adds, self.batch), row.multiply_adds),
                    _each(["all" if r.size is None else str(r.size) for r in field]),
                    _each([_number(r.stride) for r in field]),
                    _each(["" if r.size is None else _number(r.start) for r in field]),
                ]
            )
            table += [["", "", *top, "", "", "", "", ""] for top in tops[1:]]
        return table

    def _total_lines(self) -> Iterator[str]:
        least = "" if self.is_complete else "at least "
        statistics = f", {self.statistics:,} of them running statistics" if self.statistics else ""
        yield f"{least}{self.parameters:,} parameters{statistics}"
        each = "" if self.batch is None else " per picture"
        yield f"{least}{self.multiply_adds:,} multiply-adds{each}"
        both = self.blob_bytes + self.parameter_bytes
        gradients = ", with gradients" if self.phase == "TRAIN" else ""
        batch = "" if self.batch is None else f" at batch {self.batch}"
        yield (
            f"{least}{_megabytes(both)} of memory{batch}{gradients}: "
            f"blobs {_megabytes(self.blob_bytes)}, parameters {_megabytes(self.parameter_bytes)}"
        )


_HEADINGS = (
    "LAYER",
    "TYPE",
    "TOP",
    "SHAPE",
    "PARAMETERS",
    "MULTIPLY-ADDS",
    "FIELD",
    "STRIDE",
    "OFFSET",
)
_RIGHT = frozenset(_HEADINGS[4:])
_DROPPED_FIRST = ("OFFSET", "STRIDE", "FIELD", "TOP", "TYPE", "MULTIPLY-ADDS", "PARAMETERS")
_SHORTEST_NAME = 12


@guarded
def summarize(net: Built | Outline) -> Summary:
    """Sum up a `caffe.Net`, or an outline of one.

    Nothing is computed: shapes alone are looked at, no values.

    Examples
    --------
    >>> net = caffe.Net('''layer { name: "data" type: "Input" top: "data"
    ...                       input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } } }
    ...               layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
    ...                       convolution_param { num_output: 4 kernel_size: 3 } }''', caffe.TEST)
    >>> found = summarize(net)
    >>> found.parameters, found.multiply_adds
    (112, 972)
    """
    found = net if isinstance(net, Outline) else outline_of(net)
    fields = _fields(found)
    owned: set[str] = set()
    rows, parameter_count, blob_count = [], 0, 0
    learns = found.phase == TRAIN
    for outlined in found.layers:
        count = _own_parameters(outlined, owned)
        parameter_count += count or 0
        blob_count += _memory(outlined, learns)
        if not outlined.is_inserted_split:
            rows.append(_row(found, outlined, count, fields))
    return Summary(
        found.name,
        "TRAIN" if learns else "TEST",
        _batch(found),
        tuple(rows),
        BYTES * blob_count,
        BYTES * parameter_count * (2 if learns else 1),
        tuple(found.notes),
    )


def shape_text(shape: Shape | None) -> str:
    """A shape as people write it; a question mark where it is not known."""
    if shape is None:
        return "?"
    return " x ".join(map(str, shape)) or "scalar"


def _row(
    found: Outline,
    outlined: OutlinedLayer,
    count: int | None,
    fields: Sequence[tuple[Reach, ...] | None],
) -> Row:
    layer, shapes = outlined.layer, [s for s in outlined.bottom_shapes if s is not None]
    tops = [s for s in outlined.top_shapes if s is not None]
    names = [found.name_of(top) for top in outlined.tops]
    return Row(
        outlined.param.name,
        outlined.param.type,
        family_of(outlined.param.type),
        tuple(found.name_of(bottom) for bottom in outlined.bottoms),
        tuple(names),
        tuple(outlined.top_shapes),
        tuple(outlined.runs_in_place(i) for i in range(len(outlined.tops))),
        None if layer is None else tuple(blob.shape for blob in layer.blobs),
        count,
        0 if layer is None else layer.statistics,
        None if layer is None else layer.multiply_adds(shapes, tops),
        fields[outlined.tops[0]] if outlined.tops else None,
    )


def _own_parameters(outlined: OutlinedLayer, owned: set[str]) -> int | None:
    """How many numbers a layer's parameters hold, without those of an owner before it."""
    if outlined.layer is None:
        return None
    specs = list(outlined.layer.layer_param.param)
    count = 0
    for i, blob in enumerate(outlined.layer.blobs):
        name = specs[i].name if i < len(specs) else ""
        if name not in owned:
            count += blob.count
        if name:
            owned.add(name)
    return count


def _memory(outlined: OutlinedLayer, learns: bool) -> int:
    """How many numbers the tops' own memory holds."""
    shared = frozenset() if outlined.layer is None else outlined.layer.shares
    faces = {"data", "diff"} if learns else {"data"}
    own = len(faces - shared)
    return own * sum(
        math.prod(shape)
        for i, shape in enumerate(outlined.top_shapes)
        if shape is not None and not outlined.runs_in_place(i)
    )


def _batch(found: Outline) -> int | None:
    """The first axis of the first source's top, where that holds pictures."""
    for outlined in found.layers:
        if not outlined.bottoms and outlined.top_shapes:
            shape = outlined.top_shapes[0]
            return shape[0] if shape is not None and len(shape) >= PICTURE_AXES else None
    return None


def _fields(found: Outline) -> list[tuple[Reach, ...] | None]:
    """For each blob what its places depend on in the picture that the net is given."""
    fields: list[tuple[Reach, ...] | None] = [None] * len(found.blob_names)
    for outlined in found.layers:
        for i, (top, shape) in enumerate(zip(outlined.tops, outlined.top_shapes, strict=True)):
            if shape is None:
                fields[top] = None
            elif not outlined.bottoms:
                fields[top] = (SAME,) * (len(shape) - 2) or None
            elif outlined.layer is not None:
                fields[top] = _field_of(outlined, outlined.layer, i, shape, fields)
    return fields


def _field_of(
    outlined: OutlinedLayer,
    layer: Layer,
    index: int,
    top: Shape,
    fields: Sequence[tuple[Reach, ...] | None],
) -> tuple[Reach, ...] | None:
    bottoms = range(len(outlined.bottoms))
    if layer.equal_tops:
        bottoms = range(index, index + 1)
    joined: tuple[Reach, ...] | None = None
    for i in bottoms:
        # Labels, and bottoms whose size alone counts.
        if i in layer.no_gradient_for:
            continue
        seen = _seen(layer, outlined.bottom_shapes[i], fields[outlined.bottoms[i]], top)
        if seen is None or (joined is not None and len(seen) != len(joined)):
            return None
        if joined is None:
            joined = seen
        else:
            joined = tuple(a.joined(b) for a, b in zip(joined, seen, strict=True))
    return joined


def _seen(
    layer: Layer, bottom: Shape | None, before: tuple[Reach, ...] | None, top: Shape
) -> tuple[Reach, ...] | None:
    """What a place of the top depends on through one of the bottoms."""
    if bottom is None or before is None:
        return None
    reaches = layer.receptive_field(bottom)
    if reaches is None:
        return None
    if len(bottom) <= 2:
        # The picture's places are gone; what is left depends on all that went in.
        reaches = [SAME] * len(before)
    if len(reaches) != len(before):
        return None
    sizes = bottom[2:] or (1,) * len(before)
    spread = [
        size == 1 and axis < len(top) and top[axis] > 1 and layer.pointwise
        for axis, size in enumerate(sizes, start=2)
    ]
    return tuple(
        Reach(None, b.stride) if one_for_all else r.through(b)
        for r, b, one_for_all in zip(reaches, before, spread, strict=True)
    )


def _per_picture(count: int, batch: int | None) -> int:
    return round(Fraction(count, batch)) if batch else count


def _divided(count: int | None, batch: int | None) -> int | None:
    return None if count is None else _per_picture(count, batch)


def _count(count: int | None, known: object) -> str:
    if count is None or known is None:
        return "?"
    return f"{count:,}" if count else ""


def _number(value: Fraction) -> str:
    return str(int(value)) if value.denominator == 1 else f"{float(value):.4g}"


def _each(values: Sequence[str]) -> str:
    """One value if they are all equal, else each of them."""
    return values[0] if len(set(values)) == 1 else " x ".join(values)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 or not count else f"{count / 1e3:,.1f} kB"


def _columns(table: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The table's lines, numbers to the right; columns that do not fit are left out."""
    columns = {cells[0]: list(cells) for cells in zip(*table, strict=True) if any(cells[1:])}

    def widest(cells: Sequence[str]) -> int:
        return max(map(len, cells))

    def total() -> int:
        return sum(map(widest, columns.values())) + 2 * (len(columns) - 1)

    for heading in _DROPPED_FIRST if width is not None else ():
        if width is not None and total() > width:
            too_much = total() - width
            room = widest(columns["LAYER"]) - _SHORTEST_NAME
            # Shortening names a little is better than to lose a column.
            if too_much > max(0, min(room, widest(columns["LAYER"]) // 4)):
                columns.pop(heading, None)
    if width is not None and total() > width:
        names = columns["LAYER"]
        longest = max(_SHORTEST_NAME, widest(names) - (total() - width))
        columns["LAYER"] = [_shortened(name, longest) for name in names]
    aligned = []
    for heading, cells in columns.items():
        room = widest(cells)
        to_the_right = heading in _RIGHT
        aligned.append([c.rjust(room) if to_the_right else c.ljust(room) for c in cells])
    return ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]


def _shortened(name: str, width: int) -> str:
    """The name, or its beginning and end with dots between."""
    if len(name) <= width:
        return name
    end = (width - 3) // 2
    return f"{name[: width - 3 - end]}...{name[len(name) - end :]}"
