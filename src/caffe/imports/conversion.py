"""An ONNX graph as a Caffe net: what is known is computed, all else is said in layers by rules."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..errors import (
    ArgumentError,
    CaffeError,
    NetError,
    as_caffe_error,
    did_you_mean,
    is_out_of_memory,
)
from . import naming, operators, polish
from .caffe_graph import RULES, CaffeGraph, Entry, Node, Value
from .imported import Imported
from .onnx_source import Source, attributes_of, evaluated, is_whole
from .targets import Target

Progress = Callable[[int, int], None]

DOMAINS = ("", "ai.onnx")

MOVING = ("Gather", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice")
"""Operators that change no numbers."""


@cache
def rules() -> dict[str, Entry]:
    """Return the rules, all files of operators read."""
    for module in pkgutil.iter_modules(operators.__path__, f"{operators.__name__}."):
        importlib.import_module(module.name)
    return RULES


def convert(
    source: Source,
    target: Target,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    fold: bool = False,
    progress: Progress = lambda done, whole: None,
) -> Imported:
    """Make a Caffe net of a model.

    Parameters
    ----------
    source : Source
        The model.
    target : Target
        Who will read the net.
    outputs : sequence of str, optional
        The values that are wanted, by their names in the model; its outputs by default.
    shapes : dict of str to sequence of int, optional
        The inputs' shapes where they are to be others than the model's.
    fold : bool
        Take factors and summands of channels into the weights before them.
    progress : callable
        Told how many nodes are done, and of how many.

    Raises
    ------
    NetError
        A node has no form in Caffe; the text names it and says what would help.
    """
    return _Conversion(source, target).made(outputs, shapes or {}, fold, progress)


class _Conversion:
    def __init__(self, source: Source, target: Target) -> None:
        self.source = source
        self.graph = CaffeGraph(target)
        self.values: dict[str, Value] = {}
        self.tensors = {tensor.name: tensor for tensor in source.graph.initializer}
        self.whole = {info.name for info in source.graph.input if is_whole(info)}
        """Values of whole numbers, which are given."""

    def made(
        self,
        outputs: Sequence[str] | None,
        shapes: Mapping[str, Sequence[int]],
        fold: bool,
        progress: Progress,
    ) -> Imported:
        wanted = self._wanted(outputs)
        nodes = _needed(list(self.source.graph.node), wanted)
        read = {name for node in nodes for name in _reads(node)} | set(wanted)
        for name, shape in self.source.inputs(shapes).items():
            try:
                self.values[name] = self.graph.input(shape)
            except CaffeError as error:
                raise as_caffe_error(error, f"{self.source.name}: input '{name}'") from error
            self.graph.layers[-1].hint = naming.safe(name)
        for done, node in enumerate(nodes, 1):
            self._node(node, read)
            progress(done, len(nodes))
        blobs = [self._output(name) for name in wanted]
        layers = polish.polished(self.graph, blobs, fold)
        naming.settle(layers, dict(zip(map(naming.safe, wanted), blobs, strict=True)))
        return Imported.of(self.source.title, layers, blobs)

    def _wanted(self, outputs: Sequence[str] | None) -> list[str]:
        own = [info.name for info in self.source.graph.output]
        if outputs is None:
            if not own:
                raise NetError(
                    f"{self.source.name}: the model has no outputs; name the values that are "
                    "wanted by --outputs"
                )
            return own
        made = {name for node in self.source.graph.node for name in node.output if name}
        by_safe = {naming.safe(name): name for name in made}
        found = []
        for name in outputs:
            if name not in made and name not in by_safe:
                hint = did_you_mean(name, [*made]) or f"its outputs are {', '.join(own)}"
                raise ArgumentError(f"{self.source.name}: it has no value '{name}'; {hint}")
            found.append(name if name in made else by_safe[name])
        return found

    def _value(self, name: str) -> Value | None:
        if not name:
            return None
        if name not in self.values:
            if name not in self.tensors:
                raise NetError(f"{self.source.name}: nothing makes '{name}'; the model is damaged")
            self.values[name] = Value(array=self.source.array(self.tensors[name]))
        return self.values[name]

    def _node(self, proto: Any, read: set[str]) -> None:
        label = f"node '{proto.name or proto.output[0]}' ({proto.op_type})"
        for name in proto.output:
            if name in self.values or name in self.tensors:
                raise NetError(
                    f"{self.source.name}: {label}: '{name}' is made a second time; the model is "
                    "damaged"
                )
        inputs = [self._value(name) for name in proto.input]
        before = len(self.graph.layers)
        try:
            made = self._made(proto, label, inputs, [name in read for name in proto.output])
        except Exception as error:
            place = f"{self.source.name}: {label}"
            if not isinstance(error, CaffeError) and not is_out_of_memory(error):
                text = f"{type(error).__name__}: {error}".splitlines()[0]
                raise NetError(
                    f"{place}: its inputs or attributes are not as {proto.op_type} has them "
                    f"({text}); onnx.checker.check_model says more of a damaged model"
                ) from error
            raise as_caffe_error(error, place) from error
        for name in proto.output[len(made) :]:
            if name in read:
                raise NetError(
                    f"{self.source.name}: {label}: its output '{name}' has no form in Caffe's "
                    "layers; name --outputs that do not need it"
                )
        self.values.update(zip(proto.output, made, strict=False))
        self.values.pop("", None)
        naming.note(proto, self.tensors, self.graph.layers[before:])

    def _made(
        self, proto: Any, label: str, inputs: list[Value | None], wanted: list[bool]
    ) -> Sequence[Value]:
        kind = proto.op_type
        self._note_whole(proto)
        if kind == "Shape" and inputs[0] is not None:
            ends = {attribute.name: attribute.i for attribute in proto.attribute}
            shape = inputs[0].shape[ends.get("start", 0) : ends.get("end")]
            return [Value(array=np.asarray(shape, np.int64))]
        if kind == "Size" and inputs[0] is not None:
            return [Value(array=np.asarray(int(np.prod(inputs[0].shape)), np.int64))]
        if kind in ("If", "Loop", "Scan"):
            return self._branch(proto, inputs)
        if proto.domain not in DOMAINS:
            raise NetError(
                f"operators of '{proto.domain}' are not ONNX's own; export the model without them"
            )
        given = [None if value is None else value.array for value in inputs]
        if all(value is None or value.is_constant for value in inputs):
            arrays = evaluated(self.source, proto, given)
            return [Value(array=array) for array in arrays]
        entry = rules().get(kind)
        if entry is None:
            raise NetError(
                f"operator {kind} has no form in Caffe's layers{REMEDIES.get(kind, REMEDY)}"
            )
        if not entry.any_order:
            inputs = [v if v is None or v.is_constant else self.graph.plain(v) for v in inputs]
        node = Node(
            kind,
            label,
            inputs,
            attributes_of(self.source, proto),
            len(proto.output),
            self.source.opset,
            wanted,
        )
        made = entry.rule(self.graph, node)
        return [made] if isinstance(made, Value) else made

    def _note_whole(self, proto: Any) -> None:
        """Let whole numbers be looked up and moved, for which Caffe's floating ones stand."""
        given = [name for name in proto.input if name in self.whole]
        if not given or proto.op_type in ("Shape", "Size", "Cast"):
            return
        if proto.op_type not in MOVING:
            raise NetError(
                f"it computes with the whole numbers of '{given[0]}', and Caffe's are floating "
                "ones; do that before the model, or cast them to float32 first"
            )
        if proto.input[0] in self.whole:
            self.whole.update(proto.output)

    def _branch(self, proto: Any, inputs: list[Value | None]) -> Sequence[Value]:
        condition = inputs[0]
        if proto.op_type != "If" or condition is None or condition.array is None:
            raise NetError(
                "control flow depends on what is computed, and Caffe's nets have none; export the "
                "model for one fixed case (torch.export does so)"
            )
        name = "then_branch" if bool(condition.array.item()) else "else_branch"
        body = next(attribute.g for attribute in proto.attribute if attribute.name == name)
        self.tensors.update({tensor.name: tensor for tensor in body.initializer})
        read = {n for node in body.node for n in _reads(node)} | {o.name for o in body.output}
        for node in body.node:
            self._node(node, read)
        made = [self._value(info.name) for info in body.output]
        return [value for value in made if value is not None]

    def _output(self, name: str) -> Any:
        value = self._value(name)
        if value is None:
            raise NetError(f"{self.source.name}: an output has no name; the model is damaged")
        if value.is_constant:
            raise NetError(
                f"{self.source.name}: output '{name}' is always the same, whatever goes in; name "
                "the --outputs without it"
            )
        before = len(self.graph.layers)
        value = self.graph.plain(value)
        for layer in self.graph.layers[before:]:
            layer.hint = naming.safe(name)
        return value.blob


REMEDY = (
    "; name the values before it by --outputs and do the rest in your program, or put it into "
    "other words in the model"
)

REMEDIES = {
    **dict.fromkeys(
        (
            *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv"),
            *("QLinearMatMul", "ConvInteger", "MatMulInteger"),
        ),
        "; it belongs to a quantized model: import the model as it was before (float32)",
    ),
    **dict.fromkeys(
        ("NonMaxSuppression", "TopK", "RoiAlign", "NonZero"),
        "; boxes are chosen by the program, or by a DetectionOutput layer written by hand: name "
        "what goes into it by --outputs",
    ),
    **dict.fromkeys(
        ("LSTM", "GRU", "RNN"),
        "; recurrent layers are not imported: name the values before them by --outputs and run "
        "them in your program, or give their weights to an LSTM layer written by hand",
    ),
}
"""By operator what would help."""


def _reads(node: Any) -> list[str]:
    """What a node reads, its branches' nodes too."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names += _reads(inner)
        names += [info.name for info in attribute.g.output]
    return names


def _needed(nodes: Sequence[Any], wanted: Sequence[str]) -> list[Any]:
    """Nodes that the wanted values need, in order."""
    needed = set(wanted)
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_reads(node))
    return kept[::-1]
