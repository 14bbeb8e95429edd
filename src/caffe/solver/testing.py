"""What the outputs of a net that tests come to over many batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import ShapeError
from ..net.net import Net
from ..proto.caffe_pb2 import SolverParameter
from .average_precision import DetectionScores
from .log import output_line


def outputs_of(net: Net) -> Iterator[tuple[str, float, float]]:
    """Yield every number of a net's outputs: the blob's name, the number, and its loss weight."""
    weights = dict(zip(net._blob_names, net._blob_loss_weights, strict=True))
    for name in net.outputs:
        for value in np.ravel(net.blobs[name].data):
            yield name, float(value), float(weights[name])


class Averages:
    """The mean of each number of the outputs.

    Parameters
    ----------
    net : Net
        The net that tests.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        self._totals: list[float] = []
        self._batches = 0

    def add(self) -> None:
        """Take in the outputs of the batch that was run."""
        values = [value for _, value, _ in outputs_of(self._net)]
        self._totals = (
            [a + b for a, b in zip(self._totals, values, strict=True)] if self._totals else values
        )
        self._batches += 1

    def outputs(self) -> Iterator[tuple[str, float, float]]:
        """Yield each output's blob, mean and loss weight."""
        for (blob, _, weight), total in zip(outputs_of(self._net), self._totals, strict=True):
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
    param : SolverParameter
        ap_version, and show_per_class_result.

    Raises
    ------
    ShapeError
        An output's rows have not 5 numbers.
    """

    def __init__(self, net: Net, param: SolverParameter) -> None:
        self._net, self._param = net, param
        self.scores = {name: DetectionScores() for name in net.outputs}
        for name in net.outputs:
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
            yield name, scores.mean(self._param.ap_version), 0.0

    def lines(self) -> Iterator[str]:
        """Yield the log's lines, as SSD has them."""
        for index, (blob, mean, _) in enumerate(self.outputs()):
            if self._param.show_per_class_result:
                for label, value in self.scores[blob].by_class(self._param.ap_version).items():
                    yield f"class{label}: {value:g}"
            yield output_line("Test", index, blob, mean, 0)


def scores_for(net: Net, param: SolverParameter) -> Averages | MeanPrecisions:
    """Return what `eval_type` asks for."""
    return MeanPrecisions(net, param) if param.eval_type == "detection" else Averages(net)
