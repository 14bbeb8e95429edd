"""The classifier: a net with the preprocessing of its pictures around it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import NetError, ShapeError
from .io.pictures import resize_image, ten_crops
from .io.transformer import picture_transformer
from .net import Net
from .proto import caffe_pb2


class Classifier(Net):
    """A net that classifies pictures, from the picture's array to the probabilities.

    Parameters
    ----------
    model_file : path
        The net's prototxt; its first input takes the pictures.
    pretrained_file : path
        The weights.
    image_dims : (int, int), optional
        Height and width that pictures are resized to before crops of the input's size are cut
        out. The input's own by default.
    mean : array, optional
        Mean to subtract, see `caffe.io.Transformer.set_mean`.
    input_scale, raw_scale : float, optional
        Factors after and before the mean is subtracted. Pictures hold 0 to 1, so nets that were
        trained with 0 to 255 take ``raw_scale=255``.
    channel_swap : sequence of int, optional
        ``(2, 1, 0)`` for nets that take BGR.

    Attributes
    ----------
    transformer : caffe.io.Transformer
        The preprocessing.
    image_dims, crop_dims : numpy.ndarray
        Height and width of the resized picture and of the crops.

    Raises
    ------
    NetError
        The net has no input.
    ShapeError
        The input takes no pictures, or a setting does not fit it.
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str],
        pretrained_file: str | os.PathLike[str],
        image_dims: Sequence[int] | None = None,
        mean: ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, pretrained_file, caffe_pb2.TEST)
        if not self.inputs:
            raise NetError(f"{model_file}: the net has no input to put pictures into")
        in_ = self.inputs[0]
        shape = self.blobs[in_].shape
        self.transformer = picture_transformer(
            in_, shape, mean, input_scale, raw_scale, channel_swap
        )
        self.crop_dims = np.array(shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)

    def predict(self, inputs: Iterable[NDArray[Any]], oversample: bool = True) -> NDArray[Any]:
        """Classify pictures.

        Each is resized to `image_dims`; then crops of the input's size are cut out, and only they
        are preprocessed, so a mean picture is subtracted at the crop's size, as in Caffe.

        Parameters
        ----------
        inputs : iterable of arrays
            Pictures, H x W x K each, as `caffe.io.load_image` gives them; sizes may differ.
        oversample : bool
            Average over ten crops (corners, centre, and their mirror images) if true; take the
            centre alone if false.

        Returns
        -------
        numpy.ndarray
            One row per picture. With `oversample` N x classes; without, the net's first output
            as it is.

        Raises
        ------
        ShapeError
            There are no pictures, one of them is not H x W x K with the input's K, or the
            crops are larger than `image_dims`.

        Examples
        --------
        >>> net = caffe.Classifier("deploy.prototxt", "net.caffemodel", raw_scale=255,
        ...                        channel_swap=(2, 1, 0))        # doctest: +SKIP
        >>> net.predict([caffe.io.load_image("cat.jpg")]).argmax()  # doctest: +SKIP
        281
        """
        images = list(inputs)
        if not images:
            raise ShapeError("predict was given no pictures")
        for number, image in enumerate(images):
            if np.ndim(image) != 3:
                raise ShapeError(
                    f"predict takes a list of H x W x K arrays (see caffe.io.load_image); "
                    f"item {number} has shape {np.shape(image)}"
                )
        in_ = self.inputs[0]
        windows = ten_crops(self.image_dims, self.crop_dims)
        crops_each = 10 if oversample else 1
        caffe_in = np.empty(
            (len(images) * crops_each, *self.transformer.inputs[in_][1:]), dtype=np.float32
        )
        slots = iter(caffe_in)
        for image in images:
            resized = resize_image(image, self.image_dims)
            crops = [resized[window] for window in (windows if oversample else windows[4:])]
            if oversample:
                crops += [crop[:, ::-1] for crop in crops]
            for crop in crops:
                self.transformer.preprocess(in_, crop, out=next(slots))
        predictions = self.forward_all(None, **{in_: caffe_in})[self.outputs[0]]
        if oversample:
            return predictions.reshape(len(images), crops_each, -1).mean(axis=1)
        return predictions
