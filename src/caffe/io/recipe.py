"""The one record of how a picture goes into a net, and what it makes of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CaffeError, ShapeError
from .pictures import GREY_WEIGHTS
from .resizing import Dims, cut_crops, resize_image

STRETCH, LETTERBOX, SHORTER_SIDE = "stretch", "letterbox", "shorter side"
FITS = (STRETCH, LETTERBOX, SHORTER_SIDE)

BGR = (2, 1, 0)
SWAPS: Mapping[str, tuple[int, ...] | None] = {"bgr": BGR, "rgb": None, "grey": None}
"""The orders of channels that have a name, and how each comes from RGB."""

BARS = np.float32(0.5)
"""What a letterbox puts beside a picture, in the picture's units from 0 to 1."""

THE_INPUT = "the net's input"
WORDS = {
    "channel_swap": "order",
    "raw_scale": "raw scale",
    "mean": "mean",
    "input_scale": "scale",
    "image_dims": "size",
    "fit": "fit",
    "crop": "crop",
}
"""The values that have a reason, and what they are called when it is told."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """Where a picture lies in a net's input, before crops are cut out.

    Attributes
    ----------
    scale, offset : (float, float)
        What x and y were multiplied by, and what was added then.
    size : (int, int)
        The picture's own width and height.
    resized, canvas : (int, int)
        Height and width of the resized picture, and of it with the bars beside it.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    size: tuple[int, int]
    resized: tuple[int, int]
    canvas: tuple[int, int]

    def back(self, boxes: Array) -> Array:
        """Return boxes of the input, (N, 4) in its pixels, in the picture's, cut to it."""
        twice = np.array(self.offset * 2), np.array(self.scale * 2)
        boxes = (boxes - twice[0]) / twice[1]
        return np.asarray(boxes.clip(0, self.size * 2), np.float32)


