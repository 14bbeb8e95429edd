"""What the outputs of a net that tests come to over many batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import CaffeError, ShapeError
from ..net.net import Net
from ..proto.caffe_pb2 import SolverParameter
from .average_precision import DetectionScores
from .log import output_line


def outputs_of(net: Net, names: Sequence[str] | None = None) -> Iterator[tuple[str, float, float]]:
    """Yield every number of a net's outputs: the blob's name, the number, and its loss weight."""
    weights = dict(zip(net._blob_names, net._blob_loss_weights, strict=True))
    for name in net.outputs if names is None else names:
        for value in np.ravel(net.blobs[name].data):
            yield name, float(value), float(weights[name])


class Averages:
    """The mean of each number of the outputs.

    Parameters
    ----------
    net : Net
        The net that tests.
    names : sequence of str, optional
        Which of its outputs; by default all.
    """

    def __init__(self, net: Net, names: Sequence[str] | None = None) -> None:
        self._net, self._names = net, names
        self._totals: list[float] = []
        self._batches = 0

    def add(self) -> None:
        """Take in the outputs of the batch that was run.

        Raises
        ------
        CaffeError
            They are not as many numbers as those of the batch before.
        """
        values = [value for _, value, _ in self.last()]
        totals = self._totals or [0.0] * len(values)
        if len(values) != len(totals):
            names = ", ".join(self._net.outputs if self._names is None else self._names)
            raise CaffeError(
                f"outputs of which one batch has {len(totals)} numbers and the next {len(values)} "
                f"have no mean ({names}); those of DetectionEvaluate are for eval_type: 'detection'"
            )
        self._totals = [a + b for a, b in zip(totals, values, strict=True)]
        self._batches += 1

    def last(self) -> Iterator[tuple[str, float, float]]:
        """Yield the numbers of the batch that was run: each one's blob, value and loss weight."""
        return outputs_of(self._net, self._names)

    def outputs(self) -> Iterator[tuple[str, float, float]]:
        """Yield each output's blob, mean and loss weight."""
        for (blob, _, weight), total in zip(self.last(), self._totals, strict=True):
            yield blob, total / self._batches, weight

    def lines(self) -> Iterator[str]:
        """Yield the log's lines."""
        for index, (blob, mean, weight) in enumerate(self.outputs()):
            yield output_line("Test", index, blob, mean, weight)


class MeanPrecisions:
    """The mean average precision of each output, which DetectionEvaluate makes (SSD).

    Parameters
    ----------
    net : Net
        The net that tests.
    version : {"11point", "MaxIntegral", "Integral"}
        How it is counted (ap_version).
    names : sequence of str, optional
        Which of the net's outputs; by default all.
    tells_classes : bool
        Whether `lines` has each class's, too (show_per_class_result).

    Raises
    ------
    ShapeError
        An output's rows have not 5 numbers.
    """

    def __init__(
        self,
        net: Net,
        version: str,
        names: Sequence[str] | None = None,
        tells_classes: bool = False,
    ) -> None:
        self._net, self._version, self._tells_classes = net, version, tells_classes
        self.scores = {name: DetectionScores() for name in names or net.outputs}
        for name in self.scores:
            if tuple(net.blobs[name].shape)[-1:] != (5,):
                raise ShapeError(
                    f"eval_type: 'detection' takes outputs of DetectionEvaluate, but '{name}' has "
                    f"the shape {tuple(net.blobs[name].shape)}"
                )

    def add(self) -> None:
        """Take in the outputs of the batch that was run."""
        for name, scores in self.scores.items():
            scores.add(self._net.blobs[name].data)

    def outputs(self) -> Iterator[tuple[str, float, float]]:
        """Yield each output's blob, mean average precision, and loss weight, which is 0."""
        for name, scores in self.scores.items():
            yield name, scores.mean(self._version), 0.0

    def class_lines(self, name: str) -> Iterator[str]:
        """Yield the line of each class of an output, as SSD has them."""
        for label, value in self.scores[name].by_class(self._version).items():
            yield f"class{label}: {value:g}"

    def lines(self) -> Iterator[str]:
        """Yield the log's lines, as SSD has them."""
        for index, (blob, mean, _) in enumerate(self.outputs()):
            if self._tells_classes:
                yield from self.class_lines(blob)
            yield output_line("Test", index, blob, mean, 0)


def scores_for(net: Net, param: SolverParameter) -> Averages | MeanPrecisions:
    """Return what `eval_type` asks for."""
    if param.eval_type == "detection":
        return MeanPrecisions(net, param.ap_version, tells_classes=param.show_per_class_result)
    return Averages(net)
