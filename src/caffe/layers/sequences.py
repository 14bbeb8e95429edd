"""Forks' layers for reading text: LSTMs of their own form, and CTC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from .. import mode
from ..errors import CaffeError, NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import (
    ContinuationIndicatorParameter,
    CTCDecoderParameter,
    CtcLossParameter,
    LabelsequenceAccuracyParameter,
    LSTMParameter,
)
from ..pytorch import F, torch
from .asking import is_any
from .layer import Layer, Parameter, register
from .loss import Loss
from .recurrent import lstm_unit

if TYPE_CHECKING:
    from torch import Tensor


def _place() -> torch.device:
    """Where a layer that has no bottom computes."""
    store = mode.current_store()
    return torch.device("cpu") if store is None else store.device


@register("ContinuationIndicator")
class ContinuationIndicator(Layer[ContinuationIndicatorParameter]):
    """Markers (time_step, N) for LSTM: 0 for the first step of each sequence, then 1.

    N is the length of the bottom's axis `axis`, or batch_size where there is no bottom.
    """

    message = "continuation_indicator_param"
    bottoms = (0, 1)
    no_gradient_for = frozenset({0})
    has_gradient = False
    differences = "of the forks"

    @property
    def is_pure(self) -> bool:
        # A plan leaves out what has no bottoms.
        return len(self.layer_param.bottom) > 0

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        count = self.param.batch_size
        if bottoms:
            count = bottoms[0][self.axis(self.param.axis, bottoms[0])]
        if count < 1 or self.param.time_step < 1:
            raise NetError("time_step must be given, and batch_size where there is no bottom")
        return [(self.param.time_step, count)]

    def forward(self, *xs: Tensor) -> Tensor:
        like = xs[0] if xs else torch.zeros((), dtype=torch.float32, device=_place())
        top = like.new_ones(self.top_shapes(*(tuple(x.shape) for x in xs))[0])
        top[0] = 0
        return top


@register("Lstm")
class Lstm(Layer[LSTMParameter]):
    """The steps of LSTMUnit, the gates being W_x x_t + b + W_h h_(t-1) (junhyukoh's LSTM).

    The bottom is (T, N, inputs) and the top (T, N, num_output); with batch_size N it is
    (T * N, ...) and the top (T * N, num_output). Every forward starts with zeros, unless a second
    bottom gives markers (T, N), 0 where a sequence begins: then with the states that the last
    forward ended with. Parameters: W_x, W_h and b, with the rows of the input, forget and output
    gates and of the new values.
    """

    message = "lstm_param"
    family = "product"
    bottoms = (1, 2)
    no_gradient_for = frozenset({1})
    differences = "of the forks"

    def setup(self, *bottoms: Shape) -> None:
        if not self.param.num_output:
            raise NetError("lstm_param.num_output must be above 0")
        self._stepped = len(bottoms[0]) == 3 and not self.param.HasField("batch_size")
        self._inputs = self._sizes(bottoms[0])[2]
        self._states: list[Tensor] | None = None

    @property
    def is_pure(self) -> bool:
        return len(self.layer_param.bottom) == 1

    def _sizes(self, shape: Shape) -> tuple[int, int, int]:
        """Return how many steps, sequences, and inputs for each."""
        if self._stepped:
            return shape[0], shape[1], shape[2]
        count = self.param.batch_size
        if not shape or not count or shape[0] % count:
            raise ShapeError(
                f"the first axis of a bottom of shape {shape} must hold the steps of batch_size "
                f"({count}) sequences"
            )
        return shape[0] // count, count, math.prod(shape[1:])

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        rows, weight = 4 * self.param.num_output, self.param.weight_filler
        return [
            Parameter((rows, self._inputs), weight),
            Parameter((rows, self.param.num_output), weight),
            Parameter((rows,), self.param.bias_filler),
        ]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shape = bottoms[0]
        if self._stepped and len(shape) != 3:
            raise ShapeError(f"the bottom must have the shape (T, N, inputs), not {shape}")
        steps, count, inputs = self._sizes(shape)
        if inputs != self._inputs:
            raise ShapeError(
                f"the parameters are for {self._inputs} inputs, but the bottom of shape {shape} "
                f"has {inputs}"
            )
        if len(bottoms) == 2 and math.prod(bottoms[1]) != steps * count:
            raise ShapeError(
                f"{steps} steps of {count} sequences need as many markers, but the second bottom's "
                f"shape is {bottoms[1]}"
            )
        lead = (steps, count) if self._stepped else (steps * count,)
        return [(*lead, self.param.num_output)]

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        steps, count, inputs = self._sizes(bottoms[0])
        outputs = self.param.num_output
        return steps * count * 4 * outputs * (inputs + outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        x, *marks, w_x, w_h, bias = inputs
        steps, count, _ = self._sizes(tuple(x.shape))
        cont = x.new_ones(steps, count)
        if marks:
            cont = (marks[0].reshape(steps, count) != 0).to(x)
        else:
            cont[:1] = 0
        given = F.linear(x.reshape(steps, count, -1), w_x, bias)
        hidden = cell = x.new_zeros(count, self.param.num_output)
        if marks and self._states is not None and self._states[0].shape == hidden.shape:
            hidden, cell = (state.to(x) for state in self._states)
        threshold = self.param.clipping_threshold
        outputs = []
        for step in range(steps):
            mark = cont[step][:, None]
            gates = given[step] + F.linear(hidden, w_h) * mark
            if threshold > 0 and gates.requires_grad:
                gates.register_hook(partial(torch.clamp, min=-threshold, max=threshold))
            cell, hidden = lstm_unit(cell, gates, mark)
            outputs.append(hidden)
        if not self.runs_again:
            self._states = [hidden.detach(), cell.detach()]
        return torch.stack(outputs).reshape(
            self.top_shapes(*(tuple(x.shape) for x in inputs[:1]))[0]
        )


@register("CtcLoss", "WarpCTC", "WarpCtc", "WarpCTCLoss", "WarpCtcLoss")
class CtcLoss(Loss[CtcLossParameter]):
    """top = sum(-log P(labels | softmax(x))) / N (Graves et al., 2006).

    Bottoms: x (T, N, C) before the softmax, and labels (N, L), where blank_label fills up. A
    sequence too short for its labels counts 0. warp_ctc_param and warp_ctc_loss_param say the
    same as ctc_loss_param.
    """

    message = "ctc_loss_param"
    differences = "of the forks, under each of its names"

    def setup(self, *bottoms: Shape) -> None:
        for name in ("warp_ctc_param", "warp_ctc_loss_param"):
            if self.layer_param.HasField(name):
                self.param = getattr(self.layer_param, name)

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        x, labels = bottoms
        if len(x) != 3 or len(labels) < 2 or labels[0] != x[1]:
            raise ShapeError(
                f"x must have the shape (T, N, C) and the labels (N, L), not {x} and {labels}"
            )
        for field, size in (("alphabet_size", x[2]), ("time_step", x[0])):
            given = getattr(self.param, field)
            if given and given != size:
                raise ShapeError(f"{field} is {given}, but x has the shape {x} (T, N, C)")
        if not 0 <= self.param.blank_label < x[2]:
            raise NetError(f"blank_label {self.param.blank_label} is none of {x[2]} classes")
        return [()]

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        blank, classes = self.param.blank_label, x.shape[2]
        rows = labels.reshape(len(labels), -1).long()
        if is_any((rows < 0) | (rows >= classes)):
            raise CaffeError(f"labels must be between 0 and {classes - 1}")
        counts = (rows != blank).sum(1)
        return F.ctc_loss(
            x.log_softmax(2),
            rows[rows != blank],
            torch.full_like(counts, len(x)),
            counts,
            blank,
            reduction="sum",
            zero_infinity=True,
        ) / len(labels)


@register("CTCLoss")
class CTCLoss(Loss[CtcLossParameter]):
    """top = sum(-log P(labels | softmax(x))) / N, the labels standing by steps (Graves, 2006).

    Bottoms: x (T, N, C) before the softmax, markers (T, N), 0 where a sequence begins, whose
    second 0 ends it, and labels (T, N), negative behind their end. With four bottoms the lengths
    of the sequences and of the labels (N each) stand before the labels instead of markers. The
    blank is blank_index, or the last class.
    """

    message = "ctc_loss_param"
    bottoms = (3, 4)
    no_gradient_for = frozenset({1, 2, 3})
    differences = "of the forks; preprocess_collapse_repeated is refused"

    def setup(self, *bottoms: Shape) -> None:
        if self.param.preprocess_collapse_repeated or not self.param.ctc_merge_repeated:
            raise NetError("only ctc_merge_repeated without preprocess_collapse_repeated is there")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        x, labels = bottoms[0], bottoms[-1]
        of_steps = math.prod(labels[2:]) == 1 and labels[1:2] == x[1:2]
        if len(x) < 3 or math.prod(x[3:]) != 1 or not of_steps:
            raise ShapeError(
                f"x must have the shape (T, N, C) and the labels (L, N), not {x} and {labels}"
            )
        if len(bottoms) == 3 and (bottoms[1][:2] != x[:2] or math.prod(bottoms[1][2:]) != 1):
            raise ShapeError(f"the markers must have the shape {x[:2]}, not {bottoms[1]}")
        if len(bottoms) == 4 and not math.prod(bottoms[1]) == math.prod(bottoms[2]) == x[1]:
            raise ShapeError(
                f"there must be as many lengths as sequences, {x[1]}, but their shapes are "
                f"{bottoms[1]} and {bottoms[2]}"
            )
        if self.param.blank_index >= x[2]:
            raise NetError(f"the blank {self.param.blank_index} is none of {x[2]} classes")
        return [()]

    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        x = x.flatten(2)
        steps, count, classes = x.shape
        columns = rest[-1].reshape(len(rest[-1]), count).T.long()
        if len(rest) == 3:
            lengths, counts = (r.reshape(-1).long() for r in rest[:2])
            if bool((lengths > steps).any() | (counts > columns.shape[1]).any()):
                raise CaffeError(
                    f"there are {steps} steps and {columns.shape[1]} labels of each sequence; "
                    "the lengths must not be above"
                )
        else:
            begins = rest[0].reshape(steps, count) == 0
            begins[0] = False
            first = begins.to(torch.uint8).argmax(0)
            lengths = torch.where(begins.any(0), first, steps)
            ends = columns < 0
            counts = torch.where(ends.any(1), ends.to(torch.uint8).argmax(1), columns.shape[1])
        if is_any(columns >= classes):
            raise CaffeError(f"labels must be below {classes}, the number of classes")
        delay = self.param.output_delay
        blank = self.param.blank_index if self.param.blank_index >= 0 else classes - 1
        return (
            F.ctc_loss(
                x[delay:].log_softmax(2),
                columns.clamp(min=0),
                (lengths - delay).clamp(min=0),
                counts,
                blank,
                reduction="sum",
                zero_infinity=True,
            )
            / count
        )


def without_repeats(classes: Sequence[int], blank: int, merge: bool = True) -> list[int]:
    """Return the labels that a path of classes stands for: repeats merged, blanks left out."""
    before = [None, *classes[:-1]]
    return [
        c
        for c, last in zip(classes, before, strict=True)
        if c != blank and not (merge and c == last)
    ]


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many insertions, deletions and changes make `b` of `a` (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


@register("CTCGreedyDecoder", "CTCDecoder", "CtcDecoder")
class CTCGreedyDecoder(Layer[CTCDecoderParameter]):
    """The labels of each step's largest class, repeats merged and blanks left out; -1 behind them.

    Bottoms: probabilities (T, N, C); perhaps markers (T, N), 0 where a sequence begins, whose
    second 0 ends it; perhaps the right labels (T, N), negative behind their end. Tops: labels
    (N, T, 1, 1); with markers perhaps the sum of the largest values, negative (N, 1, 1, 1); with
    right labels the accuracy, 1 less the mean edit distance by length, last.
    """

    message = "ctc_decoder_param"
    bottoms = (1, 3)
    tops = (1, 3)
    has_gradient = False
    no_gradient_for = frozenset({0, 1, 2})
    differences = "of the forks"

    def setup(self, *bottoms: Shape) -> None:
        most = {1: 1, 2: 2, 3: 3}[len(bottoms)]
        if len(self.layer_param.top) > most:
            raise NetError(f"{len(bottoms)} bottom(s) give at most {most} top(s)")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(bottoms[0]) < 3 or any(n != 1 for n in bottoms[0][3:]):
            raise ShapeError(f"probabilities must have the shape (T, N, C), not {bottoms[0]}")
        steps, count, classes = bottoms[0][:3]
        for what, shape in zip(("markers", "labels"), bottoms[1:], strict=False):
            if math.prod(shape) != math.prod(shape[:2]) or shape[:2] != (steps, count):
                raise ShapeError(f"the {what} must have the shape {(steps, count)}, not {shape}")
        if self._blank(classes) >= classes:
            raise NetError(f"the blank {self._blank(classes)} is none of {classes} classes")
        score, accuracy = (count, 1, 1, 1), (1, 1, 1, 1)
        tops = [(count, steps, 1, 1)]
        more = len(self.layer_param.top) - 1
        if len(bottoms) == 3:
            return [*tops, *[score] * (more > 1), *[accuracy] * (more > 0)]
        return [*tops, *[score] * more]

    def _blank(self, classes: int) -> int:
        if self.layer_param.HasField("ctc_loss_param"):
            return self.layer_param.ctc_loss_param.blank_label
        return self.param.blank_index if self.param.blank_index >= 0 else classes - 1

    def forward(self, *bottoms: Tensor) -> list[Tensor]:
        shapes = self.top_shapes(*(tuple(b.shape) for b in bottoms))
        x = bottoms[0].flatten(2)
        steps, count, classes = x.shape
        values, path = x.max(2)
        lengths = [steps] * count
        if len(bottoms) > 1:
            begins = bottoms[1].reshape(steps, count) == 0
            begins[0] = False
            lengths = [
                int(column.nonzero()[0]) if bool(column.any()) else steps for column in begins.T
            ]
        found = [
            without_repeats(
                path[:length, n].tolist(), self._blank(classes), self.param.ctc_merge_repeated
            )
            for n, length in enumerate(lengths)
        ]
        labels = x.new_full((count, steps), -1)
        for row, sequence in zip(labels, found, strict=True):
            row[: len(sequence)] = torch.tensor(sequence).to(x)
        scores = torch.stack([-values[:length, n].sum() for n, length in enumerate(lengths)])
        tops = [labels.view(shapes[0])]
        more = len(self.layer_param.top) - 1
        if len(bottoms) < 3 or more > 1:
            tops += [scores.view(-1, 1, 1, 1)] * min(more, 1)
        if len(bottoms) == 3 and more:
            tops.append(x.new_tensor(self._accuracy(found, bottoms[2])).view(1, 1, 1, 1))
        return tops

    @staticmethod
    def _accuracy(found: Sequence[Sequence[int]], targets: Tensor) -> float:
        total = 0.0
        for sequence, column in zip(found, targets.flatten(1).T.tolist(), strict=True):
            ends = next((i for i, label in enumerate(column) if label < 0), len(column))
            wanted = [int(label + 0.5) for label in column[:ends]]
            longest = max(len(wanted), len(sequence))
            if longest:
                total += edit_distance(wanted, sequence) / longest
        return 1 - total / len(found)


@register("LabelsequenceAccuracy")
class LabelsequenceAccuracy(Layer[LabelsequenceAccuracyParameter]):
    """The share of sequences whose labels are all right.

    Bottoms: scores (N, T, C) and labels (N, L); blank_label is left out of both.
    """

    message = "labelsequence_accuracy_param"
    family = "loss"
    bottoms = 2
    has_gradient = False
    no_gradient_for = frozenset({0, 1})
    differences = "of the forks"

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        scores, labels = bottoms
        if len(scores) != 3 or len(labels) < 2 or scores[0] != labels[0]:
            raise ShapeError(
                f"scores must have the shape (N, T, C) and labels (N, L), not {scores} and {labels}"
            )
        return [()]

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        blank = self.param.blank_label
        right = 0
        for path, row in zip(scores.argmax(2).tolist(), labels.flatten(1).tolist(), strict=True):
            wanted = [int(label) for label in row if label != blank]
            right += without_repeats(path, blank) == wanted
        return scores.new_tensor(right / max(1, len(scores)))
