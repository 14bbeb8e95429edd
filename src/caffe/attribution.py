"""Which places of a picture a class's score comes from: saliency, Grad-CAM and occlusion.

The maps are plain arrays; `caffe.vis` lays them over the picture. They ask nothing of how the
net was loaded: it needs no ``force_backward``, and its blobs stay as they are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import CaffeError, ShapeError
from .guarded import guarded
from .memory.blob import Shape
from .net.beside import build_beside
from .net.checks import known_blobs
from .net.net import Net, checked_net
from .pytorch import torch

OCCLUDED_AT_ONCE = 16
"""Pictures per forward pass of `occlusion_map`."""

Map = NDArray[np.float32]


@guarded
def saliency_map(net: Net, class_index: int, image: int = 0, output: str | None = None) -> Map:
    """Return how strongly a class's score answers to each pixel (Simonyan et al., 2014).

    It is the largest, over the channels, of the absolute gradient of the score by the input, from
    Caffe's backward pass. The score is the class's value before the last Softmax, or the output
    where there is none; of a class that has a value at each of several places, it is their mean.

    Parameters
    ----------
    net : Net
        With the pictures in its first input, (n, channels, height, width).
    class_index : int
        The class, counted from 0.
    image : int
        Which picture of the batch.
    output : str, optional
        The blob of probabilities or scores; the net's first output by default.

    Returns
    -------
    numpy.ndarray
        (height, width) of the input, float32, not negative; in score per unit of the input.

    Raises
    ------
    CaffeError
        The net has no input of pictures, no such output, class or picture in the batch.

    Examples
    --------
    >>> net = caffe.Net('''
    ...     layer { name: "data" type: "Input" top: "data"
    ...             input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
    ...     layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {
    ...             num_output: 2 weight_filler { type: "constant" value: 0.5 } } }
    ...     layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }''', caffe.TEST)
    >>> saliency = caffe.attribution.saliency_map(net, class_index=1)
    >>> saliency.shape, float(saliency.max())
    ((8, 8), 0.5)
    """
    apart = _Apart(net, output, gradients=True)
    apart.load(image)
    apart.score(class_index)
    apart.backward(class_index)
    steepest: NDArray[np.float32] = np.abs(apart.picture.diff[apart.index]).max(axis=0)
    return steepest


@guarded
def grad_cam_map(
    net: Net, blob: str | None, class_index: int, image: int = 0, output: str | None = None
) -> Map:
    """Return where a blob's maps speak for a class (Grad-CAM, Selvaraju et al., 2017).

    Each map counts by the mean of the score's gradient over it; of their sum, what is above zero
    is enlarged bilinearly to the input's size. The score is that of `saliency_map`.

    Parameters
    ----------
    net : Net
        With the pictures in its first input.
    blob : str or None
        A blob of shape (n, maps, height, width); the last such one before the score if None.
    class_index, image, output
        As for `saliency_map`.

    Returns
    -------
    numpy.ndarray
        (height, width) of the input, float32, from 0 to 1; zeros where nothing speaks for the
        class.

    Raises
    ------
    CaffeError
        As for `saliency_map`; there is no such blob, it has no height and width, or the score does
        not come from it.
    """
    apart = _Apart(net, output, gradients=True)
    name = apart.check_spatial(blob)
    apart.load(image)
    apart.score(class_index)
    apart.backward(class_index, to=name)
    maps, gradient = apart.net.blobs[name].data, apart.net.blobs[name].diff
    weights = gradient[apart.index].mean(axis=(1, 2))
    found = np.maximum(np.tensordot(weights, maps[apart.index], axes=1), 0)
    enlarged = _resized(found, apart.picture.shape[2:])
    most = enlarged.max()
    return enlarged / most if most > 0 else enlarged


@guarded
def occlusion_map(
    net: Net,
    class_index: int,
    image: int = 0,
    size: int | None = None,
    stride: int | None = None,
    fill: float | Sequence[float] = 0.0,
    output: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Map:
    """Return how much a class's score falls when a square hides each place (Zeiler et al., 2014).

    The square moves over the picture; a pixel's value is the mean fall over the squares that hid
    it. No gradient is needed, so that it also holds for layers without one.

    Parameters
    ----------
    net : Net
        With the pictures in its first input.
    class_index, image, output
        As for `saliency_map`.
    size : int, optional
        The square's side in pixels; a seventh of the input's shorter side by default.
    stride : int, optional
        How far it moves at a time, at most `size`; half of `size` by default.
    fill : float or sequence of float
        What stands in the square, in the input's own units, for all channels or one each. 0 is
        the mean picture of nets that subtract it.
    progress : callable, optional
        Called with how many squares are done, and of how many.

    Returns
    -------
    numpy.ndarray
        (height, width) of the input, float32, in score: positive where hiding lowers it.

    Raises
    ------
    CaffeError
        As for `saliency_map`; `size`, `stride` or `fill` do not fit the input.
    """
    apart = _Apart(net, output, gradients=False)
    height, width = apart.picture.shape[2:]
    if size is None:
        size = max(1, min(height, width) // 7)
    _check_extent("size", size, min(height, width), apart.picture.shape)
    if stride is None:
        stride = max(1, size // 2)
    _check_extent("stride", stride, size, apart.picture.shape)
    filling = _filling(fill, apart.picture.shape[1])
    apart.load(image)
    whole = apart.score(class_index)
    corners = [(y, x) for y in _starts(height, size, stride) for x in _starts(width, size, stride)]
    fall = np.zeros((height, width), np.float64)
    times = np.zeros((height, width), np.float64)
    step = OCCLUDED_AT_ONCE if apart.takes_any_batch else 1
    for begin in range(0, len(corners), step):
        some = corners[begin : begin + step]
        apart.load(image, len(some))
        data = apart.picture.data
        for i, (y, x) in enumerate(some):
            data[apart.index + i, :, y : y + size, x : x + size] = filling
        scores = apart.scores(class_index)
        for i, (y, x) in enumerate(some):
            fall[y : y + size, x : x + size] += whole - scores[apart.index + i]
            times[y : y + size, x : x + size] += 1
        if progress is not None:
            progress(begin + len(some), len(corners))
    return (fall / times).astype(np.float32)


@guarded
def last_spatial_blob(net: Net, output: str | None = None) -> str:
    """Return the last blob with a height and a width before the score: Grad-CAM's usual one.

    Raises
    ------
    CaffeError
        As for `saliency_map`, or there is no such blob.
    """
    return _Apart(net, output, gradients=False).check_spatial(None)


class _Apart:
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
        self._input = _picture_input(net)
        self._score_name, last = _find_score(net, output)
        kept = _ancestors(net, self._score_name, last)
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
        index = _checked_index(image, self._batch, "picture", "the batch has")
        self.index = 0 if self.takes_any_batch else index
        self._reshape(count if self.takes_any_batch else self._batch)
        for name in self.net.inputs:
            values = self._original.blobs[name].data_tensor()
            if self.takes_any_batch and values.shape[:1] == (self._batch,):
                values = values[index : index + 1].expand(count, *values.shape[1:])
            self.net.blobs[name].put_data(values.clone(memory_format=torch.contiguous_format))

    def score(self, class_index: int) -> float:
        """Run forward; return the class's score for the picture."""
        found = float(self.scores(class_index)[self.index])
        if not math.isfinite(found):
            raise CaffeError(
                f"the class's score in '{self._score_name}' is {found}: the weights are missing, "
                "or the weights or the picture hold values that are no finite numbers"
            )
        return found

    def scores(self, class_index: int) -> NDArray[np.float32]:
        """Run forward; return the class's score for each of the batch."""
        self.net.forward()
        values = self.net.blobs[self._score_name].data
        batch = self.picture.shape[0]
        if values.shape[:1] != (batch,):
            raise CaffeError(
                f"blob '{self._score_name}' of shape {values.shape} does not hold scores of each "
                f"of {batch} pictures; name one that does with output="
            )
        by_class = values.reshape(batch, values.shape[1] if values.ndim > 1 else 1, -1)
        what = f"'{self._score_name}' has"
        index = _checked_index(class_index, by_class.shape[1], "class", what)
        scores: NDArray[np.float32] = by_class[:, index].mean(1)
        return scores

    def backward(self, class_index: int, to: str | None = None) -> None:
        """Run the gradient of the score back to a blob, as its last maker left it."""
        score = self.net.blobs[self._score_name]
        seed = np.zeros((score.shape[0], score.shape[1] if len(score.shape) > 1 else 1, 1))
        places = score.count // seed.size
        seed[self.index, class_index] = 1 / places
        score.diff[...] = np.broadcast_to(seed, (*seed.shape[:2], places)).reshape(score.shape)
        first = 0 if to is None else _last_maker(self.net, to) + 1
        layers = len(self.net.layers)
        if first < layers:
            self.net._backward(layers - 1, first)

    def check_spatial(self, blob: str | None) -> str:
        """Return the blob's name, or that of the last one with a height and a width."""
        self._reshape(self._batch)
        known = set(self._original.blobs) - {*self.net.inputs, self._score_name}
        spatial = [
            name for name, its in self.net.blobs.items() if name in known and _is_spatial(its.shape)
        ]
        if blob is None:
            if not spatial:
                raise CaffeError("no blob before the score has a height and a width")
            return spatial[-1]
        known_blobs([blob], self._original.blobs)
        if blob not in self.net.blobs:
            raise CaffeError(f"the score, '{self._score_name}', does not come from blob '{blob}'")
        shape = self.net.blobs[blob].shape
        if not _is_spatial(shape):
            near = f"; '{spatial[-1]}' is the last one that has" if spatial else ""
            raise CaffeError(f"blob '{blob}' of shape {shape} has no height and width{near}")
        return blob


