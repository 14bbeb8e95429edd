"""A net written as a Python file that needs PyTorch alone: its weights lie beside it.

The text is that of what PyTorch recorded (`program`), so that every layer that can be recorded can
be written; what is done here is to write it as a person would.
"""

from __future__ import annotations

import json
import keyword
import math
import operator
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import NetError
from ..pytorch import F, torch
from ..version import __version__
from .recording import record

if TYPE_CHECKING:
    from torch import Tensor, fx
    from torch.export import ExportedProgram

    from .net_module import NetModule

HEAD = '''"""{title}

Written by Recaffe {version}. It needs PyTorch alone, and its weights, which lie beside it:

    {module} = load("{module}.safetensors")
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPES = {{
{shapes}
}}
"""Of each layer its parameters' shapes, and whether they are learned."""


class Layer(nn.Module):
    """A layer's parameters, "0", "1", ...; those that are not learned are buffers."""

    def __init__(self, shapes):
        super().__init__()
        for index, (shape, learned) in enumerate(shapes):
            if learned:
                self.register_parameter(str(index), nn.Parameter(torch.zeros(shape)))
            else:
                self.register_buffer(str(index), torch.zeros(shape))

    def __getitem__(self, index):
        return getattr(self, str(index))


class {name}(nn.Module):
    """{inputs} -> {outputs}."""

    def __init__(self):
        super().__init__()
        for name, shapes in SHAPES.items():
            self.add_module(name, Layer(shapes))

    def __getitem__(self, layer):
        return self._modules[layer]

    def forward({arguments}):
'''

TAIL = '''

def load(path):
    """Return the net with the weights of a file of safetensors."""
    from safetensors.torch import load_file

    net = {name}()
    net.load_state_dict(load_file(path))
    return net.eval()
'''

OWN = frozenset({"torch", "nn", "math", "F", "Tensor", "Layer", "SHAPES", "load"})
"""Names that the file has anyway."""

GIVEN = "USER_INPUT"
"""What PyTorch calls an input that is no parameter."""

CONSTANTS = "constants"
"""The layer under which numbers go that are no layer's parameters."""

INFIX = {
    "add.Tensor": "+", "sub.Tensor": "-", "mul.Tensor": "*", "div.Tensor": "/",
    "add.Scalar": "+", "sub.Scalar": "-", "mul.Scalar": "*", "div.Scalar": "/",
    "gt.Tensor": ">", "gt.Scalar": ">", "lt.Tensor": "<", "lt.Scalar": "<",
    "ge.Tensor": ">=", "ge.Scalar": ">=", "le.Tensor": "<=", "le.Scalar": "<=",
    "bitwise_and.Tensor": "&",
}  # fmt: skip
"""Operators of PyTorch's that Python has signs for."""

FUNCTIONS = frozenset(
    {"conv1d", "conv2d", "conv3d", "linear", "relu", "leaky_relu", "elu", "prelu", "softplus"}
    | {"avg_pool2d", "avg_pool3d", "max_pool2d", "max_pool3d", "embedding", "pixel_shuffle"}
    | {"mish"}
)
"""Operators that torch.nn.functional has under the same name, with the same arguments in order."""

METHODS = frozenset(
    {"reshape", "view", "permute", "transpose", "flatten", "unsqueeze", "squeeze", "contiguous"}
    | {"square", "sqrt", "rsqrt", "abs", "exp", "log", "sigmoid", "tanh", "floor", "expand"}
    | {"narrow", "flip", "unfold", "detach", "clone", "unbind", "chunk"}
)
"""Operators that a tensor has as a method of the same name, with the same arguments in order."""


