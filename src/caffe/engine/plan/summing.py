"""A sum of two blobs, run together with the convolution that makes one of them."""

from __future__ import annotations

from collections.abc import Sequence

from ...layers.eltwise import Eltwise
from ...proto.caffe_pb2 import EltwiseParameter
from ..steps import Step
from .builder import Builder, note_fresh
from .convolution import ConvolutionOperation
from .fused import RELU
from .operation import Operation, Part, Values, operation
from .settings import Settings


class SumOperation(Operation):
    """A convolution, the sum of its top and another blob, and the ReLU that may follow in place.

    Only the sum is written; the convolution's own top is hidden.
    """

    how = "sum, in its convolution"
    may_overwrite = False

    def __init__(
        self,
        step: Step,
        convolution: ConvolutionOperation,
        followers: Sequence[Step],
        settings: Settings,
    ) -> None:
        super().__init__(step, settings)
        self._convolution = convolution
        self._names |= convolution._names
        self._other = next(key for key in self.reads if key != convolution.writes[0])
        self._attr = "relu" if followers else None
        self.reads = [*convolution.reads, self._other]
        self.read_shapes = [*convolution.read_shapes, self.shapes[0]]
        self.writes = [*convolution.writes, *self.writes]
        self.shapes = [*convolution.shapes, *self.shapes]
        self.parts = [*convolution.parts, *map(Part.of, (step, *followers))]
        self.hidden = list(convolution.writes)
        self.params = convolution.params

    @property
    def found_out(self) -> str:
        return self._convolution.found_out

    def refresh(self) -> bool:
        is_due = self._convolution.refresh()
        self.has_odd_params = self._convolution.has_odd_params
        return is_due

    def release(self) -> None:
        self._convolution.release()

    def may_take_place(self, fresh: set[int], is_read_later: bool) -> None:
        """Let the sum take its other summand's place where nobody reads that any more."""
        other = self.reads[1]
        self.may_overwrite = other in fresh and not is_read_later and other != self.reads[0]

    def run(self, values: Values) -> None:
        x, other = self.bottoms(values)
        self._convolution.keeps_nan = self.keeps_nan
        values[self.writes[1]] = self._convolution.added(
            x, other, self._attr, in_place=self.may_overwrite
        )

    def run_apart(self, values: Values) -> None:
        self._convolution.keeps_nan = self.keeps_nan
        self._convolution.run(values)
        total = values[self.hidden[0]] + values[self._other].reshape(self.shapes[1])
        values[self.writes[1]] = total.relu_() if self._attr else total


def _not_plain(layer: Eltwise, step: Step, settings: Settings) -> str | None:
    if layer.param.operation != EltwiseParameter.SUM or any(c != 1 for c in layer.param.coeff):
        return "not a plain sum"
    keys = {id(blob.memory) for blob in step.bottoms}
    return None if len(step.bottoms) == len(keys) == 2 else "not of two different blobs"


@operation.rule(Eltwise, unless=_not_plain)
def _sum(builder: Builder, number: int) -> SumOperation | None:
    step = builder.steps[number]
    convolution = _summand(builder, step)
    if convolution is None:
        return None
    builder.take_back(convolution)
    followers = builder.join(number, fold=False, only=RELU)
    return SumOperation(step, convolution, followers, builder.settings)


def _summand(builder: Builder, step: Step) -> ConvolutionOperation | None:
    """Find the convolution that makes one bottom of a sum, and may run together with it."""
    top = step.tops[0].shape
    # A Reshape's top has its bottom's memory, and is another shape of it.
    keys = [id(blob.memory) for blob in step.bottoms]
    found = [made for key in keys if (made := builder.writer(key)) is not None]
    # The one that was made last comes first.
    for maker, _ in sorted(found, key=lambda made: made[1], reverse=True):
        if (
            isinstance(maker, ConvolutionOperation)
            and maker.writes[0] in keys
            and maker.can_add
            and maker.shapes[0] == top
            and _readers(builder, maker) == 1
        ):
            return maker
    return None


def _readers(builder: Builder, maker: ConvolutionOperation) -> int:
    """How often a convolution's top is read by layers that it has not taken along."""
    own = [part.layer for part in maker.parts]
    steps = [builder.steps[number] for number in builder.touching[maker.writes[0]]]
    return sum(
        id(blob.memory) == maker.writes[0]
        for step in steps
        if not (step.layer.shares or step.layer in own or _does_nothing(step))
        for blob in step.bottoms
    )


def _does_nothing(step: Step) -> bool:
    return step.layer.passes_on and step.bottoms == step.tops


def let_sums_take_places(operations: Sequence[Operation]) -> None:
    """Let sums be written over their other summand where nobody reads that any more."""
    fresh: set[int] = set()
    last_read = {key: i for i, made in enumerate(operations) for key in made.reads}
    for i, made in enumerate(operations):
        if isinstance(made, SumOperation):
            made.may_take_place(fresh, last_read[made.reads[1]] > i)
        note_fresh(fresh, made)
