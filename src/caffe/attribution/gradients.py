"""Maps from gradients: saliency, Grad-CAM and integrated gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import CaffeError
from ..guarded import guarded
from ..memory.blob import Shape
from ..net.net import Net
from .apart import Apart

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
    apart = Apart(net, output, gradients=True)
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
    apart = Apart(net, output, gradients=True)
    name = apart.check_spatial(blob)
    apart.load(image)
    apart.score(class_index)
    apart.backward(class_index, to=name)
    maps, gradient = apart.net.blobs[name].data, apart.net.blobs[name].diff
    return weighed(maps[apart.index], gradient[apart.index], apart.picture.shape[2:])


@guarded
def integrated_gradients_map(
    net: Net,
    class_index: int,
    image: int = 0,
    steps: int = 24,
    output: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Map:
    """Return what each pixel adds to a class's score (Sundararajan et al., 2017).

    The gradient is averaged along the straight way from an input of zeros, the mean picture of nets
    that subtract it, to the picture, and multiplied with the picture; the channels are summed.
    With enough steps the map's sum is the difference of the two scores.

    Parameters
    ----------
    net : Net
        With the pictures in its first input.
    class_index, image, output
        As for `saliency_map`.
    steps : int
        How many places on the way are looked at; each costs a forward and a backward pass.
    progress : callable, optional
        Called with how many steps are done, and of how many.

    Returns
    -------
    numpy.ndarray
        (height, width) of the input, float32, in score: positive where a pixel speaks for the
        class.

    Raises
    ------
    CaffeError
        As for `saliency_map`; `steps` is no number from 1 on.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise CaffeError(f"steps must be a whole number from 1 on, not {steps!r}")
    apart = Apart(net, output, gradients=True)
    apart.load(image)
    picture = apart.picture.data.copy()
    total = np.zeros(picture.shape[1:], np.float64)
    for step in range(steps):
        # The middle of each part of the way: the error falls with the square of the steps.
        apart.picture.data[apart.index] = picture[apart.index] * ((step + 0.5) / steps)
        apart.score(class_index)
        apart.backward(class_index)
        total += apart.picture.diff[apart.index]
        if progress is not None:
            progress(step + 1, steps)
    added: NDArray[np.float32] = (picture[apart.index] * total / steps).sum(axis=0)
    return added.astype(np.float32)


@guarded
def last_spatial_blob(net: Net, output: str | None = None) -> str:
    """Return the last blob with a height and a width before the score: Grad-CAM's usual one.

    Raises
    ------
    CaffeError
        As for `saliency_map`, or there is no such blob.
    """
    return Apart(net, output, gradients=False).check_spatial(None)


def weighed(maps: NDArray[np.float32], gradient: NDArray[np.float32], size: Shape) -> Map:
    """Sum one picture's maps by their mean gradients, from 0 to 1, at the input's size."""
    weights = gradient.mean(axis=(1, 2))
    found = np.maximum(np.tensordot(weights, maps, axes=1), 0)
    enlarged = resized(found, size)
    most = enlarged.max()
    return enlarged / most if most > 0 else enlarged


def resized(values: NDArray[np.float32], size: Shape) -> Map:
    """Enlarge bilinearly; unlike Caffe's own resizing this does not darken the border."""
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    height, width = size
    return np.array(picture.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