class Source:
    """The text, and the weights that it needs.

    Attributes
    ----------
    text : str
        The file.
    weights : dict of str to Tensor
        Its state.
    """

    def __init__(
        self, made: NetModule, module_name: str, title: str, dynamic_batch: bool = False
    ) -> None:
        self._program = record(made, dynamic_batch=True) if dynamic_batch else _recorded(made)
        self._made = made
        self._names: dict[fx.Node, str] = {}
        self._taken = {"self", *OWN}
        self._parameters: dict[str, str] = {}
        self.weights: dict[str, Tensor] = dict(made.state_dict())
        self._shapes = self._shapes_of(made)
        name = _class_name(title)
        body = "".join(f"{' ' * 8}{line}\n" if line else "\n" for line in self._lines())
        shapes = "\n".join(
            f"    {_quoted(layer)}: [{', '.join(each)}]," for layer, each in self._shapes.items()
        )
        given = [self._names[node] for node in self._inputs()]
        head = HEAD.format(
            title=title.replace("\\", "").replace('"', "'"),
            version=__version__,
            module=module_name,
            shapes=shapes,
            name=name,
            inputs=", ".join(f"{n} {s}" for n, s in zip(given, made.input_shapes, strict=True))
            or "nothing",
            outputs=", ".join(made.outputs),
            arguments=", ".join(["self", *(f"{n}: Tensor" for n in given)]),
        )
        self.text = head + body + TAIL.format(name=name)

    @staticmethod
    def _shapes_of(made: NetModule) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, child in made.named_children():
            values = [*child.named_parameters(), *child.named_buffers()]
            for _, value in sorted(values, key=lambda item: int(item[0])):
                learned = isinstance(value, torch.nn.Parameter)
                found.setdefault(name, []).append(f"({tuple(value.shape)}, {learned})")
        return found

    def _inputs(self) -> list[fx.Node]:
        wanted = {
            spec.arg.name
            for spec in self._program.graph_signature.input_specs
            if spec.kind.name == GIVEN and hasattr(spec.arg, "name")
        }
        return [node for node in self._program.graph.nodes if node.name in wanted]

    def _constant(self, value: Tensor) -> str:
        rows = self._shapes.setdefault(CONSTANTS, [])
        rows.append(f"({tuple(value.shape)}, False)")
        self.weights[f"{CONSTANTS}.{len(rows) - 1}"] = value.detach().float()
        text = f"self[{_quoted(CONSTANTS)}][{len(rows) - 1}]"
        return text if value.dtype is torch.float32 else f"{text}.to({value.dtype})"

    def _lines(self) -> Iterator[str]:
        signature = self._program.graph_signature
        owners = {
            spec.arg.name: spec for spec in signature.input_specs if hasattr(spec.arg, "name")
        }
        for node, name in zip(self._inputs(), self._made.inputs, strict=True):
            self._names[node] = self._free(name)
        last = None
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                spec = owners[node.name]
                if spec.kind.name != GIVEN:
                    self._names[node] = self._owned(str(spec.target))
            elif node.op == "output":
                results = [self._written(arg) for arg in node.args[0]]
                yield f"return {', '.join(results)}"
            elif node.op == "call_function" and (node.users or _acts(node)):
                layer = self._layer_of(node)
                if layer is not None and layer != last:
                    yield ""
                    yield f"# {layer} ({self._made.types[layer]})"
                    last = layer
                yield from self._statement(node, layer)

    def _layer_of(self, node: fx.Node) -> str | None:
        """The layer that a node comes from."""
        stack = node.meta.get("nn_module_stack") or {}
        paths = [path for path, _ in stack.values() if path in self._made.types]
        return str(paths[-1]) if paths else None

    def _owned(self, target: str) -> str:
        layer, _, index = target.rpartition(".")
        if layer in self._shapes and index.isdecimal():
            return f"self[{_quoted(layer)}][{index}]"
        value = self._program.constants.get(target)
        if value is None:
            value = self._program.state_dict[target]
        return self._constant(value)

    def _statement(self, node: fx.Node, layer: str | None) -> Iterator[str]:
        if node.target is operator.getitem:
            source, index = node.args
            assert isinstance(source, torch.fx.Node)
            if _is_values_alone(source):
                self._names[node] = self._names[source]
                return
            text = f"{self._written(source)}[{index}]"
        elif isinstance(node.target, torch._ops.OpOverload):
            text = self._call(node, node.target)
        else:
            text = self._python(node)
        self._names[node] = self._free(_hint(node, layer))
        yield f"{self._names[node]} = {text}"

    def _call(self, node: fx.Node, target: torch._ops.OpOverload) -> str:
        name = target.name().removeprefix("aten::")
        plain = name.partition(".")[0]
        args = [self._written(arg) for arg in node.args]
        named = [f"{key}={self._written(value)}" for key, value in node.kwargs.items()]
        if name in INFIX and len(args) == 2 and not named:
            return f"{args[0]} {INFIX[name]} {args[1]}"
        if _is_values_alone(node):
            return f"F.max_pool2d({', '.join(args)})"
        if plain in FUNCTIONS and hasattr(F, plain):
            return f"F.{plain}({', '.join([*args, *named])})"
        if plain in METHODS and isinstance(node.args[0], torch.fx.Node):
            return f"{_grouped(args[0])}.{plain}({', '.join([*args[1:], *named])})"
        if plain == "cat":
            return f"torch.cat({', '.join([*args, *named])})"
        if name == "softmax.int":
            return f"torch.softmax({', '.join([*args, *named])})"
        if name == "sym_size.int":
            return f"{args[0]}.size({args[1]})"
        overload = target.name().split("::")[1].partition(".")[2] or "default"
        space = target.namespace
        return f"torch.ops.{space}.{plain}.{overload}({', '.join([*args, *named])})"

    def _python(self, node: fx.Node) -> str:
        """A function of Python's on lengths."""
        args = [self._written(arg) for arg in node.args]
        signs = {operator.mul: "*", operator.add: "+", operator.sub: "-", operator.floordiv: "//"}
        if node.target in signs:
            return f"{args[0]} {signs[node.target]} {args[1]}"
        raise NetError(f"layer '{self._layer_of(node)}': {node.target} cannot be written as source")

    def _written(self, value: Any) -> str:
        if isinstance(value, torch.fx.Node):
            return self._names[value]
        if isinstance(value, list | tuple):
            inner = ", ".join(map(self._written, value))
            return f"[{inner}]" if isinstance(value, list) or len(value) != 1 else f"({inner},)"
        if isinstance(value, float) and not math.isfinite(value):
            return "math.nan" if math.isnan(value) else f"{'-' if value < 0 else ''}math.inf"
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
            return str(value)
        if isinstance(value, torch.device):
            return f"torch.device({str(value)!r})"
        return repr(value)

    def _free(self, wanted: str) -> str:
        """A name of Python's that nothing has yet."""
        name = re.sub(r"\W", "_", wanted) or "x"
        if name[0].isdigit() or keyword.iskeyword(name):
            name = f"x{name}"
        free, count = name, 1
        while free in self._taken:
            count += 1
            free = f"{name}_{count}"
        self._taken.add(free)
        return free


def _recorded(made: NetModule) -> ExportedProgram:
    """Record with an open batch where that can be."""
    try:
        return record(made, dynamic_batch=True)
    except NetError:
        return record(made, dynamic_batch=False)


def _hint(node: fx.Node, layer: str | None) -> str:
    if node.name.startswith("sym_size"):
        return "batch"
    return node.name if layer is None else layer


def _acts(node: fx.Node) -> bool:
    """Whether a node does something even if nobody reads what it gives."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _is_values_alone(node: fx.Node) -> bool:
    """Whether this is MAX pooling of which the places are not wanted."""
    if str(node.target) != "aten.max_pool2d_with_indices.default":
        return False
    return all(user.args[1] == 0 for user in node.users if user.users)


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _grouped(text: str) -> str:
    return text if re.fullmatch(r"[\w.\[\]'\"]+", text) else f"({text})"


def _class_name(title: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", title)
    name = "".join(word[0].upper() + word[1:] for word in words) or "Net"
    return f"Net{name}" if name[0].isdigit() or name in OWN else name
