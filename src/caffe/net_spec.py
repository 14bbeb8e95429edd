"""Nets written in Python: pycaffe's NetSpec.

A layer is a function of its bottoms, ``layers`` (``L``) hands out one function for each layer
type and ``params`` (``P``) the constants of their parameters::

    from caffe import layers as L, params as P, NetSpec

    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 227, 227]))
    n.conv1 = L.Convolution(n.data, num_output=96, kernel_size=11, stride=4)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    net_parameter = n.to_proto()

Any layer type is taken, so that layers of forks and of one's own can be written down too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, KeysView, Sequence, ValuesView
from functools import cache
from typing import Any

from google.protobuf.message import Message

from . import homes
from .errors import UnknownNameError, did_you_mean
from .guarded import guarded
from .proto import caffe_pb2
from .proto.caffe_pb2 import LayerParameter, NetParameter

FIRST_OF_FORKS = 1000
"""From here on field numbers are those of forks, whose messages may be called after another type:
LSTMParameter is not what LSTM reads, but Lstm."""


def param_name_dict() -> dict[str, str]:
    """Layer types and the stems of their parameter fields, such as ``InnerProduct: inner_product``.

    Read from the schema: a field ``x_param`` of type ``XParameter`` belongs to layer type ``X``.
    """
    names: dict[str, str] = {}
    for field in LayerParameter.DESCRIPTOR.fields:
        if field.name.endswith("_param") and field.message_type is not None:
            type_name = field.message_type.name.removesuffix("Parameter")
            names.setdefault(type_name, field.name.removesuffix("_param"))
    return names


_param_names = param_name_dict()
"""Where a keyword is looked for; programs add layer types of their own."""


@cache
def _names_of_parameters() -> frozenset[str]:
    """Every field that some layer's parameter message has."""
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    messages = [f.message_type for f in fields if f.name.endswith("_param") and f.message_type]
    return frozenset(field.name for message in messages for field in message.fields)


@guarded
def to_proto(*tops: Top | Function) -> NetParameter:
    """Return the NetParameter with every layer that `tops` need, each once, bottoms first.

    Tops without a name of their own are called after their layer's type and a running number:
    ``Convolution1``, ``Convolution2``.
    """
    layers: Written = {}
    autonames: Counter[str] = Counter()
    names: dict[Top | Function, str] = {}
    for top in tops:
        top._to_proto(layers, names, autonames)
    return NetParameter(layer=layers.values())


def assign_proto(proto: Message, name: str, val: Any) -> None:
    """Set field `name` of a message from plain Python values.

    Parameters
    ----------
    proto : Message
        The message to change.
    name : str
        Its field.
    val : object
        A dict fills a sub-message; a list fills a repeated field, and so does a single value,
        as a list of one; anything else is assigned.

    Raises
    ------
    AttributeError
        The message has no such field.
    TypeError, ValueError
        The field does not take such a value.
    """
    field = getattr(proto, name)
    if hasattr(field, "extend"):
        for item in val if isinstance(val, (list, tuple)) else [val]:
            if isinstance(item, dict):
                _assign_dict(field.add(), item)
            else:
                field.append(item)
    elif isinstance(val, dict):
        _assign_dict(field, val)
    else:
        setattr(proto, name, val)


