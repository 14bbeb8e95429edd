"""Running a plan's operations by kernels that LLVM compiles, all of them as one call.

Pictures lie channels last. Convolutions are products of their windows with the weights, or
Winograd's algorithm, whichever is quicker here; what follows a layer by number or by channel is
folded into it, and values that are put together are made in their places.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...compiled import llvm as compiler
from ...compiled.llvm import Job, Program
from ...compiled.memory import LargePages, Memory
from ...compiled.taking import Taking
from ...layers import winograd
from ...layers.layer import Layer, as_tensors
from ...memory.blob import Shape
from ...pytorch import torch
from ..plan.operation import Operation, Part
from . import (  # noqa: F401 (their rules enter)
    llvm_elementwise,
    llvm_enlarging,
    llvm_layers,
    llvm_shapes,
)
from .libraries import CleanErrors, Computed, Library, are_finite, name_of, refusal
from .llvm_nodes import ConvolutionNode, Linear, Node, PointwiseNode, Tiles, Way
from .llvm_places import CopyNode, LayingNode
from .llvm_rules import ANY_ORDER, llvm
from .llvm_steps import Own, Step, settle, steps_of
from .llvm_values import Arena, Value

if TYPE_CHECKING:
    from torch import Tensor


TURNS = 3
"""How often each of several ways is timed, at least; the least counts."""

LONG, SHORT = 0.2, 0.05
"""After how many seconds it is timed no more, if it has been once, and if it has been so often."""


TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
"""By how much of the largest value results may differ, by precision."""


class LLVM(Library):
    """The backend that has LLVM compile kernels for operations; see `Library`.

    Parameters
    ----------
    precision : torch.dtype
        What is computed in.
    is_gentle : bool
        Whether Winograd's algorithm has small tiles, which lose fewer digits.
    """

    name = "LLVM"
    packages = ("llvmlite",)

    def __init__(self, precision: torch.dtype, is_gentle: bool = False) -> None:
        super().__init__(precision)
        self.tolerance = TOLERANCE.get(name_of(precision), 0.0)
        self._tiles = winograd.SMALL_TILES if is_gentle else winograd.ALL_TILES
        if is_gentle:
            self.name = "LLVM with small tiles"
        else:
            self.gentler = LLVM(precision, is_gentle=True)

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether kernels can be compiled here."""
        return bool(compiler.width())

    @property
    def precisions(self) -> tuple[torch.dtype, ...]:
        """What it can compute in here."""
        short = (torch.bfloat16,) if compiler.has_short_numbers() else ()
        return torch.float32, *short

    def _refusal(self, part: Part) -> str | None:
        if not all((*part.read_shapes, *part.shapes)):
            return "a bottom or a top without axes"
        if part.layer.is_affine and len(part.shapes[0]) not in (2, 4):
            return "channels that are neither the last axis nor those of pictures"
        return refusal(part, llvm)

    def _compiled(
        self, operations: Sequence[Operation], inputs: Mapping[int, Shape], outputs: list[int]
    ) -> CompiledProgram:
        short = self._precision == torch.bfloat16
        return CompiledProgram(operations, inputs, outputs, self._tiles, short)


class CompiledProgram(Computed):
    """Operations made ready, for inputs of fixed shapes; see `Compiled`.

    Parameters
    ----------
    operations : sequence of Operation
        Which; the backend takes them all.
    inputs : mapping of int to tuple of int
        The memories that they start from, with the blobs' shapes.
    outputs : list of int
        The memories whose final values are wanted.
    tiles : mapping of int to sequence of int
        What tiles Winograd's algorithm may have, see `ConvolutionNode`.
    short : bool
        Whether values are bfloat16; float32 otherwise.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        inputs: Mapping[int, Shape],
        outputs: list[int],
        tiles: Tiles = winograd.ALL_TILES,
        short: bool = False,
    ) -> None:
        self._graph = graph = _Graph(operations, inputs, outputs, tiles, short)
        super().__init__(outputs, graph.has_odd_params)
        # Zeros may lie around them.
        self.inputs = {key: graph.inputs[key].inside.view(shape) for key, shape in inputs.items()}
        self._takings = {key: Taking(graph.inputs[key].inside) for key in inputs}
        self._program = Program([*(t.job for t in self._takings.values()), *graph.jobs()])
        self._results = {key: graph.values[key].tensor() for key in outputs}

    def take(self, values: Mapping[int, Tensor]) -> bool:
        """Take the inputs' values; returns whether they can be computed from."""
        if self._is_odd:
            return False
        for key, taking in self._takings.items():
            taking.give(values[key])
        return True

    def run(self) -> dict[int, Tensor] | None:
        """Compute the outputs, see `Compiled`; None where a number of the inputs is not finite."""
        found = super().run()
        # All of them, since each lets go of what it was given.
        is_finite = [taking.end() for taking in self._takings.values()]
        return found if all(is_finite) else None

    def _computed(self) -> dict[int, Tensor]:
        self._program.run()
        return dict(self._results)


