"""What every layer is: a parameter message, shapes, a forward, a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isroutine
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias

from google.protobuf.message import Message
from typing_extensions import TypeVar

from ..errors import ShapeError
from ..fillers import filler_for
from ..logs import Line
from ..memory.blob import Blob, Shape
from ..pytorch import torch
from ..vectors import BlobVec
from ..weights.layer_weights import WeightBlob
from .description import Described
from .gradients import Edge, edges_of, gradients_through
from .promises import BESIDE_COMPUTING, OWN_PROMISES, PROMISES, is_ours

if TYPE_CHECKING:
    from torch import Tensor

    from ..proto.caffe_pb2 import FillerParameter, LayerParameter

Tensors: TypeAlias = "Sequence[Tensor]"

Changing: TypeAlias = "Callable[[Sequence[Any]], Sequence[Tensors]]"
"""Returns of each of some layers, whose forward has run, its parameters' new values."""

P = TypeVar("P", bound=Message, default=Any)
"""The class of a layer's parameter message."""


@dataclass
class Parameter:
    """One parameter blob that a layer wants: its shape, and how it starts."""

    shape: Sequence[int]
    filler: FillerParameter | None = None

    def blob(self) -> Blob:
        """Make the blob; without a filler it starts with zeros."""
        fill = None if self.filler is None else filler_for(self.shape, self.filler)
        return Blob(self.shape, fill)


@dataclass(frozen=True)
class Activation:
    """min(max(y, least), most), y being x where x > 0 and else slope * x."""

    slope: float = 1.0
    least: float = -math.inf
    most: float = math.inf


def _no_forward(self: Layer, *inputs: Tensor) -> Tensor | Sequence[Tensor]:
    raise NotImplementedError(
        f"layer '{self.name}': {type(self).__name__}, the class for type '{self.type}', "
        "has no forward; write one"
    )