@dataclass(frozen=True)
class PictureRecipe:
    """How a picture becomes what a net's input holds; by default as BVLC's nets have it.

    A picture is resized to `image_dims` as `fit` says, `crop` is cut out of its middle (or ten
    crops, see `apply`), its channels are put in the net's order, and its pixels of 0 to 1 become
    ``(pixel * raw_scale - mean) * input_scale``. A record can be pickled, and needs no net.

    Attributes
    ----------
    mean : tuple of float, or array, optional
        One value per channel, in the net's order and on the scale of `raw_scale`; or a picture,
        channels x height x width, which is resized to the crop. None where nothing is subtracted.
    channel_swap : tuple of int, optional
        Which of a picture's channels each of the net's is: ``(2, 1, 0)`` where the net wants
        BGR; None where it wants RGB, or grey.
    raw_scale : float, optional
        Multiplies pixels in [0, 1] before the mean is subtracted.
    input_scale : float, optional
        Multiplies after the mean is subtracted.
    image_dims : (int, int), optional
        Height and width to which a picture is brought. With the fit "shorter side", the length
        of the shorter one, and the most that the longer may have. None is the size of the net's
        input, see `for_input`.
    crop : (int, int), optional
        Height and width cut out of that; all of it where this is None.
    fit : {"stretch", "letterbox", "shorter side"}
        Whether the picture is stretched to the size, put amid grey bars, or only scaled.
    channels : int
        Of the net's input: 1 takes grey pictures, and makes coloured ones grey.
    reasons : mapping of str to str
        Why these values, by their names here. Records that only differ in this are equal.

    Examples
    --------
    >>> recipe = PictureRecipe((104, 117, 123), crop=(227, 227), reasons={"mean": "ILSVRC12"})
    >>> print(recipe)
    bgr, pixel - (104, 117, 123), brought to 256 x 256, 227 x 227 from its middle
    >>> recipe.apply(np.ones((360, 480, 3), np.float32))[0, :, 0, 0].tolist()
    [151.0, 138.0, 132.0]
    """

    mean: tuple[float, ...] | Array | None
    channel_swap: tuple[int, ...] | None = BGR
    raw_scale: float | None = 255.0
    input_scale: float | None = None
    image_dims: tuple[int, int] | None = (256, 256)
    crop: tuple[int, int] | None = (224, 224)
    fit: str = STRETCH
    channels: int = 3
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own: dict[str, Any] = {"mean": _own_mean(self.mean), "reasons": dict(self.reasons)}
        for name in ("channel_swap", "image_dims", "crop"):
            value = getattr(self, name)
            own[name] = None if value is None else tuple(np.asarray(value).tolist())
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PictureRecipe):
            return NotImplemented
        return all(
            _same(getattr(self, name), getattr(other, name)) for name in (*WORDS, "channels")
        )

    def __hash__(self) -> int:
        return hash((self.channel_swap, self.image_dims, self.crop, self.fit, self.channels))

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, since a pickled array is no longer closed to writing.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @property
    def order(self) -> str:
        """The net's channels: "bgr", "rgb" or "grey", or the swap where it has no such name."""
        if self.channels == 1:
            return "grey"
        if self.channels == 3:
            for name, swap in SWAPS.items():
                if (self.channel_swap or (0, 1, 2)) == (swap or (0, 1, 2)):
                    return name
        return f"channels {', '.join(map(str, self.channel_swap or range(self.channels)))}"

    @property
    def scale(self) -> float:
        """`input_scale`; 1 where there is none."""
        return 1.0 if self.input_scale is None else self.input_scale

    @property
    def size(self) -> tuple[int, int] | None:
        """`image_dims`."""
        return self.image_dims

    @property
    def color(self) -> bool:
        """Whether the net takes colour pictures; grey ones otherwise.

        Raises
        ------
        ShapeError
            It takes neither.
        """
        if self.channels not in (1, 3):
            raise ShapeError(
                f"the net takes {self.channels} channels; pictures have 3, or 1 if grey"
            )
        return self.channels == 3

    @property
    def why(self) -> str:
        """The reasons: ``mean: from mean.npy; order: Caffe's usual``."""
        told: dict[str, list[str]] = {}
        for name, word in WORDS.items():
            if name in self.reasons:
                told.setdefault(self.reasons[name], []).append(word)
        if len(told) == 1:
            return next(iter(told))
        return "; ".join(f"{_listed(words)}: {reason}" for reason, words in told.items())

    def __str__(self) -> str:
        value = "pixel"
        if self.raw_scale is None:
            value = "pixel / 255"
        elif not _same(self.raw_scale, 255):
            value = f"pixel / 255 * {number_text(self.raw_scale)}"
        if self.mean is not None:
            value = f"{value} - {_mean_text(self.mean)}"
        if self.input_scale is not None:
            value = f"({value}) * {number_text(self.input_scale)}"
        return f"{self.order}, {value}, {self._size_text()}"

    def _size_text(self) -> str:
        if self.image_dims is None:
            text = "brought to the size of the net's input"
        elif self.fit == SHORTER_SIDE:
            short, longest = sorted(self.image_dims)
            text = f"brought to a shorter side of {short} and a longer of at most {longest}"
        else:
            text = "brought to {1} x {0}".format(*self.image_dims)
            text += f" ({self.fit})" * (self.fit == LETTERBOX)
        if self.crop is not None and self.crop != self.image_dims:
            text += ", {1} x {0} from its middle".format(*self.crop)
        return text

    def changed(self, reason: str, **values: Any) -> PictureRecipe:
        """Return this record with other values, all of them for one reason."""
        reasons = {**self.reasons, **dict.fromkeys(values, reason)}
        return replace(self, **values, reasons=reasons)

    def because(self, reason: str) -> PictureRecipe:
        """Return this record with one reason for all values that do something."""
        told = [name for name in WORDS if getattr(self, name) is not None]
        if self.fit == STRETCH:
            told.remove("fit")
        return replace(self, reasons=dict.fromkeys(told, reason))

    def explained_by(self, other: PictureRecipe, otherwise: str) -> PictureRecipe:
        """Return this record with the reasons of another for the values that they share.

        Parameters
        ----------
        other : PictureRecipe
            The record that has the reasons.
        otherwise : str
            The reason for values that differ.
        """
        reasons = {}
        for name in WORDS:
            if not _same(getattr(self, name), getattr(other, name)):
                reasons[name] = otherwise
            elif name in other.reasons:
                reasons[name] = other.reasons[name]
        return replace(self, reasons=reasons)

    def for_input(self, shape: Sequence[int]) -> PictureRecipe:
        """Return this record for an input of a fixed size, whose size crops have.

        Parameters
        ----------
        shape : sequence of int
            The input's shape, (num, channels, height, width).
        """
        channels, *size = shape[1:]
        settled = self.changed(THE_INPUT, crop=tuple(size))
        if self.image_dims is None:
            settled = settled.changed(THE_INPUT, image_dims=tuple(size))
        return replace(settled, channels=channels)

    def frame(self, height: int, width: int) -> Frame:
        """Return where a picture of this height and width comes to lie.

        Raises
        ------
        CaffeError
            The record does not say to what size pictures are brought.
        """
        if self.image_dims is None:
            raise CaffeError(
                "this recipe leaves the size of pictures to the net; take recipe.for_input(shape)"
            )
        rows, columns = high, wide = self.image_dims
        if self.fit != STRETCH:
            factor = min(rows / height, columns / width)
            if self.fit == SHORTER_SIDE:
                short, longest = sorted(self.image_dims)
                factor = min(short / min(height, width), longest / max(height, width))
            high, wide = max(1, round(height * factor)), max(1, round(width * factor))
        canvas, left, top = (high, wide), 0, 0
        if self.fit == LETTERBOX:
            canvas, left, top = (rows, columns), (columns - wide) // 2, (rows - high) // 2
        scale = wide / width, high / height
        return Frame(scale, (left, top), (width, height), (high, wide), canvas)

    def apply(self, image: NDArray[Any], oversample: bool = False, white: float = 1.0) -> Array:
        """Turn a picture into what the net's input holds.

        Parameters
        ----------
        image : array
            Height x width x channels, RGB or grey; not changed.
        oversample : bool
            Ten crops (corners, centre, and their mirror images) if true; the centre alone if
            false.
        white : float
            What the picture's numbers are to be divided by to lie in 0 to 1: 255 for bytes.

        Returns
        -------
        numpy.ndarray
            Crops x channels x height x width, float32.

        Raises
        ------
        ShapeError
            The picture has other axes or channels, the crop is larger than the picture, or a
            value of this record does not fit.
        """
        image = self._with_channels(np.asarray(image))
        frame = self.frame(*image.shape[:2])
        if frame.resized == frame.canvas:
            crops = cut_crops(image, frame.canvas, self.crop or frame.canvas, oversample, white)
        else:
            (left, top), (high, wide) = map(int, frame.offset), frame.resized
            canvas = np.full((*frame.canvas, image.shape[2]), BARS, np.float32)
            (whole,) = cut_crops(image, frame.resized, frame.resized, False, white)
            canvas[top : top + high, left : left + wide] = whole.transpose(1, 2, 0)
            crops = cut_crops(canvas, frame.canvas, self.crop or frame.canvas, oversample)
        items = np.empty((len(crops), *crops[0].shape), np.float32)
        mean = None if self.mean is None else fit_mean(self.mean, items.shape[1:], "pictures")
        for crop, item in zip(crops, items, strict=True):
            fill_item(item, crop, self.channel_swap, self.raw_scale, mean, self.input_scale)
        return items

    def _with_channels(self, image: NDArray[Any]) -> NDArray[Any]:
        if image.ndim != 3 or image.size == 0:
            raise ShapeError(f"a picture is an H x W x K array, not one of shape {image.shape}")
        if self.channels == 1 and image.shape[2] == 3:
            return np.asarray((image @ GREY_WEIGHTS)[:, :, np.newaxis])
        if image.shape[2] != self.channels:
            raise ShapeError(
                f"the net takes {self.channels} channels, which a picture of shape {image.shape} "
                f"does not have"
            )
        return image