class _Graph:
    """The values and nodes of some operations."""

    def __init__(
        self,
        operations: Sequence[Operation],
        inputs: Mapping[int, Shape],
        outputs: list[int],
        tiles: Tiles,
        short: bool,
    ) -> None:
        self.tiles, self._short = tiles, short
        self._nodes: list[Node] = []
        self.has_odd_params = False
        self.inputs = {key: Value(_laid(shape), short) for key, shape in inputs.items()}
        self.values = dict(self.inputs)
        self._rows: dict[int, Value] = {}
        for value in self.inputs.values():
            value.planes = torch.empty(0, dtype=torch.float32)
        parts = [(operation, part) for operation in operations for part in operation.parts]
        made = [self._described(part) for _, part in parts]
        for key in outputs:
            self.values[key].is_wanted = True
        for (operation, part), (bottoms, tops) in zip(parts, made, strict=True):
            with CleanErrors(operation.label, LLVM.name):
                self._add(part, bottoms, tops)
        self._lay_inputs()

    def _described(self, part: Part) -> tuple[list[Value], list[Value]]:
        """The values that a layer reads and makes, before anything is said of how."""
        bottoms = [self.values[key] for key in part.reads]
        if part.layer.passes_on:
            self.values.update(zip(part.writes, bottoms, strict=True))
            return bottoms, []
        for bottom in bottoms:
            bottom.readers += 1
        tops = [Value(shape, self._short) for shape in part.shapes]
        self.values.update(zip(part.writes, tops, strict=True))
        return bottoms, tops

    def _add(self, part: Part, bottoms: list[Value], tops: list[Value]) -> None:
        if not tops:
            return
        layer = part.layer
        if not layer.blobs and all(x.constant is not None for x in bottoms):
            self._add_constants(part, bottoms, tops)
            return
        if self._short:
            bottoms = [x if x.constant is None else x.rounded() for x in bottoms]
        rule = None if layer.is_affine else llvm.get(layer, *part.read_shapes)
        xs = [self.shaped(x, shape) for x, shape in zip(bottoms, part.read_shapes, strict=True)]
        if rule not in ANY_ORDER:
            xs = [self.pictures(x) for x in xs]
        if rule is None:
            self._add_affine(layer, xs[0], tops[0])
        else:
            rule(layer, self, tops if len(tops) > 1 else tops[0], *xs)

    def _add_constants(self, part: Part, bottoms: list[Value], tops: list[Value]) -> None:
        known = [x.constant for x in bottoms if x.constant is not None]
        given = (x.reshape(shape) for x, shape in zip(known, part.read_shapes, strict=True))
        for top, made in zip(tops, as_tensors(part.layer.forward(*given)), strict=True):
            top.be(made)

    def _add_affine(self, layer: Layer, x: Value, top: Value) -> None:
        wide = [blob.data_tensor().double() for blob in layer.blobs]
        factor, summand = (
            None if one is None else one.reshape(-1) for one in layer.affine(*wide)
        )  # fmt: skip
        self._note(*(one for one in (factor, summand) if one is not None))
        node = x.maker
        if isinstance(node, Linear) and node.is_plain and x.is_passed_on:
            node.fold(factor, summand)
            node.make(top)
        else:
            self.add(PointwiseNode([x], top, "", factor, summand))

    # What rules use, see `llvm_layers.Graph`.

    def parameters(self, layer: Layer) -> list[Any]:
        """Return a layer's parameters."""
        found = [blob.data_tensor().float() for blob in layer.blobs]
        self._note(*found)
        return found

    def add(self, node: Node) -> None:
        """Add a node behind all others."""
        self._nodes.append(node)

    def remove(self, node: Node) -> None:
        """Do without a node whose value nobody reads."""
        self._nodes.remove(node)

    def moves_last(self, node: Node) -> None:
        """Put a node behind all others."""
        self._nodes.remove(node)
        self._nodes.append(node)

    def shaped(self, x: Value, shape: Shape) -> Value:
        """Return a value in another shape, of as many numbers in Caffe's order."""
        return x if x.shape == shape else self.plain(x).seen_as(shape)

    def plain(self, x: Value) -> Value:
        """Return a value whose numbers lie in Caffe's order, with nothing between them."""
        x = self.rows(x)
        if x.is_in_order and x.is_dense:
            return x
        found = x.alike(x.shape, is_plain=True)
        self.add(LayingNode([x], found) if x.is_of_pictures else CopyNode([x], found))
        return found

    def pictures(self, x: Value) -> Value:
        """Return a value whose numbers lie channels last, where it has four axes."""
        if not x.is_plain or len(x.shape) != 4:
            return x
        x, found = self.plain(x), x.alike(x.shape)
        if found.is_in_order:
            return x.seen_as(x.shape, is_plain=False)
        self.add(LayingNode([x], found))
        return found

    def rows(self, x: Value) -> Value:
        """Return a value that has rows, which an input has not."""
        if x.planes is None:
            return x
        if id(x) not in self._rows:
            self._rows[id(x)] = rows = x.alike(x.shape)
            self._nodes.insert(0, LayingNode([x], rows))
        return self._rows[id(x)]

    def _note(self, *params: Tensor) -> None:
        if not all(are_finite(values.numpy()) for values in params):
            self.has_odd_params = True

    # Where values lie.

    def _lay_inputs(self) -> None:
        """Give inputs their memory, and zeros around what convolutions read as it lies."""
        for value in self.inputs.values():
            rows = self._rows.get(id(value))
            readers = [
                node for node in self._nodes if value in node.inputs and node.output is not rows
            ]
            of_planes = [
                node
                for node in readers
                if isinstance(node, ConvolutionNode)
                and node.reads_planes
                and node.inputs[0] is value
            ]
            pads = [node.pad for node in of_planes]
            others = [node for node in readers if node not in of_planes]
            if others or rows is not None:
                # Zeros would be in their way.
                is_padded = any(map(any, pads))
                self._lay_rows(value, readers if is_padded else others)
            elif pads:
                value.pad = max(p[0] for p in pads), max(p[1] for p in pads)
            sizes = [n + 2 * p for n, p in zip(value.size, value.pad, strict=True)]
            shape = *value.shape[:2], *sizes
            # Behind the last one another may be read.
            whole = torch.zeros(math.prod(shape) + 1, dtype=value.dtype)
            value.planes = whole[:-1].view(shape)

    def _lay_rows(self, value: Value, readers: Sequence[Node]) -> None:
        rows = self.rows(value)
        for node in readers:
            node.inputs = [rows if x is value else x for x in node.inputs]

    def jobs(self) -> list[Job]:
        """Give all values their places, and return what computes them."""
        memory = LargePages()
        wanted = {id(value.root) for value in self.values.values() if value.is_wanted}
        steps = steps_of(self._nodes, wanted)
        settle(steps, wanted, Arena(memory))
        return _quickest(steps, memory)