def _picture_input(net: Net) -> str:
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


def _find_score(net: Net, output: str | None) -> tuple[str, int]:
    """The blob that holds the classes' scores, and the layer that leaves it as the score is."""
    if output is None:
        if not net.outputs:
            raise CaffeError("the net has no output; name the blob of scores with output=")
        output = net.outputs[0]
    known_blobs([output], net.blobs)
    nodes, steps = net.inside.graph.nodes, net.inside.steps
    end = last = _last_maker(net, output)
    while "data" in steps[end].layer.shares:
        end = _last_maker(net, nodes[end].bottoms[0], end)
    if steps[end].layer.takes_scores:
        bottom = nodes[end].bottoms[0]
        return net._blob_names[bottom], _last_maker(net, bottom, end)
    return output, last


def _last_maker(net: Net, blob: str | int, before: int | None = None) -> int:
    index = net._blob_names.index(blob) if isinstance(blob, str) else blob
    nodes = net.inside.graph.nodes[:before]
    return max(i for i, node in enumerate(nodes) if index in node.tops)


def _ancestors(net: Net, score: str, last: int) -> list[int]:
    """The layers that `score` comes from, as layer `last` left it."""
    nodes = net.inside.graph.nodes
    needed = {net._blob_names.index(score)}
    kept = []
    for index in range(last, -1, -1):
        if needed.intersection(nodes[index].tops):
            needed.update(nodes[index].bottoms)
            kept.append(index)
    return kept[::-1]