def said_recipe(
    mean: ArrayLike | None,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
    image_dims: Dims | None = None,
) -> PictureRecipe:
    """The recipe that pycaffe's arguments say, for any input; see `caffe.Classifier`."""
    values: dict[str, Any] = {
        "mean": mean,
        "input_scale": input_scale,
        "raw_scale": raw_scale,
        "channel_swap": channel_swap,
        "image_dims": image_dims,
        "crop": None,
    }
    return PictureRecipe(**values).because("as said")


def fill_item(
    item: Array,
    planes: NDArray[Any],
    channel_swap: Sequence[int] | None,
    raw_scale: Any,
    mean: Array | None,
    input_scale: Any,
) -> None:
    """Write an input's item from a picture's channels; what is None is left out.

    Parameters
    ----------
    item : numpy.ndarray
        Of the input's shape without its batch axis.
    planes : array
        Of the same shape, in the picture's units and order of channels.
    channel_swap, raw_scale, mean, input_scale
        See `PictureRecipe`; the mean as `fit_mean` returns it.
    """
    # Channel by channel, so that the order is changed without another copy.
    for channel, source in enumerate(range(len(item)) if channel_swap is None else channel_swap):
        item[channel] = planes[source]
    if raw_scale is not None:
        item *= raw_scale
    if mean is not None:
        item -= mean
    if input_scale is not None:
        item *= input_scale


