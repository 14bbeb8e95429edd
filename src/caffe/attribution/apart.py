"""A net's layers up to a score, run apart from it."""

from __future__ import annotations

import math
import operator

import numpy as np
from numpy.typing import NDArray

from ..errors import CaffeError
from ..memory.blob import Blob, Shape
from ..net.beside import build_beside
from ..net.checks import known_blobs
from ..net.net import Net, checked_net
from ..pytorch import torch


class Apart:
    """A net's layers up to a score, run apart from it on the same parameters.

    The person's net keeps no gradients if it was not loaded for them, and what it computed last is
    theirs. So its layers are built once more, with gradients by the blobs but not by the
    parameters, and with one picture instead of the batch.

    Attributes
    ----------
    net : Net
        The layers that the score comes from.
    picture : Blob
        Its first input.
    index : int
        Where the picture stands in the batch.
    takes_any_batch : bool
        Whether pictures can be run without the rest of their batch.
    """

    def __init__(self, net: Net, output: str | None, gradients: bool) -> None:
        self._original = net
        self._input = picture_input(net)
        self._score_name, last = find_score(net, output)
        kept = ancestors(net, self._score_name, last)
        self.net = build_beside(net, kept, gradients)
        if self._input not in self.net.blobs:
            raise CaffeError(f"blob '{self._score_name}' does not come from input '{self._input}'")
        self.picture = self.net.blobs[self._input]
        self.index = 0
        self.takes_any_batch = self._takes_any_batch()

    def _takes_any_batch(self) -> bool:
        """Whether one picture's score has the shape of one of the whole batch's, and its value."""
        self._reshape(self._batch)
        score = self.net.blobs[self._score_name]
        whole = score.shape
        if not all(step.layer.is_pure or not step.bottoms for step in self.net.inside.steps):
            return False
        try:
            self._reshape(1)
        except CaffeError:
            return False
        return score.shape[:1] == (1,) and score.shape[1:] == whole[1:]

    @property
    def _batch(self) -> int:
        return self._original.blobs[self._input].shape[0]

    def _reshape(self, count: int) -> None:
        for name in self.net.inputs:
            shape = self._original.blobs[name].shape
            self.net.blobs[name].reshape(*(self._per_picture(shape, count)))
        self.net.reshape()

    def _per_picture(self, shape: Shape, count: int) -> Shape:
        return (count, *shape[1:]) if shape[:1] == (self._batch,) else shape

    def load(self, image: int, count: int = 1) -> None:
        """Put a picture of the original's batch, and what else goes with it, into the inputs."""
        index = checked_index(image, self._batch, "picture", "the batch has")
        self.index = 0 if self.takes_any_batch else index
        self._reshape(count if self.takes_any_batch else self._batch)
        for name in self.net.inputs:
            values = self._original.blobs[name].data_tensor()
            if self.takes_any_batch and values.shape[:1] == (self._batch,):
                values = values[index : index + 1].expand(count, *values.shape[1:])
            self.net.blobs[name].put_data(values.clone(memory_format=torch.contiguous_format))

    def score(self, class_index: int) -> float:
        """Run forward; return the class's score for the picture."""
        return finite_score(self.scores(class_index)[self.index], self._score_name)

    def scores(self, class_index: int) -> NDArray[np.float32]:
        """Run forward; return the class's score for each of the batch."""
        self.net.forward()
        values = self.net.blobs[self._score_name].data
        return scores_of(values, self._score_name, self.picture.shape[0], class_index)

    def backward(self, class_index: int, to: str | None = None) -> None:
        """Run the gradient of the score back to a blob, as its last maker left it."""
        seed_gradient(self.net.blobs[self._score_name], self.index, class_index)
        first = 0 if to is None else last_maker(self.net, to) + 1
        layers = len(self.net.layers)
        if first < layers:
            self.net._backward(layers - 1, first)

    def check_spatial(self, blob: str | None) -> str:
        """Return the blob's name, or that of the last one with a height and a width."""
        self._reshape(self._batch)
        known = set(self._original.blobs) - {*self.net.inputs, self._score_name}
        spatial = [
            name for name, its in self.net.blobs.items() if name in known and is_spatial(its.shape)
        ]
        if blob is None:
            if not spatial:
                raise CaffeError("no blob before the score has a height and a width")
            return spatial[-1]
        known_blobs([blob], self._original.blobs)
        if blob not in self.net.blobs:
            raise CaffeError(f"the score, '{self._score_name}', does not come from blob '{blob}'")
        shape = self.net.blobs[blob].shape
        if not is_spatial(shape):
            near = f"; '{spatial[-1]}' is the last one that has" if spatial else ""
            raise CaffeError(f"blob '{blob}' of shape {shape} has no height and width{near}")
        return blob


