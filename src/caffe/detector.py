"""The detector: a net that classifies windows of pictures, as R-CNN does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import homes
from .errors import CaffeError, NetError, ShapeError
from .io.pictures import load_image
from .io.recipe import said_recipe
from .io.resizing import resize_image
from .io.transformer import transformer_of
from .net.net import Net
from .paths import PathLike, path_text
from .proto import caffe_pb2


def __getattr__(name: str) -> Any:
    return homes.imported(__name__, name, ("caffe", "os"))


class Detector(Net):
    """A net that classifies given windows of pictures.

    Parameters
    ----------
    model_file : path
        The net's prototxt; its first input takes the windows.
    pretrained_file : path
        The weights.
    mean : array, optional
        Mean to subtract, see `caffe.io.Transformer.set_mean`.
    input_scale, raw_scale : float, optional
        Factors after and before the mean is subtracted.
    channel_swap : sequence of int, optional
        ``(2, 1, 0)`` for nets that take BGR.
    context_pad : int, optional
        How many pixels of the net's input, on each side, show what surrounds the window (R-CNN:
        16). None or 0: the window alone.

    Attributes
    ----------
    transformer : caffe.io.Transformer
        The preprocessing.
    crop_mean : numpy.ndarray
        H x W x K of the input's size, in the picture's units and channel order: what lies
        outside the picture. Only with `context_pad`.

    Raises
    ------
    NetError
        The net has no input.
    ShapeError
        The input takes no pictures, or a setting does not fit it.
    """

    def __init__(
        self,
        model_file: PathLike,
        pretrained_file: PathLike,
        mean: ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, pretrained_file, caffe_pb2.TEST)
        if not self.inputs:
            raise NetError(f"{path_text(model_file)}: the net has no input to put pictures into")
        in_ = self.inputs[0]
        recipe = said_recipe(mean, input_scale, raw_scale, channel_swap)
        self.transformer = transformer_of(recipe, in_, self.blobs[in_].shape)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Set how much of a window's surroundings is shown, see the class; takes up the mean.

        Raises
        ------
        ShapeError
            `context_pad` is negative or leaves no room for the window.
        """
        in_ = self.inputs[0]
        item_shape = self.transformer.inputs[in_][1:]
        self.crop_dims = np.array([item_shape[1], item_shape[2], item_shape[0]])
        self.context_pad = context_pad or 0
        if not 0 <= 2 * self.context_pad < min(item_shape[1:]):
            raise ShapeError(
                f"context_pad {context_pad} does not leave room for a window in input {in_!r} of "
                f"{item_shape[1]} x {item_shape[2]}"
            )
        if self.context_pad:
            # An input of zeros is what the mean becomes, so this is the mean as a picture.
            self.crop_mean = self.transformer.deprocess(in_, np.zeros(item_shape))

    def detect_windows(
        self,
        images_windows: Iterable[tuple[PathLike | NDArray[Any], Iterable[Sequence[int]]]],
    ) -> list[dict[str, Any]]:
        """Classify windows of pictures.

        Parameters
        ----------
        images_windows : iterable of (picture, windows)
            The picture is a path, or an H x W x K array as `caffe.io.load_image` gives it; each
            window is (ymin, xmin, ymax, xmax) in pixels.

        Returns
        -------
        list of dict
            One per window, in order: ``window`` as given; ``prediction``, the net's first output
            for it; ``filename``, the picture as given.

        Raises
        ------
        ImageError
            A picture cannot be read.
        ShapeError
            A window is not inside its picture, or a picture has another K than the input.
        """
        in_ = self.inputs[0]
        detections: list[dict[str, Any]] = []
        caffe_in = []
        for filename, windows in images_windows:
            if isinstance(filename, np.ndarray):
                name, image = "picture", filename
            else:
                name = path_text(filename)
                image = load_image(filename, color=self.crop_dims[2] != 1)
            for window in windows:
                try:
                    crop = self.transformer.preprocess(in_, self.crop(image, window))
                except ShapeError as error:
                    raise ShapeError(f"{name}: {error}") from None
                caffe_in.append(crop)
                detections.append({"window": window, "filename": filename})
        if not detections:
            return []
        predictions = self.forward_all(None, **{in_: np.stack(caffe_in)})[self.outputs[0]]
        single = tuple(axis for axis in range(2, predictions.ndim) if predictions.shape[axis] == 1)
        for detection, prediction in zip(detections, predictions.squeeze(single), strict=True):
            detection["prediction"] = prediction
        return detections

    def detect_selective_search(self, image_fnames: Iterable[str]) -> NoReturn:
        """Not available: selective search was a MATLAB program beside Caffe.

        Raises
        ------
        CaffeError
            Always.
        """
        raise CaffeError(
            "selective search is left out; find windows by other means and pass them to "
            "detect_windows([(image, [(ymin, xmin, ymax, xmax), ...]), ...])"
        )

    def crop(self, im: NDArray[Any], window: Sequence[int]) -> NDArray[Any]:
        """Cut a window out of a picture, with its surroundings if `context_pad` is set.

        Parameters
        ----------
        im : numpy.ndarray
            H x W x K.
        window : (int, int, int, int)
            ymin, xmin, ymax, xmax in pixels.

        Returns
        -------
        numpy.ndarray
            The window's part of `im` (a view); with `context_pad`, an array of the input's size
            in which `context_pad` pixels surround the window, those outside `im` being the mean.

        Raises
        ------
        ShapeError
            `im` is not H x W x K, or the window has no area or does not start inside it.
        """
        if np.ndim(im) != 3:
            raise ShapeError(f"a picture must be H x W x K, not of shape {np.shape(im)}")
        height, width = im.shape[:2]
        corners = np.asarray(window)
        if (
            corners.shape != (4,)
            or corners.dtype.kind not in "iuf"
            or not np.isfinite(corners).all()
        ):
            raise ShapeError(f"a window is (ymin, xmin, ymax, xmax), not {window!r}")
        ymin, xmin, ymax, xmax = (int(value) for value in corners)
        if not (0 <= ymin < min(ymax, height) and 0 <= xmin < min(xmax, width)):
            raise ShapeError(
                f"window (ymin, xmin, ymax, xmax) = {(ymin, xmin, ymax, xmax)} is empty or does "
                f"not start inside its picture of {height} x {width}"
            )
        if not self.context_pad:
            return im[ymin:ymax, xmin:xmax]
        if im.shape[2] != self.crop_dims[2]:
            raise ShapeError(
                f"the net takes pictures of {self.crop_dims[2]} channels, this one has "
                f"{im.shape[2]} channels"
            )
        rows, to_rows = _with_context(ymin, ymax, self.context_pad, height, self.crop_dims[0])
        columns, to_columns = _with_context(xmin, xmax, self.context_pad, width, self.crop_dims[1])
        crop: NDArray[Any] = self.crop_mean.copy()
        part = (to_rows.stop - to_rows.start, to_columns.stop - to_columns.start)
        crop[to_rows, to_columns] = resize_image(im[rows, columns], part)
        return crop


def _with_context(
    first: int, last: int, context_pad: int, length: int, size: int
) -> tuple[slice, slice]:
    """One axis of a crop with context: the pixels to take, and where they go.

    Caffe counts a window's last pixel as part of it here (its extent is last - first + 1) but
    cuts out all pixels before it; the figures that were published rest on that.
    """
    half = (last - first + 1) / 2
    enlarged = half * size / (size - 2 * context_pad)
    low, high = round(first + half - enlarged), round(first + half + enlarged)
    scale = size / (high - low + 1)
    before = round(max(0, -low) * scale)
    low, high = max(low, 0), min(high, length)
    extent = min(max(1, round((high - low + 1) * scale)), size - before)
    return slice(low, high), slice(before, before + extent)
