"""Layers that train as one: a normalisation by the batch's statistics, and the Scale behind it."""

from __future__ import annotations

from collections.abc import Sequence

from ..layers.gradients import gradients_through
from ..memory.stores import Store
from .record import Record
from .steps import Step


def joined(steps: Sequence[Step]) -> list[Step | Joined]:
    """Return what runs forward and backward: the steps, some in pairs."""
    result: list[Step | Joined] = []
    for step in steps:
        before = result[-1] if result else None
        if isinstance(before, Step) and _may_join(before, step):
            result[-1] = Joined(before, step)
        else:
            result.append(step)
    return result


def _may_join(first: Step, second: Step) -> bool:
    """Whether `second` multiplies, in place, what `first` has normalised, by learned factors."""
    tops = second.tops
    return (
        first.layer.forward_scaled is not None
        and first.is_recorded
        and first.need_backward
        and second.need_backward
        and not first.layer.is_patched
        and not second.layer.is_patched
        and second.layer.is_affine
        and len(tops) == len(second.bottoms) == 1
        and tops[0] is second.bottoms[0]
        and first.tops == [tops[0]]
    )


class Joined:
    """Two steps in one pass over the memory, with one gradient.

    Whatever asks for one of them alone finds it as if it had run by itself.
    """

    def __init__(self, first: Step, second: Step) -> None:
        self.first, self.second = first, second
        self._record: Record | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """Both."""
        return self.first, self.second

    @property
    def need_backward(self) -> bool:
        """Whether the backward pass visits the layers."""
        return True

    def forward(self, store: Store | None) -> float:
        """Compute the top; none of it is a loss."""
        first, second = self.first, self.second
        with first.blame():
            first.follow()
            second.follow()
            if first.is_of_nothing or not first.layer.takes_scale(first.bottoms[0].shape):
                first.forward(store)
                second.forward(store)
                return 0.0
            inputs = first.inputs(store)
            factors = second.inputs(store)[1:]
            leaves, results = first.layer.record(
                [*inputs, *factors], self._needs(), first.layer.forward_scaled
            )
            self._record = Record(leaves, results, store)
            first.put(first.tops[0], results[0].detach(), store)
            first.put_changed(store)
            self._record.note(first, second)
            before = inputs[0]
            first.remember(lambda: before)
            second.remember(lambda: first.again(store)[0])
        return 0.0

    def _needs(self) -> list[bool]:
        return [*self.first.needs(), *self.second.needs()[1:]]

    def backward(self, store: Store | None) -> None:
        """Compute the gradients by the bottom and those by the factors."""
        first, second = self.first, self.second
        record, self._record = self._record, None
        if record is None or not record.holds(store):
            second.backward(store)
            first.backward(store)
            return
        with first.blame():
            diff = first.tops[0].formed_diff(store).to(record.dtype)
            gradients = gradients_through(record.edges, [diff], record.leaves, self._needs())
            count = len(gradients) - len(second.layer.blobs)
            first.keep(gradients[:count], first.needs(), store)
            second.keep([None, *gradients[count:]], [False] * len(second.needs()), store)
            if first.tops[0] is not first.bottoms[0]:
                # As a Scale that runs by itself would leave it; not before, as `keep` reads it.
                factor = record.leaves[len(first.needs())].detach().clone()
                across = factor.view(-1, *[1] * (diff.dim() - 2))
                first.tops[0].defer_diff(lambda: diff * across)
                first.tops[0].diff_memory.note_computed()