def scores_of(
    values: NDArray[np.float32], name: str, batch: int, class_index: int
) -> NDArray[np.float32]:
    """Return a class's score for each picture of a batch, the mean over its places."""
    if values.shape[:1] != (batch,):
        raise CaffeError(
            f"blob '{name}' of shape {values.shape} does not hold scores of each "
            f"of {batch} pictures; name one that does with output="
        )
    by_class = values.reshape(batch, values.shape[1] if values.ndim > 1 else 1, -1)
    index = checked_index(class_index, by_class.shape[1], "class", f"'{name}' has")
    scores: NDArray[np.float32] = by_class[:, index].mean(1)
    return scores


def finite_score(value: float, name: str) -> float:
    """Return a score as a plain number; raises CaffeError where it is none."""
    if not math.isfinite(value):
        raise CaffeError(
            f"the class's score in '{name}' is {value}: the weights are missing, "
            "or the weights or the picture hold values that are no finite numbers"
        )
    return float(value)


def seed_gradient(score: Blob, index: int, class_index: int) -> None:
    """Write a class's own gradient into the blob of scores: 1, shared among its places."""
    seed = np.zeros((score.shape[0], score.shape[1] if len(score.shape) > 1 else 1, 1))
    places = score.count // seed.size
    seed[index, class_index] = 1 / places
    score.diff[...] = np.broadcast_to(seed, (*seed.shape[:2], places)).reshape(score.shape)


def picture_input(net: Net) -> str:
    checked_net(net)
    if not net.inputs:
        raise CaffeError(
            "the net has no input to put pictures into: use a deploy net, whose first layer is "
            "Input, instead of one that reads a database"
        )
    shape = net.blobs[net.inputs[0]].shape
    if len(shape) != 4:
        raise CaffeError(
            f"input '{net.inputs[0]}' of shape {shape} does not hold pictures "
            "(n, channels, height, width)"
        )
    return net.inputs[0]


def find_score(net: Net, output: str | None) -> tuple[str, int]:
    """The blob that holds the classes' scores, and the layer that leaves it as the score is."""
    if output is None:
        if not net.outputs:
            raise CaffeError("the net has no output; name the blob of scores with output=")
        output = net.outputs[0]
    known_blobs([output], net.blobs)
    nodes, steps = net.inside.graph.nodes, net.inside.steps
    end = last = last_maker(net, output)
    while "data" in steps[end].layer.shares:
        end = last_maker(net, nodes[end].bottoms[0], end)
    if steps[end].layer.takes_scores:
        bottom = nodes[end].bottoms[0]
        return net._blob_names[bottom], last_maker(net, bottom, end)
    return output, last


def last_maker(net: Net, blob: str | int, before: int | None = None) -> int:
    index = net._blob_names.index(blob) if isinstance(blob, str) else blob
    nodes = net.inside.graph.nodes[:before]
    return max(i for i, node in enumerate(nodes) if index in node.tops)


def ancestors(net: Net, score: str, last: int) -> list[int]:
    """The layers that `score` comes from, as layer `last` left it."""
    nodes = net.inside.graph.nodes
    needed = {net._blob_names.index(score)}
    kept = []
    for index in range(last, -1, -1):
        if needed.intersection(nodes[index].tops):
            needed.update(nodes[index].bottoms)
            kept.append(index)
    return kept[::-1]


def is_spatial(shape: Shape) -> bool:
    return len(shape) == 4 and shape[2] * shape[3] > 1


def checked_index(index: int, count: int, what: str, owner: str) -> int:
    try:
        number = operator.index(index)
    except TypeError as error:
        raise CaffeError(f"the {what} must be a whole number, not {index!r}") from error
    if isinstance(index, bool) or not 0 <= number < count:
        raise CaffeError(f"there is no {what} {index}: {owner} {count}, numbered from 0")
    return number
