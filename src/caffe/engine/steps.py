"""One layer of a net with its blobs: set up, shaped, run, and its gradient taken."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import mode
from ..errors import NetError
from ..graph import Node
from ..layers import asking
from ..layers.description import Count
from ..layers.layer import Layer, as_tensors
from ..memory.blob import Blob, Shape
from ..memory.stores import Store
from ..memory.synced import SyncedMemory
from ..pytorch import torch
from ..vectors import BlobVec, RawBlobVec
from .blame import Blame
from .record import Record

if TYPE_CHECKING:
    from torch import Tensor

Loss: TypeAlias = "float | Tensor"
"""What a net loses: in a store, and not to be asked for yet, where questions are put off."""

MOST_NAMED = 8
"""How many of a layer's bottoms an error names."""


@dataclass
class Step:
    """One layer with the blobs that it reads and writes.

    Attributes
    ----------
    node : Node
        The layer's place in the graph, which says what it adds to the loss and whose gradients
        the backward pass computes.
    bottom_names, top_names : list of str
        The blobs' names.
    is_recorded : bool
        Whether forward is recorded where that spares the gradient a second one.
    is_changed_later : bool
        Whether somebody else takes the parameters that forward itself has changed.
    """

    node: Node
    layer: Layer
    bottoms: list[Blob]
    tops: list[Blob]
    bottom_names: list[str]
    top_names: list[str]
    is_recorded: bool = False
    is_changed_later: bool = False
    _shapes: tuple[Shape, ...] | None = None
    _original: Callable[[], Tensor] | None = None
    _record: Record | None = None

    @property
    def label(self) -> str:
        """How errors name the layer."""
        return self.node.label

    @property
    def loss_weights(self) -> list[float]:
        """What each top adds to the loss; the tops' diffs hold them."""
        return self.node.loss_weights

    @property
    def need_backward(self) -> bool:
        """Whether the backward pass visits the layer."""
        return self.node.need_backward

    @property
    def is_in_place(self) -> bool:
        """Whether a top takes the first bottom's place."""
        return bool(self.bottoms) and any(top is self.bottoms[0] for top in self.tops)

    @property
    def dtype(self) -> torch.dtype:
        """What the layer computes in: short numbers in a training that has them, if it takes them.

        Sums over a batch or over neighbours lose too many digits in them.
        """
        layer = self.layer
        is_short = (
            mode.trains_in_bfloat16()
            and self.is_recorded
            and layer.takes_short_numbers
            and layer.family != "normalization"
            and not layer.is_patched
        )
        return torch.bfloat16 if is_short else torch.float32

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: no forward that could be gone back through."""
        return {**vars(self), "_record": None}

    @property
    def steps(self) -> tuple[Step, ...]:
        """The step itself: what runs as one may be of several."""
        return (self,)

    def beside(self, layer: Layer) -> Step:
        """Return a step of the same place that runs another layer, as yet without blobs."""
        made = copy.copy(self)
        made.layer, made.bottoms, made.tops = layer, RawBlobVec(), RawBlobVec()
        made._record = made._original = None
        return made

    def setup(self) -> None:
        """Let the layer check its place, make its parameters and shape its tops."""
        layer = self.layer
        with self.blame():
            _check_count("bottom", len(self.bottoms), layer.bottoms)
            _check_count("top", len(self.tops), layer.tops)
            if layer.equal_tops and len(self.tops) != len(self.bottoms):
                raise NetError(
                    f"there are {len(self.bottoms)} bottoms but {len(self.tops)} tops: "
                    "the layer takes as many of one as of the other"
                )
            if layer.forbids_in_place and any(top in self.bottoms for top in self.tops):
                raise NetError("the layer cannot run in place: give its top a name of its own")
            if layer.on_blobs:
                layer.setup_blobs(self.bottoms, self.tops)
                # A list of somebody's own making holds parameters, too.
                if not isinstance(layer.blobs, BlobVec):
                    layer.blobs = BlobVec(layer.blobs)
            else:
                shapes = [blob.shape for blob in self.bottoms]
                layer.setup(*shapes)
                layer.blobs = BlobVec(wanted.blob() for wanted in layer.parameters(*shapes))
        self.reshape()

    def reshape(self) -> None:
        """Give the tops the shapes that follow from the bottoms'."""
        if self._shapes == ():
            # Without bottoms the first shapes are only a start: the person may reshape the tops.
            return
        self._shapes = self._bottom_shapes()
        before = [top.shape for top in self.tops]
        with self.blame():
            if self.layer.on_blobs:
                self.layer.reshape_blobs(self.bottoms, self.tops)
            else:
                shapes = self.layer.top_shapes(*self._shapes)
                for top, shape in zip(self.tops, shapes, strict=True):
                    self._check_in_place(top, shape)
                for top, shape in zip(self.tops, shapes, strict=True):
                    top.reshape(*shape)
            self._share()
            for top, weight, old in zip(self.tops, self.loss_weights, before, strict=False):
                if weight and top.shape != old:
                    self._set_loss_weight(top, weight)

    def _check_in_place(self, top: Blob, shape: Shape) -> None:
        if any(top is bottom for bottom in self.bottoms) and top.shape != shape:
            raise NetError(
                f"the layer makes the shape {shape} of {top.shape}, so that it cannot run in "
                "place: give its top a name of its own",
                word=self.layer.name,
            )

    def follow(self) -> None:
        """Reshape the tops if a bottom has another shape than before.

        Its memory may be another one even where the shape is the same again.
        """
        if self._shapes != self._bottom_shapes():
            self.reshape()
        else:
            self._share()

    def put_loss_weights(self) -> None:
        """Put into the tops' diffs what each of them adds to the loss."""
        with self.blame():
            for top, weight in zip(self.tops, self.loss_weights, strict=False):
                if weight:
                    self._set_loss_weight(top, weight)

    def forward(self, store: Store | None) -> Loss:
        """Compute the tops; return what they add to the loss."""
        layer = self.layer
        questions = asking.put_off()
        if questions is not None:
            questions.blame = self.blame
        with self.blame():
            self.follow()
            if layer.on_blobs:
                layer.reshape_blobs(self.bottoms, self.tops)
                layer.forward_blobs(self.bottoms, self.tops)
            elif layer.shares and not layer.is_patched:
                self._share()
            else:
                self._compute(store)
        return self.loss(store)

    def loss(self, store: Store | None) -> Loss:
        """Return what the tops add to the loss as they stand."""
        weights = self.loss_weights
        if not any(weights):
            return 0.0
        weighted = [top for top, w in zip(self.tops, weights, strict=False) if w]
        with self.blame():
            return sum_of(_dot(top, store) for top in weighted)

    def let_go(self, given: Collection[int]) -> None:
        """Drop what the last passes have computed, unless it is held: the next ones will anew.

        Then the memory of a step of training is free before the next one begins, in large pieces.

        Parameters
        ----------
        given : collection of int
            The memories that the program writes: what layers have made in their place stays.
        """
        self._record = self._original = None
        for blob in self.tops:
            blob.let_go(given)

    def backward(self, store: Store | None) -> None:
        """Compute the gradients by the bottoms and add those by the parameters."""
        layer = self.layer
        with self.blame():
            if layer.on_blobs:
                layer.backward_blobs(self.tops, self.node.bottom_need_backward, self.bottoms)
                return
            if layer.shares >= {"data", "diff"}:
                return
            if self.is_of_nothing:
                self.keep([None] * len(self.bottoms), self.node.bottom_need_backward, store)
                return
            record, self._record = self._record, None
            dtype = self.dtype
            if record is not None and record.dtype == dtype and record.holds(store):
                inputs, edges = record.leaves, record.edges
            else:
                inputs, edges = self.inputs(store, dtype), None
                if self._original is not None:
                    inputs[0] = self._original()
            diffs = [self._as_taken(top.formed_diff(store), dtype) for top in self.tops]
            tops = [_of_type(top.formed_data(store), dtype) for top in self.tops]
            if not layer.takes_any_strides:
                tops = [top.contiguous() for top in tops]
            diffs = [_lying_as(diff, top) for diff, top in zip(diffs, tops, strict=True)]
            needs = self.needs()
            gradients = layer.backward_through(edges, diffs, tops, inputs, needs)
            self.keep(gradients, needs, store)

    def needs(self) -> list[bool]:
        """Say of each input, bottoms before parameters, whether its gradient is wanted."""
        layer = self.layer
        return [
            (need or layer.ignores_propagate_down) and i not in layer.no_gradient_for
            for i, need in enumerate(self.node.bottom_need_backward)
        ] + self.node.param_need_backward

    def blame(self) -> Blame:
        """Turn whatever is raised inside into an error that names the layer and its blobs."""
        return Blame(self)

    @property
    def is_of_nothing(self) -> bool:
        """Whether there is nothing to compute: an empty batch makes empty tops, or a loss of 0."""
        if not self.bottoms or not self.tops or (self.bottoms[0].count and self.tops[0].count):
            return False
        layer = self.layer
        if layer.on_blobs or layer.is_patched:
            return False
        if all(top.count == 0 for top in self.tops):
            return True
        return layer.is_zero_of_nothing and self.bottoms[0].count == 0

    def facts(self) -> str:
        """Return the bottoms' names and shapes and the parameters' shapes, for errors."""
        return said_of(zip(self.bottom_names, self._bottom_shapes(), strict=True), self.layer.blobs)

    def _compute(self, store: Store | None) -> None:
        if self.is_of_nothing:
            for top in self.tops:
                top.put_data(torch.zeros(top.shape, dtype=torch.float32))
            return
        dtype = self.dtype
        inputs = self.inputs(store, dtype)
        in_place = bool(self.tops) and bool(self.bottoms) and self.tops[0] is self.bottoms[0]
        self._record = None
        record = None
        if in_place and self.need_backward and self.bottoms[0].memory.is_lent:
            # What is lent is written into.
            inputs[0] = inputs[0].clone()
        if in_place and self.layer.keeps_bottom and self.need_backward:
            before = inputs[0]
            self.remember(lambda: before)
        # In place and without its bottom a layer's gradient is, as in Caffe, that at its top.
        is_at_top = in_place and not self.layer.keeps_bottom
        is_trained = self.need_backward and self.is_recorded
        if is_trained and not is_at_top and self.layer.wants_record(inputs):
            leaves, kept = self.layer.record(inputs, self.needs())
            record = Record(leaves, kept, store)
            results: Sequence[Tensor] = [result.detach() for result in kept]
        elif is_trained and not self.layer.is_patched:
            results = as_tensors(self.layer.forward_in_training(*inputs))
        else:
            results = as_tensors(self.layer.forward(*inputs))
        taken = {x.untyped_storage().data_ptr() for x in inputs}
        for top, result in zip(self.tops, results, strict=False):
            if in_place and _is_same(result, inputs[0]) and result.shape == top.shape:
                continue
            values = result if result.dtype == dtype else result.float()
            storage = values.untyped_storage().data_ptr()
            # A bottom's memory, or that of a top before, is not this top's too.
            self.put(top, values.clone() if storage in taken else values, store)
            taken.add(storage)
        self.put_changed(store)
        if record is not None:
            record.note(self)
            self._record = record

    @staticmethod
    def put(top: Blob, values: Tensor, store: Store | None) -> None:
        """Take what was computed as a top's data."""
        top.put_data(values, store)
        top.memory.note_computed()

    def put_changed(self, store: Store | None) -> None:
        """Take the parameters that forward itself has changed."""
        if self.is_changed_later:
            return
        changed = self.layer.changed_parameters()
        for blob, values in zip(self.layer.blobs, changed or (), strict=False):
            blob.put_data(values, store)

    def remember(self, original: Callable[[], Tensor]) -> None:
        """Note how to have the first bottom as it was, if the gradient needs it and it is gone."""
        is_kept = self.is_in_place and self.layer.keeps_bottom
        self._original = original if is_kept else None
        self._record = None

    def go_back_as(self, other: Step) -> None:
        """Have the first bottom as it was from another step, which has run in this one's place."""
        self._record, self._original = None, other._original

    def again(self, store: Store | None) -> Sequence[Tensor]:
        """Compute the tops once more, from the bottoms as they were, and leave no trace."""
        inputs = self.inputs(store)
        if self._original is not None:
            inputs[0] = self._original()
        with self.layer.again():
            return as_tensors(self.layer.forward(*inputs))

    def keep(
        self, gradients: Sequence[Tensor | None], needs: Sequence[bool], store: Store | None
    ) -> None:
        split = len(self.bottoms)
        holders = {
            top.formed_diff(store).untyped_storage().data_ptr(): [top.diff_memory]
            for top in self.tops
        }
        for blob, gradient, need in zip(self.bottoms, gradients, needs, strict=False):
            if need:
                if gradient is None:
                    gradient = torch.zeros_like(blob.data_tensor(store))
                is_whole = gradient.shape == blob.shape
                values = gradient if is_whole else gradient.expand(blob.shape)
                self._put_diff(blob, values, holders, store)
        if not self.layer.blobs:
            return
        for blob, gradient in zip(self.layer.blobs, gradients[split:], strict=False):
            if gradient is not None:
                storage = gradient.untyped_storage()
                # A part of something larger would keep all of that.
                is_part = storage.nbytes() > gradient.nbytes
                own = gradient.clone() if is_part or storage.data_ptr() in holders else gradient
                blob.add_diff(_of_type(own, torch.float32).reshape(blob.shape), store)

    @staticmethod
    def _put_diff(
        blob: Blob, values: Tensor, holders: dict[int, list[SyncedMemory]], store: Store | None
    ) -> None:
        """Take values as a bottom's diff; sums give several bottoms the same, and their top's."""
        own, key = blob.diff_memory, values.untyped_storage().data_ptr()
        others = [memory for memory in holders.get(key, ()) if memory is not own]
        is_written = own.is_lent or any(memory.formed is None for memory in others)
        if others and is_written:
            # They may be written into at any time.
            values, others = values.clone(), []
        else:
            holders[key] = [*others, own]
        blob.put_diff(values, store)
        own.note_computed()
        for memory in (*others, own) if others else ():
            if memory.formed is not None:
                memory.formed.is_shared = True

    def _share(self) -> None:
        shares = self.layer.shares
        if not shares:
            return
        for top in self.tops:
            if self.layer.is_patched:
                top.part_from(self.bottoms[0])
                continue
            if "data" in shares:
                top.share_data(self.bottoms[0])
            if "diff" in shares:
                top.share_diff(self.bottoms[0])

    def inputs(self, store: Store | None, dtype: torch.dtype | None = None) -> list[Tensor]:
        """Return the bottoms and the parameters as the layer takes them, of its type or another."""
        dtype = dtype or self.dtype
        found = [self._as_taken(blob.formed_data(store), dtype) for blob in self.bottoms]
        found += [_of_type(blob.data_tensor(store), dtype) for blob in self.layer.blobs]
        return found

    def _as_taken(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return `x` as the layer takes it; pictures channels last, which convolutions like."""
        x = _of_type(x, dtype)
        if not self.layer.takes_any_strides:
            return x.contiguous()
        if self.layer.family != "convolution" or x.dim() != 4 or not self.is_recorded:
            return x
        is_quicker = dtype != torch.float32 or x.device.type == "cpu" or mode.allows_tf32()
        return channels_last(x) if is_quicker else x

    def _bottom_shapes(self) -> tuple[Shape, ...]:
        return tuple(blob.shape for blob in self.bottoms)

    @staticmethod
    def _set_loss_weight(top: Blob, weight: float) -> None:
        top.put_diff(torch.full(top.shape, weight, dtype=torch.float32))


def channels_last(x: Tensor) -> Tensor:
    """Return pictures so that all channels of a place are beside each other, as the strides say.

    Those of one channel are so anyway, but PyTorch's convolutions look at the strides.
    """
    if x.shape[1] != 1 or not x.is_contiguous():
        return x.contiguous(memory_format=torch.channels_last)
    height, width = x.shape[2:]
    return x.as_strided(x.shape, (height * width, 1, width, 1))


def sum_of(losses: Iterable[Loss]) -> Loss:
    """Return the sum of some losses; 0 of none."""
    return sum(losses, 0.0)


def _of_type(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x if x.dtype == dtype else x.to(dtype)


def _lying_as(diff: Tensor, top: Tensor) -> Tensor:
    """Return a gradient in its top's order in memory: to mix two takes PyTorch's kernels long."""
    if diff.stride() == top.stride() or not top.is_contiguous(memory_format=torch.channels_last):
        return diff
    return channels_last(diff)


def _is_same(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors are the same numbers in the same memory and order."""
    return x.data_ptr() == y.data_ptr() and x.stride() == y.stride() and x.dtype == y.dtype


def _dot(top: Blob, store: Store | None) -> Loss:
    product = (top.formed_data(store) * top.formed_diff(store)).sum()
    return float(product) if asking.put_off() is None else product


def _check_count(what: str, count: int, allowed: Count) -> None:
    least, most = (allowed, allowed) if isinstance(allowed, int) else allowed
    if count < least or (most is not None and count > most):
        wanted = f"{least}" if least == most else f"{least} or more"
        if most is not None and most != least:
            wanted = f"{least} to {most}"
        raise NetError(f"the layer takes {wanted} {what}(s), but {count} are given")


def said_of(bottoms: Iterable[tuple[str, Shape]], params: Sequence[Blob]) -> str:
    """Return names and shapes of a layer's bottoms and shapes of its parameters, for errors."""
    named = [f"'{name}' {shape}" for name, shape in bottoms]
    shown = ", ".join(named[:MOST_NAMED]) or "none"
    if len(named) > MOST_NAMED:
        shown += f" and {len(named) - MOST_NAMED} more"
    return f"bottoms {shown}; parameters {', '.join(str(blob.shape) for blob in params) or 'none'}"
