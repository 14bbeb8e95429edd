"""The preprocessing of pictures for a net's input, and its way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NetError, ShapeError
from ..notebook import table
from .pictures import resize_image, resize_planes


class Transformer:
    """Turns pictures into what a net's inputs expect, and back.

    `preprocess` goes through these steps, each only if it was set, in this order: float32,
    resize to the input's height and width, `transpose`, `channel_swap`, `raw_scale`, `mean`
    (subtracted), `input_scale`. So the mean is in the units that `raw_scale` leads to (0 to 255
    for the usual nets) and in the channel order that `channel_swap` leads to (BGR).

    Parameters
    ----------
    inputs : dict
        The shape of each input by name, batch axis included, for example
        ``{"data": net.blobs["data"].data.shape}``.

    Attributes
    ----------
    inputs, transpose, channel_swap, raw_scale, mean, input_scale : dict
        What was set, by input.

    Examples
    --------
    >>> transformer = Transformer({"data": (1, 3, 227, 227)})
    >>> transformer.set_transpose("data", (2, 0, 1))
    >>> transformer.set_channel_swap("data", (2, 1, 0))
    >>> transformer.set_raw_scale("data", 255)
    >>> transformer.set_mean("data", np.array([104, 117, 123]))
    >>> image = np.ones((360, 480, 3), dtype=np.float32)
    >>> transformer.preprocess("data", image)[:, 0, 0].tolist()
    [151.0, 138.0, 132.0]
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, Any] = {}
        self.mean: dict[str, NDArray[np.float32]] = {}
        self.input_scale: dict[str, Any] = {}

    def preprocess(
        self, in_: str, data: ArrayLike, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Turn one picture into one item of an input's batch.

        Parameters
        ----------
        in_ : str
            The input's name.
        data : array
            H x W x K if a transpose was set, as `load_image` gives it; not changed.
        out : numpy.ndarray, optional
            Where to put the result, for example ``net.blobs["data"].data[0]``.

        Returns
        -------
        numpy.ndarray
            Of the input's shape without its batch axis, float32; `out` if that was given.

        Raises
        ------
        NetError
            There is no such input.
        ShapeError
            The picture does not lead to the input's shape: another count of channels or axes.
        """
        wanted = self._item_shape(in_)
        image = np.asarray(data)
        order = self.transpose.get(in_)
        if order is None:
            order = range(len(wanted))
        resized = image.shape
        if len(wanted) == 3 and image.ndim == 3 and tuple(image.shape[i] for i in order) != wanted:
            resized = (*wanted[1:], image.shape[2])
        if image.ndim != len(wanted) or tuple(resized[i] for i in order) != wanted:
            hint = "" if in_ in self.transpose else "; is set_transpose missing?"
            raise ShapeError(
                f"input {in_!r} takes items of shape {wanted}, which a picture of shape "
                f"{image.shape} does not lead to{hint}"
            )
        if resized != image.shape:
            image = resize_planes(image.astype(np.float32, copy=False), resized[:2])
            image = image.transpose(1, 2, 0)
        if out is None:
            out = np.empty(wanted, dtype=np.float32)
        elif out.shape != wanted:
            raise ShapeError(f"input {in_!r}: out has shape {out.shape}, must have {wanted}")
        self._fill(in_, image.transpose(order), out)
        return out

    def _fill(self, in_: str, image: NDArray[Any], out: NDArray[np.float32]) -> None:
        swap = self.channel_swap.get(in_)
        raw_scale = self.raw_scale.get(in_)
        # Channel by channel, so that the order is changed without another copy.
        for channel, source in enumerate(range(len(out)) if swap is None else swap):
            out[channel] = image[source]
        if raw_scale is not None:
            out *= raw_scale
        mean = self._mean_for(in_, out.shape)
        if mean is not None:
            out -= mean
        input_scale = self.input_scale.get(in_)
        if input_scale is not None:
            out *= input_scale

    def deprocess(self, in_: str, data: ArrayLike) -> NDArray[np.float32]:
        """Turn an item of an input's batch back into a picture; the size stays.

        Parameters
        ----------
        in_ : str
            The input's name.
        data : array
            An item, or a batch of one; not changed.

        Returns
        -------
        numpy.ndarray
            H x W x K if a transpose was set, float32, in the picture's units and channel order.

        Raises
        ------
        NetError
            There is no such input.
        ShapeError
            `data` is not one item of the input, or the mean does not fit it.
        """
        wanted = self._item_shape(in_)
        image = np.array(data, dtype=np.float32)
        while image.ndim > len(wanted) and image.shape[0] == 1:
            image = image[0]
        if image.ndim != len(wanted) or image.shape[:1] != wanted[:1]:
            raise ShapeError(
                f"input {in_!r} has items of shape {wanted}; an array of shape {np.shape(data)} "
                f"is not one of them"
            )
        input_scale = self.input_scale.get(in_)
        if input_scale is not None:
            image /= input_scale
        mean = self._mean_for(in_, image.shape)
        if mean is not None:
            image += mean
        raw_scale = self.raw_scale.get(in_)
        if raw_scale is not None:
            image /= raw_scale
        swap = self.channel_swap.get(in_)
        if swap is not None:
            image = image[np.argsort(swap)]
        order = self.transpose.get(in_)
        return image if order is None else image.transpose(np.argsort(order))

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of axes: ``(2, 0, 1)`` turns H x W x K into K x H x W.

        Raises
        ------
        ShapeError
            `order` does not name every axis of the input's items once.
        """
        axes = len(self._item_shape(in_))
        if sorted(order) != list(range(axes)):
            raise ShapeError(
                f"transpose of input {in_!r} must order its {axes} axes 0 to {axes - 1}, "
                f"not {tuple(order)}"
            )
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of channels: ``(2, 1, 0)`` turns RGB into BGR.

        Raises
        ------
        ShapeError
            `order` is not as long as the input has channels, or names one that is not there.
        """
        channels = self._item_shape(in_)[0]
        if len(order) != channels or not all(0 <= index < channels for index in order):
            raise ShapeError(
                f"channel swap of input {in_!r} must name {channels} channels 0 to "
                f"{channels - 1}, not {tuple(order)}"
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float | NDArray[Any]) -> None:
        """Set the factor before the mean is subtracted: 255 for nets fed with 0 to 255.

        Raises
        ------
        ShapeError
            `scale` is neither a number nor an array that fits the input's items.
        """
        self.raw_scale[in_] = self._check_scale(in_, scale)

    def set_input_scale(self, in_: str, scale: float | NDArray[Any]) -> None:
        """Set the factor after the mean was subtracted.

        Raises
        ------
        ShapeError
            `scale` is neither a number nor an array that fits the input's items.
        """
        self.input_scale[in_] = self._check_scale(in_, scale)

    def set_mean(self, in_: str, mean: ArrayLike) -> None:
        """Set the mean to subtract.

        Parameters
        ----------
        in_ : str
            The input's name.
        mean : array
            One value per channel (also as K x 1 x 1); or K x H x W, resized as pictures are where
            height and width are not the input's; or H x W for an input of one channel.

        Raises
        ------
        NetError
            There is no such input.
        ShapeError
            The mean has other axes or channels. Also a `ValueError`.
        """
        wanted = self._item_shape(in_)
        values = np.array(mean, dtype=np.float32)
        shape = values.shape
        if values.ndim == 1:
            values = values.reshape(-1, *(1 for _ in wanted[1:]))
        elif values.ndim == 2 and len(wanted) == 3:
            values = values[np.newaxis]
        if values.ndim != len(wanted) or values.shape[0] != wanted[0]:
            hint = "; pass mean[0]" if shape[:1] == (1,) and len(shape) > len(wanted) else ""
            raise ShapeError(
                f"a mean of shape {shape} does not fit input {in_!r} with items of shape "
                f"{wanted}{hint}"
            )
        if not _fits(values.shape, wanted):
            if len(wanted) != 3:
                raise ShapeError(
                    f"a mean of shape {shape} cannot be resized for input {in_!r} with items of "
                    f"shape {wanted}"
                )
            resized = resize_image(values.transpose(1, 2, 0), wanted[1:])
            values = np.ascontiguousarray(resized.transpose(2, 0, 1))
        self.mean[in_] = values

    def __repr__(self) -> str:
        parts = []
        for in_ in self.inputs:
            steps = "; ".join(f"{name} {what}".rstrip() for name, what in self._steps(in_))
            parts.append(f"{in_}: {steps}")
        return f"<caffe.io.Transformer {' | '.join(parts) or 'without inputs'}>"

    def _repr_html_(self) -> str:
        rows = [
            (escape(in_), str(number), escape(name), escape(what))
            for in_ in self.inputs
            for number, (name, what) in enumerate(self._steps(in_), 1)
        ]
        return table("Transformer: what preprocess does", rows, ("input", "", "step", ""))

    def _steps(self, in_: str) -> list[tuple[str, str]]:
        """What `preprocess` does to a picture for this input, in its order, to be read."""
        shape = self._item_shape(in_)
        steps = [("resize", f"to {shape[1]} x {shape[2]}")] if len(shape) == 3 else []
        if in_ in self.transpose:
            order = tuple(self.transpose[in_])
            steps.append(
                ("transpose", f"{order}{' (channels first)' if order == (2, 0, 1) else ''}")
            )
        if in_ in self.channel_swap:
            swap = tuple(self.channel_swap[in_])
            meaning = " (RGB to BGR)" if swap == (2, 1, 0) else ""
            steps.append(("channel_swap", f"{swap}{meaning}"))
        if self.raw_scale.get(in_) is not None:
            steps.append(("raw_scale", f"times {_number_text(self.raw_scale[in_])}"))
        if self.mean.get(in_) is not None:
            steps.append(("mean", f"less {_number_text(self.mean[in_])}"))
        if self.input_scale.get(in_) is not None:
            steps.append(("input_scale", f"times {_number_text(self.input_scale[in_])}"))
        return steps or [("as it is", "")]

    def _item_shape(self, in_: str) -> tuple[int, ...]:
        """The input's shape without its batch axis."""
        if in_ not in self.inputs:
            raise NetError(f"{in_!r} is not one of the net's inputs: {', '.join(self.inputs)}")
        return tuple(self.inputs[in_][1:])

    def _mean_for(self, in_: str, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        mean = self.mean.get(in_)
        if mean is not None and not _fits(np.shape(mean), shape):
            raise ShapeError(
                f"input {in_!r}: the mean of shape {np.shape(mean)} does not fit an item of "
                f"shape {shape}"
            )
        return mean

    def _check_scale(self, in_: str, scale: Any) -> Any:
        wanted = self._item_shape(in_)
        values = np.asarray(scale)
        if values.dtype.kind not in "iufb" or not _fits(values.shape, wanted):
            raise ShapeError(
                f"the scale of input {in_!r} must be a number, or an array that fits items of "
                f"shape {wanted}, not {scale!r}"
            )
        return scale


def _number_text(value: Any) -> str:
    """A factor or a mean to be read: few numbers as they are, many by their shape."""
    values = np.asarray(value, dtype=np.float64)
    if values.size == 1:
        return f"{values.item():g}"
    if values.size <= 4:
        return "(" + ", ".join(f"{number:g}" for number in values.ravel()) + ")"
    return f"an array of {' x '.join(map(str, values.shape))}, {values.mean():g} on average"


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an array of one shape can be added in place to one of the other."""
    try:
        return np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def picture_transformer(
    in_: str,
    shape: Sequence[int],
    mean: ArrayLike | None = None,
    input_scale: float | None = None,
    raw_scale: float | None = None,
    channel_swap: Sequence[int] | None = None,
) -> Transformer:
    """A Transformer that turns H x W x K pictures into items of one input.

    Parameters
    ----------
    in_ : str
        The input's name.
    shape : sequence of int
        Its shape, batch axis included.
    mean, input_scale, raw_scale, channel_swap : optional
        As for the setters of `Transformer`; None leaves that step out.

    Raises
    ------
    ShapeError
        The input is not a batch of pictures, or a setting does not fit it.
    """
    if len(shape) != 4:
        raise ShapeError(
            f"input {in_!r} of shape {tuple(shape)} takes no pictures; it must have four axes: "
            f"batch, channels, height, width"
        )
    transformer = Transformer({in_: tuple(shape)})
    transformer.set_transpose(in_, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(in_, mean)
    if input_scale is not None:
        transformer.set_input_scale(in_, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(in_, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(in_, channel_swap)
    return transformer
