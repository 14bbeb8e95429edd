"""The preprocessing of pictures for a net's input, and its way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CaffeError, NetError, ShapeError
from ..guarded import guarded
from ..notebook import table
from .recipe import PictureRecipe, fill_item, fit_mean, fits, number_text, said_recipe
from .resizing import Dims, resize_planes

CHANNELS_FIRST = (2, 0, 1)
"""The order of axes that turns H x W x K into K x H x W."""


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

    @guarded
    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, Any] = {}
        self.mean: dict[str, NDArray[np.float32]] = {}
        self.input_scale: dict[str, Any] = {}

    @guarded
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
        fill_item(
            out,
            image.transpose(order),
            self.channel_swap.get(in_),
            self.raw_scale.get(in_),
            self._mean_for(in_, out.shape),
            self.input_scale.get(in_),
        )
        return out

    @guarded
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

    @guarded
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

    @guarded
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

    @guarded
    def set_raw_scale(self, in_: str, scale: float | NDArray[Any]) -> None:
        """Set the factor before the mean is subtracted: 255 for nets fed with 0 to 255.

        Raises
        ------
        ShapeError
            `scale` is neither a number nor an array that fits the input's items.
        """
        self.raw_scale[in_] = self._check_scale(in_, scale)

    @guarded
    def set_input_scale(self, in_: str, scale: float | NDArray[Any]) -> None:
        """Set the factor after the mean was subtracted.

        Raises
        ------
        ShapeError
            `scale` is neither a number nor an array that fits the input's items.
        """
        self.input_scale[in_] = self._check_scale(in_, scale)

    @guarded
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
        self.mean[in_] = fit_mean(mean, self._item_shape(in_), f"input {in_!r}")

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
            steps.append(("raw_scale", f"times {number_text(self.raw_scale[in_])}"))
        if self.mean.get(in_) is not None:
            steps.append(("mean", f"less {number_text(self.mean[in_])}"))
        if self.input_scale.get(in_) is not None:
            steps.append(("input_scale", f"times {number_text(self.input_scale[in_])}"))
        return steps or [("as it is", "")]

    def __check_input(self, in_: str) -> None:
        # Subclasses of pycaffe's class call it, by the name that Python makes of it.
        self._item_shape(in_)

    def _item_shape(self, in_: str) -> tuple[int, ...]:
        """The input's shape without its batch axis."""
        if in_ not in self.inputs:
            raise NetError(f"{in_!r} is not one of the net's inputs: {', '.join(self.inputs)}")
        return tuple(self.inputs[in_][1:])

    def _mean_for(self, in_: str, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        mean = self.mean.get(in_)
        if mean is not None and not fits(np.shape(mean), shape):
            raise ShapeError(
                f"input {in_!r}: the mean of shape {np.shape(mean)} does not fit an item of "
                f"shape {shape}"
            )
        return mean

    def _check_scale(self, in_: str, scale: Any) -> Any:
        wanted = self._item_shape(in_)
        values = np.asarray(scale)
        if values.dtype.kind not in "iufb" or not fits(values.shape, wanted):
            raise ShapeError(
                f"the scale of input {in_!r} must be a number, or an array that fits items of "
                f"shape {wanted}, not {scale!r}"
            )
        return scale


def transformer_of(recipe: PictureRecipe, in_: str, shape: Sequence[int]) -> Transformer:
    """A Transformer that turns crops, H x W x K, into items of one input as a recipe says.

    Parameters
    ----------
    recipe : PictureRecipe
        Its sizes are not used: crops are stretched to the input's.
    in_ : str
        The input's name.
    shape : sequence of int
        Its shape, batch axis included.

    Raises
    ------
    ShapeError
        The input is not a batch of pictures, or a value of the recipe does not fit it.
    """
    if len(shape) != 4:
        raise ShapeError(
            f"input {in_!r} of shape {tuple(shape)} takes no pictures; it must have four axes: "
            f"batch, channels, height, width"
        )
    transformer = Transformer({in_: tuple(shape)})
    transformer.set_transpose(in_, CHANNELS_FIRST)
    if recipe.mean is not None:
        transformer.set_mean(in_, recipe.mean)
    if recipe.input_scale is not None:
        transformer.set_input_scale(in_, recipe.input_scale)
    if recipe.raw_scale is not None:
        transformer.set_raw_scale(in_, recipe.raw_scale)
    if recipe.channel_swap is not None:
        transformer.set_channel_swap(in_, recipe.channel_swap)
    return transformer


def recipe_of(transformer: Transformer, in_: str, image_dims: Dims | None = None) -> PictureRecipe:
    """The recipe that a Transformer stands for, as it is set now; without reasons.

    Parameters
    ----------
    transformer : Transformer
        Of pictures.
    in_ : str
        The input's name.
    image_dims : (int, int), optional
        Height and width to which pictures are resized before crops of the input's size are cut
        out; the input's own by default.

    Raises
    ------
    CaffeError
        It orders the axes in another way than pictures have them.
    """
    order = transformer.transpose.get(in_)
    if order is None or tuple(order) != CHANNELS_FIRST:
        raise CaffeError(
            f"input {in_!r}: a recipe takes pictures with a transpose of {CHANNELS_FIRST}, "
            f"not {order}"
        )
    _, channels, height, width = transformer.inputs[in_]
    mean = transformer.mean.get(in_)
    if mean is not None and np.shape(mean) == (channels, 1, 1):
        mean = np.ravel(mean)
    recipe = said_recipe(
        mean,
        transformer.input_scale.get(in_),
        transformer.raw_scale.get(in_),
        transformer.channel_swap.get(in_),
        (height, width) if image_dims is None else image_dims,
    )
    return replace(recipe, crop=(height, width), channels=channels, reasons={})