def _is_spatial(shape: Shape) -> bool:
    return len(shape) == 4 and shape[2] * shape[3] > 1


def _checked_index(index: int, count: int, what: str, owner: str) -> int:
    try:
        number = operator.index(index)
    except TypeError as error:
        raise CaffeError(f"the {what} must be a whole number, not {index!r}") from error
    if isinstance(index, bool) or not 0 <= number < count:
        raise CaffeError(f"there is no {what} {index}: {owner} {count}, numbered from 0")
    return number


def _resized(values: NDArray[np.float32], size: Shape) -> Map:
    """Enlarge bilinearly; unlike Caffe's own resizing this does not darken the border."""
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    height, width = size
    return np.array(picture.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def _check_extent(what: str, value: int, most: int, shape: Shape) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise CaffeError(f"{what} must be a whole number of pixels, not {value!r}")
    if not 1 <= value <= most:
        inputs = f"{shape[2]} x {shape[3]}"
        raise CaffeError(f"{what} must be 1 to {most} pixels, not {value} (the input is {inputs})")


def _filling(fill: float | Sequence[float], channels: int) -> NDArray[np.float32]:
    try:
        values = np.asarray(fill, dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError
        return np.broadcast_to(values.reshape(-1), (channels,)).reshape(channels, 1, 1)
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"fill must be one number, or one for each of {channels} channels, not {fill!r}"
        ) from error


def _starts(extent: int, size: int, stride: int) -> list[int]:
    """Where squares begin so that all of the extent is hidden once."""
    return sorted({*range(0, extent - size + 1, stride), extent - size})