def fit_mean(mean: ArrayLike, wanted: tuple[int, ...], what: str) -> Array:
    """Return a mean as it can be subtracted from an input's items.

    Parameters
    ----------
    mean : array
        One value per channel (also as K x 1 x 1); or K x H x W, resized as pictures are where
        height and width are others; or H x W for one channel.
    wanted : tuple of int
        The shape of the items.
    what : str
        Whose items they are, for the error.

    Raises
    ------
    ShapeError
        The mean has other axes or channels.
    """
    values = np.array(mean, dtype=np.float32)
    shape = values.shape
    if values.ndim == 1:
        values = values.reshape(-1, *(1 for _ in wanted[1:]))
    elif values.ndim == 2 and len(wanted) == 3:
        values = values[np.newaxis]
    if values.ndim != len(wanted) or values.shape[0] != wanted[0]:
        hint = "; pass mean[0]" if shape[:1] == (1,) and len(shape) > len(wanted) else ""
        raise ShapeError(
            f"a mean of shape {shape} does not fit {what} with items of shape {wanted}{hint}"
        )
    if fits(values.shape, wanted):
        return values
    if len(wanted) != 3:
        raise ShapeError(
            f"a mean of shape {shape} cannot be resized for {what} with items of shape {wanted}"
        )
    resized = resize_image(values.transpose(1, 2, 0), wanted[1:])
    return np.ascontiguousarray(resized.transpose(2, 0, 1))


def fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an array of one shape can be added in place to one of the other."""
    try:
        return np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def number_text(value: Any) -> str:
    """A factor or a mean to be read: few numbers as they are, many by their shape."""
    values = np.asarray(value, dtype=np.float64)
    if values.size == 1:
        return f"{values.item():g}"
    if values.size <= 4:
        return "(" + ", ".join(f"{number:g}" for number in values.ravel()) + ")"
    return f"an array of {' x '.join(map(str, values.shape))}, {values.mean():g} on average"


def _mean_text(mean: tuple[float, ...] | Array) -> str:
    if isinstance(mean, tuple):
        return "(" + ", ".join(f"{value:g}" for value in mean) + ")"
    return number_text(mean)


def _own_mean(mean: Any) -> tuple[float, ...] | Array | None:
    """A mean that nobody else can write into."""
    if mean is None:
        return None
    values = np.asarray(mean)
    if values.ndim == 1 and values.dtype.kind in "iuf":
        return tuple(values.tolist())
    picture = np.array(values, np.float32)
    picture.flags.writeable = False
    return picture


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