def _assign_dict(message: Message, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name not in message.DESCRIPTOR.fields_by_name:
            raise UnknownNameError(_unknown(message.DESCRIPTOR.name, name, _fields(message)))
        assign_proto(message, name, value)


def _fields(message: Message) -> list[str]:
    return list(message.DESCRIPTOR.fields_by_name)


def _unknown(owner: str, name: str, valid: Iterable[str]) -> str:
    hint = did_you_mean(name, valid, f"it has {', '.join(sorted(valid))}", most=4, cutoff=0.5)
    return f"{owner} has no parameter {name!r}; {hint}"


Written = dict["Function", LayerParameter]
"""The layers written so far, by what they were made from."""


class Top:
    """One top blob of a layer that has not been built yet.

    Attributes
    ----------
    fn : Function
        The layer that produces it.
    n : int
        Which of that layer's tops it is.
    """

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> NetParameter:
        """Return the NetParameter with every layer that this top needs."""
        return to_proto(self)

    def _update(self, params: dict[str, Any]) -> None:
        self.fn._update(params)

    def _to_proto(
        self,
        layers: Written,
        names: dict[Top | Function, str],
        autonames: Counter[str],
    ) -> None:
        self.fn._to_proto(layers, names, autonames)


class Function:
    """A layer to be: its type, its bottoms and its parameters.

    Parameters
    ----------
    type_name : str
        The layer's type.
    inputs : iterable of Top
        Its bottoms.
    params : dict
        Its parameters, together with `ntop` (the number of tops, 1 unless given) and `in_place`
        (the tops are the bottoms).

    Raises
    ------
    TypeError
        An input is not a Top.
    """

    def __init__(self, type_name: str, inputs: Iterable[Top], params: dict[str, Any]) -> None:
        self.type_name = type_name
        self.inputs = tuple(inputs)
        for index, given in enumerate(self.inputs):
            if not isinstance(given, Top):
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(given)})")
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def to_proto(self) -> NetParameter:
        """Return the NetParameter with this layer and every layer that it needs."""
        return to_proto(self)

    def _update(self, params: dict[str, Any]) -> None:
        self.params.update(params)

    def _get_name(self, names: dict[Top | Function, str], autonames: Counter[str]) -> str:
        """The layer's name: its first top's, or its own where it has none."""
        named = self.tops[0] if self.tops else self
        return self._get_top_name(named, names, autonames)

    def _get_top_name(
        self, top: Top | Function, names: dict[Top | Function, str], autonames: Counter[str]
    ) -> str:
        if top not in names:
            autonames[self.type_name] += 1
            names[top] = f"{self.type_name}{autonames[self.type_name]}"
        return names[top]

    def _to_proto(
        self,
        layers: Written,
        names: dict[Top | Function, str],
        autonames: Counter[str],
    ) -> None:
        # A loop, not a recursion: a chain of a thousand layers is deeper than Python's stack.
        pending = [self]
        while pending:
            current = pending[-1]
            missing = [top.fn for top in current.inputs if top.fn not in layers]
            if current not in layers and missing:
                pending.extend(reversed(missing))
                continue
            if current not in layers:
                layers[current] = current._layer(layers, names, autonames)  # noqa: SLF001
            pending.pop()

    def _layer(
        self,
        layers: Written,
        names: dict[Top | Function, str],
        autonames: Counter[str],
    ) -> LayerParameter:
        layer = LayerParameter(type=self.type_name)
        layer.bottom.extend(layers[top.fn].top[top.n] for top in self.inputs)
        if self.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend(self._get_top_name(top, names, autonames) for top in self.tops)
        layer.name = self._get_name(names, autonames)
        for name, value in self.params.items():
            self._assign(layer, name, value)
        return layer

    def _assign(self, layer: LayerParameter, name: str, value: Any) -> None:
        owner = self._owner(layer, name)
        if name not in owner.DESCRIPTOR.fields_by_name:
            messages = (getattr(layer, field) for field in self._parameter_fields())
            valid = _fields(layer) + [own for message in messages for own in _fields(message)]
            raise UnknownNameError(_unknown(f"{self.type_name} layer {layer.name!r}", name, valid))
        try:
            assign_proto(owner, name, value)
        except (AttributeError, TypeError, ValueError) as error:
            raise type(error)(
                f"{self.type_name} layer {layer.name!r}: {name} cannot be {value!r}: {error}"
            ) from error

    def _owner(self, layer: LayerParameter, name: str) -> Message:
        """The message that a keyword belongs to: the layer itself, or one of its parameters'."""
        fields = layer.DESCRIPTOR.fields_by_name
        if name in fields and (name.endswith("param") or name not in _names_of_parameters()):
            return layer
        own = self._own_field()
        if own is not None and fields[own].number < FIRST_OF_FORKS:
            message: Message = getattr(layer, own)
            if name in message.DESCRIPTOR.fields_by_name:
                return message
        messages = (getattr(layer, field) for field in self._parameter_fields())
        return next((m for m in messages if name in m.DESCRIPTOR.fields_by_name), layer)

    def _own_field(self) -> str | None:
        """The field of the parameter message that is called after the layer's type."""
        stem = _param_names.get(self.type_name)
        return None if stem is None else f"{stem}_param"

    def _parameter_fields(self) -> Sequence[str]:
        """The fields of all parameter messages that the layer reads."""
        # Only here, as it loads PyTorch.
        from .layers.layer import Layer
        from .layers.registry import registry

        layer = registry().get(self.type_name, Layer)
        said = (layer.message, *layer.further_messages, self._own_field())
        return [field for field in dict.fromkeys(said) if field is not None]