def _laid(shape: Shape) -> Shape:
    """The shape as which an input is taken: layers have it in one of theirs."""
    return shape if len(shape) in (2, 4) else (1, math.prod(shape))


def _quickest(steps: Sequence[Step], memory: LargePages) -> list[Job]:
    """Return the jobs of all nodes, each by the way that takes the least time in a run of them all.

    So weights are as far away as they will be.
    """
    nodes = [(node, step) for step in steps for node in step.nodes]
    ways = [_in_step(node, step) for node, step in nodes]
    jobs: list[list[Job]] = []
    for (node, _), (first, *others) in zip(nodes, ways, strict=True):
        jobs.append([] if others else first(memory))
        if not others:
            node.release()
    tried = {i: several for i, several in enumerate(ways) if len(several) > 1}
    for i, way in _best(tried, [Program(made) for made in jobs], [node for node, _ in nodes]):
        jobs[i] = way(memory)
        nodes[i][0].release()
    found, own = iter(jobs), Own(memory)
    return [
        job
        for step in steps
        for job in step.repeated([job for _ in step.nodes for job in next(found)], own)
    ]


def _best(
    tried: Mapping[int, Sequence[Way]], programs: list[Program], nodes: Sequence[Node]
) -> list[tuple[int, Way]]:
    """Return the quickest of the ways there are for some nodes, by their numbers."""
    least: dict[int, list[float]] = {i: [] for i in tried}
    for way in range(max(map(len, tried.values()), default=0)):
        # What it has is given back behind each way, and before the best ones take more.
        elsewhere = LargePages()
        for i, several in tried.items():
            programs[i] = Program(several[way](elsewhere))
        times = _timed(programs)
        for i in tried:
            least[i].append(times[i])
            nodes[i].forget()
    return [(i, several[least[i].index(min(least[i]))]) for i, several in tried.items()]


def _in_step(node: Node, step: Step) -> list[Way]:
    """The ways of computing a node's value for as many pictures as its step takes at a time."""

    def taken(way: Way) -> Way:
        def made(memory: Memory) -> list[Job]:
            with step.some():
                return way(memory)

        return made

    with step.some():
        return [taken(way) for way in node.ways]


def _timed(programs: Sequence[Program]) -> list[float]:
    """Return the least time of each of some programs that run one after the other."""
    rounds: list[list[float]] = []
    start = time.perf_counter()
    # The first one finds nothing in the caches.
    while len(rounds) < 2 or time.perf_counter() - start < (
        LONG if len(rounds) <= TURNS else SHORT
    ):
        rounds.append([])
        for program in programs:
            began = time.perf_counter()
            program.run()
            rounds[-1].append(time.perf_counter() - began)
    return [min(times) for times in zip(*rounds[1:], strict=True)]