class Layer(Described, Generic[P]):
    """A layer of a net.

    A subclass says in `message` which parameter message it reads (``Layer[ReLUParameter]`` gives
    `param` its type), in `bottoms` and `tops` how many of each it takes, and writes `forward`.
    Where they differ from the defaults it also writes `setup`, `parameters`, `top_shapes` and
    `backward`.

    Parameters
    ----------
    layer_param : LayerParameter
        The layer as the net's text describes it, its phase set.

    Attributes
    ----------
    type : str
        The layer type as the text names it.
    param : message
        The layer's own parameter message, ``layer_param.<message>``.
    blobs : BlobVec
        The learned parameters.
    runs_again : bool
        Whether `forward` runs only for its gradient: it must do as it did before, and remember
        nothing.
    """

    shares: ClassVar[frozenset[str]] = frozenset()
    """Which of "data" and "diff" the tops share with the first bottom instead of copying."""

    keeps_bottom: ClassVar[bool] = False
    """When run in place, the gradient needs the bottom as it was before."""

    forbids_in_place: ClassVar[bool] = False

    ignores_propagate_down: bool = False
    """Whenever the backward pass visits the layer, the bottoms get their gradient: Caffe's layer
    does not ask whether anybody needs it."""

    on_blobs: ClassVar[bool] = False
    """The layer works on blobs as they are (data sources, Python layers): the engine calls
    `setup_blobs`, `reshape_blobs`, `forward_blobs` and `backward_blobs` and nothing else."""

    passes_errors_on: ClassVar[bool] = False
    """What the layer's methods raise reaches the person as it is, as theirs is the code."""

    has_gradient: ClassVar[bool] = True
    """False for layers through which no gradient passes at all."""

    no_gradient_for: frozenset[int] = frozenset()
    """Bottoms that never get a gradient (labels, and shapes to imitate)."""

    forward: Callable[..., Tensor | Sequence[Tensor]] = _no_forward
    """Compute the tops from the bottoms and, behind them, the parameters.

    The inputs are not to be changed. Tensors on any device, of any floating type; the results
    likewise. No result at all leaves the tops as they are. A subclass writes it with arguments of
    its own, ``def forward(self, x: Tensor) -> Tensor``.
    """

    def takes_scale(self, bottom: Shape) -> bool:
        """Whether `forward_scaled` does, in training, what the layer and a Scale behind it do."""
        return False

    forward_scaled: Callable[..., Tensor] | None = None
    """Compute the top times a factor (plus a summand) of each channel, which follow the inputs."""

    backward_uses_record: ClassVar[bool] = False
    """`backward` hands everything on to this class's own, with other needs."""

    # What an engine may count on. It is said of the class's very forward: a subclass that computes
    # otherwise does not inherit it, see `__init_subclass__`.

    fresh_tops: ClassVar[bool] = False
    """The tops never share memory with the bottoms, so that they may be changed."""

    is_zero_of_nothing: ClassVar[bool] = False
    """Of a first bottom without numbers the tops are zeros (losses, sums)."""

    takes_short_numbers: ClassVar[bool] = False
    """`forward` computes in bfloat16 and float16 as they come; other layers are given float32."""

    takes_any_strides: ClassVar[bool] = True
    """`forward` computes on tensors as they lie in memory, channels last for one; to others they
    are given contiguous."""

    drawn: Tensor | None = None
    """What forward has drawn at random, for its gradient and for `runs_again`."""

    is_given: ClassVar[bool] = False
    """The program writes the tops; `forward` leaves them as they are."""

    members: ClassVar[dict[str, Any]] = {}
    """What the class had, by name, when it was made, that may bear on what `forward` computes."""

    methods: ClassVar[frozenset[str]] = frozenset()
    """Those of `members` that `forward` may call."""

    computes_as: ClassVar[type[Layer]]
    """The class that says how this one computes: the nearest whose computing it inherits whole."""

    def __init__(self, layer_param: LayerParameter) -> None:
        self.layer_param = type(layer_param)()
        # A copy of its own, as a layer may fill in what its text leaves out.
        self.layer_param.CopyFrom(layer_param)
        self.name: str = layer_param.name
        self.type: str = layer_param.type
        self.phase: int = layer_param.phase
        own: Any = None if self.message is None else getattr(self.layer_param, self.message)
        self.param: P = own
        self.blobs = BlobVec()
        self.runs_again = False
        self._recorded: Sequence[Edge] | None = None

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        """Return the class for such a layer: this one, or one for the fields of a fork."""
        return cls

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        base = next(kind for kind in cls.__mro__[1:] if issubclass(kind, Layer)).computes_as
        members = cls.members = _members(cls)
        differs = any(members[name] is not member for name, member in base.members.items())
        cls.computes_as = cls if differs else base
        cls.methods = frozenset(name for name, member in members.items() if isroutine(member))
        if cls.computes_as is cls:
            # What was promised of another forward need not hold of this one.
            mixins = [kind for kind in cls.__mro__ if kind is cls or not issubclass(kind, Layer)]
            said = {name for kind in mixins for name in vars(kind)}
            for name in PROMISES - said:
                setattr(cls, name, vars(Layer)[name])
            if not is_ours(cls):
                for name in OWN_PROMISES - said:
                    setattr(cls, name, False)
                # Neither need a gradient that is written down for our forward be this one's.
                if is_ours(next(kind for kind in cls.__mro__ if "backward" in vars(kind))):
                    cls.backward = Layer.backward  # type: ignore[method-assign]

    @property
    def is_patched(self) -> bool:
        """Whether somebody has replaced `forward`, or for this layer anything that it may call.

        Nothing that was promised holds then.
        """
        kind = type(self)
        return kind.forward is not kind.members["forward"] or not kind.methods.isdisjoint(
            vars(self)
        )

    @property
    def is_pure(self) -> bool:
        """Whether, in its phase, equal inputs give equal tops of the shapes `top_shapes` says.

        A layer that remembers something from one forward to the next, or draws random numbers,
        says no; so does, unless it says otherwise, any layer that is not Recaffe's own. Of sources
        of data it is not asked: they run once for each forward.
        """
        return True

    @property
    def repeats(self) -> bool:
        """Whether a copy of the layer, with `runs_again`, gives the last forward's tops again.

        So does a layer that is pure, and one that remembers what it has drawn.
        """
        return self.is_pure

    @property
    def stays_finite(self) -> bool:
        """Whether finite numbers give finite tops, but where they outgrow float32.

        A layer that may divide by zero, or take a root or logarithm of what is negative, says no;
        so does, unless it says otherwise, any layer that is not Recaffe's own.
        """
        return True

    @property
    def face(self) -> Any:
        """The object that stands for the layer in `Net.layers`."""
        return self

    def setup(self, *bottoms: Shape) -> None:
        """Read and check the parameter message; called once, with the bottoms' shapes."""

    def lines_when_made(self) -> Iterable[Line]:
        """Say what the original's layer writes into the log when it is made."""
        return ()

    def lines_at_setup(self, tops: Sequence[Blob]) -> Iterable[Line]:
        """Say what the original's layer writes into the log when it is set up."""
        return ()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give `top` the shapes that follow from those of `bottom`, as pycaffe's layers do.

        A net does so by itself, at each forward.
        """
        if self.on_blobs:
            self.reshape_blobs(list(bottom), list(top))
            return
        for blob, shape in zip(top, self.top_shapes(*(b.shape for b in bottom)), strict=False):
            blob.reshape(*shape)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        """Say which parameter blobs the layer wants; called once, after `setup`."""
        return []

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        """Return the tops' shapes; called whenever a bottom's shape changes."""
        return [bottoms[0]]

    def backward(
        self,
        diffs: Tensors,
        tops: Tensors,
        inputs: Tensors,
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Compute the gradient by each input (bottoms, then parameters).

        The default is autograd over `forward`: over the one that was recorded, see `record`, or
        over one that is computed again from the inputs as they stand.

        Parameters
        ----------
        diffs : sequence of Tensor
            The gradient by each top.
        tops, inputs : sequence of Tensor
            What `forward` gave and got.
        needs : sequence of bool
            Which inputs' gradients are wanted; for the others anything may be returned.
        """
        leaves, edges = inputs, self._recorded
        if edges is None:
            with self.again():
                leaves, results = self.record(inputs, needs)
                edges = edges_of(results)
        return gradients_through(edges, diffs, leaves, needs)

    def backward_through(
        self,
        edges: Sequence[Edge] | None,
        diffs: Tensors,
        tops: Tensors,
        inputs: Tensors,
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Run `backward` through what was recorded, if anything was; the inputs are its leaves."""
        self._recorded = edges
        try:
            return self.backward(diffs, tops, inputs, needs)
        finally:
            self._recorded = None

    def forward_in_training(self, *inputs: Tensor) -> Tensor | Sequence[Tensor]:
        """Compute what `forward` does, by an algorithm that rounds otherwise where one is quicker.

        It is never the one that is quicker today: the same shapes go the same way each time.
        """
        return self.forward(*inputs)

    def record(
        self,
        inputs: Tensors,
        needs: Sequence[bool],
        forward: Callable[..., Tensor | Sequence[Tensor]] | None = None,
    ) -> tuple[Tensors, Tensors]:
        """Run `forward`, or another function in its place, so that autograd remembers it.

        Returns
        -------
        leaves, results : sequence of Tensor
            The inputs whose gradients can be had (as `needs` says), and the tops.
        """
        leaves = [x.detach().requires_grad_(need) for x, need in zip(inputs, needs, strict=True)]
        with torch.enable_grad():
            return leaves, as_tensors((forward or self.forward)(*leaves))

    @contextmanager
    def again(self) -> Iterator[None]:
        """Let `forward` do, inside, as it did before, and remember nothing."""
        self.runs_again = True
        try:
            yield
        finally:
            self.runs_again = False

    def wants_record(self, inputs: Tensors) -> bool:
        """Tell whether `backward` is quicker where forward was recorded."""
        return type(self).backward is Layer.backward or self.backward_uses_record

    @property
    def asks_no_values(self) -> bool:
        """Whether what `forward` does depends on shapes alone: a GPU can record it (CUDA graph)."""
        return False

    @property
    def trains_unseen(self) -> bool:
        """Whether the same holds of forward and gradient in a training, where nobody looks.

        What they ask of values is put off then, see `refuse_any`, and what forward draws at random
        is in `drawn` before, see `draws`.
        """
        return self.asks_no_values or bool(self.shares)

    @property
    def draws(self) -> bool:
        """Whether forward draws at random, which `draw` can do before it."""
        return False

    def draw(self, bottom: Shape, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Draw for a bottom of such numbers; it is in `drawn` then."""
        raise NotImplementedError

    @property
    def passes_on(self) -> bool:
        """Whether the top is the bottom as it is."""
        return False

    @property
    def activation(self) -> Activation | None:
        """What the layer does to each number, where an `Activation` tells all of it."""
        return None

    @property
    def is_affine(self) -> bool:
        """Whether `affine` tells all that the layer does, whatever the bottom's values."""
        return False

    def affine(self, *params: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the factor and the summand of each channel (axis 1); None for 1 and for 0."""
        raise NotImplementedError

    def changed_parameters(self) -> Sequence[Tensor] | None:
        """Return the parameters' new values where `forward` itself changes them."""
        return None

    def changes_with(self) -> Changing | None:
        """Return what finds `changed_parameters` of several such layers in fewer operations."""
        return None

    def adjust_trained(self, blobs: Sequence[WeightBlob]) -> Sequence[WeightBlob]:
        """Return a file's parameter blobs as this layer takes them."""
        return blobs

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        """Read and check the parameter message and make `blobs`; for layers `on_blobs`."""

    def reshape_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        """Shape the tops; called before each forward; for layers `on_blobs`."""

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        """Compute the tops; for layers `on_blobs`."""

    def backward_blobs(
        self, tops: list[Blob], propagate_down: list[bool], bottoms: list[Blob]
    ) -> None:
        """Compute the bottoms' diffs and add to the parameters'; for layers `on_blobs`."""

    def state(self) -> dict[str, Any]:
        """Return what the layer remembers from one forward to the next, beside its parameters.

        For snapshots that a training is to go on from: JSON's types, and arrays.
        """
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember again what `state` once returned, of this layer or of one like it."""

    def axis(self, axis: int, shape: Shape, what: str = "axis") -> int:
        """Return `axis` counted from the front.

        Raises
        ------
        ShapeError
            `shape` has no such axis.
        """
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(f"{what} {axis} does not exist in a bottom of shape {shape}")
        return axis % len(shape)


def _members(kind: type[Layer]) -> dict[str, Any]:
    """Return what a class has, by name, that may bear on what its forward computes."""
    alone = kind is not Layer and len(kind.__bases__) == 1
    members = dict(kind.__base__.members) if alone else {}  # type: ignore[union-attr]
    for base in (kind,) if alone else reversed(kind.__mro__):
        for name, member in vars(base).items():
            if not name.startswith("__") and name not in BESIDE_COMPUTING:
                members[name] = member
    return members


Layer.members = _members(Layer)
Layer.computes_as = Layer


def as_tensors(results: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """Return what a forward gave as a sequence."""
    return (results,) if isinstance(results, torch.Tensor) else results


registered: dict[str, type[Layer]] = {}
"""The layers by type, as far as their modules have been read; `registry` reads all of them."""


def register(*types: str) -> Callable[[type[Layer]], type[Layer]]:
    """Make a class the layer of the types named.

    Examples
    --------
    >>> @register("Twice")
    ... class Twice(Layer):
    ...     def forward(self, x):
    ...         return 2 * x
    """

    def add(layer: type[Layer]) -> type[Layer]:
        for name in types:
            # A person's own layer of a name goes before the built-in one, whichever comes first.
            if is_ours(layer):
                registered.setdefault(name, layer)
            else:
                registered[name] = layer
        return layer

    return add