class NetSpec:
    """A net as a set of named tops; what is assigned to it gives layers and blobs their names.

    ``n.conv1 = L.Convolution(n.data, ...)`` names layer and blob ``conv1``;
    ``n["inception_3a/1x1"] = ...`` takes names that are no Python identifiers.

    Examples
    --------
    >>> from caffe.net_spec import NetSpec, layers as L
    >>> n = NetSpec()
    >>> n.data = L.Input(shape=dict(dim=[1, 3, 8, 8]))
    >>> n.ip = L.InnerProduct(n.data, num_output=10)
    >>> [layer.name for layer in n.to_proto().layer]
    ['data', 'ip']
    """

    tops: dict[str, Top | Function]

    def __init__(self) -> None:
        object.__setattr__(self, "tops", {})

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, (Top, Function)):
            raise TypeError(
                f"{name} is not a Top (type is {type(value)}); a layer with ntop tops gives a"
                " tuple, to be assigned to as many names"
            )
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "tops":
            raise AttributeError(name)
        try:
            return self.tops[name]
        except KeyError:
            raise AttributeError(f"this NetSpec has no top {name!r}") from None

    def __setitem__(self, key: str, value: Top | Function) -> None:
        self.__setattr__(key, value)

    def __getitem__(self, item: str) -> Any:
        return self.tops[item]

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def __delattr__(self, name: str) -> None:
        del self.tops[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tops

    def keys(self) -> KeysView[str]:
        """Names of the tops, in the order of assignment."""
        return self.tops.keys()

    def vals(self) -> ValuesView[Top | Function]:
        """The tops, in the order of assignment."""
        return self.tops.values()

    def update(self, name: str, params: dict[str, Any]) -> None:
        """Change parameters of the layer that produces the top `name`."""
        self.tops[name]._update(params)

    def to_proto(self) -> NetParameter:
        """Return the NetParameter with every layer that the assigned tops need.

        Layers stand in the order of assignment, except that a layer never stands before one
        that it needs.
        """
        names = {top: name for name, top in self.tops.items()}
        layers: Written = {}
        autonames: Counter[str] = Counter()
        for top in self.tops.values():
            top._to_proto(layers, names, autonames)
        return NetParameter(layer=layers.values())


class Layers:
    """A function for each layer type: ``L.Convolution(bottom, num_output=8)`` gives its Top.

    A layer with ``ntop=2`` gives a tuple of two tops, one with ``ntop=0`` the Function itself.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer_fn(*args: Top, **kwargs: Any) -> Any:
            fn = Function(name, args, kwargs)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops

        return layer_fn


class Parameters:
    """The constants of layer parameters: ``P.Pooling.MAX`` is PoolingParameter's ``MAX``."""

    def __getattr__(self, name: str) -> Any:
        message = getattr(caffe_pb2, f"{name}Parameter", None)
        if message is None:
            raise AttributeError(f"there is no {name}Parameter")
        return message


def __getattr__(name: str) -> Any:
    return homes.imported(__name__, name, ("OrderedDict", "protobuf", "six"))


layers = Layers()
params = Parameters()
