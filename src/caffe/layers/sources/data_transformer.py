"""What data layers do to each picture: crop, mirror, mean and scale."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import mode, parallel
from ...errors import CaffeError, CaffeWarning, NetError, ShapeError
from ...io import datum_to_array
from ...phases import TRAIN
from ...proto.caffe_pb2 import Datum, TransformationParameter
from ...pytorch import torch
from ...weights.files import read_blob
from .augmentation import Augmentation
from .bgr_pictures import read_native_picture, read_picture

Shape3 = tuple[int, int, int]


_made: ContextVar[list[np.random.Generator] | None] = ContextVar("_made", default=None)


def random_source(seed: int = -1) -> np.random.Generator:
    """Return a source of random numbers of its own, seeded by the thread's one if not by a seed."""
    # Drawn in any case, so that what draws next draws the same.
    own = _drawn_seed()
    return _noted(own if seed < 0 else seed)


def common_random_source() -> np.random.Generator:
    """Return a source of random numbers that is the same in all solvers that train together."""
    # Drawn in any case, so that what draws next draws the same.
    own = _drawn_seed()
    if parallel.solver_count() == 1:
        return _noted(own)
    seed = parallel.order_seed()
    if seed is None:
        # The solvers' own seeds differ by their ranks.
        seed = (mode.generator().initial_seed() - parallel.solver_rank()) % 2**63
    return _noted(seed)


def _drawn_seed() -> int:
    return int(torch.randint(2**62, (), generator=mode.generator()))


def _noted(seed: int) -> np.random.Generator:
    source = np.random.default_rng(seed)
    made = _made.get()
    if made is not None:
        made.append(source)
    return source


@contextmanager
def noting_random_sources() -> Iterator[list[np.random.Generator]]:
    """Note the sources of random numbers that are made inside, in their order."""
    made: list[np.random.Generator] = []
    token = _made.set(made)
    try:
        yield made
    finally:
        _made.reset(token)


def put_random_states(
    sources: Sequence[np.random.Generator], states: Sequence[Mapping[str, Any]]
) -> None:
    """Let sources of random numbers go on from where they, or ones like them, once stood.

    Raises
    ------
    CaffeError
        There are not as many.
    """
    if len(sources) != len(states):
        raise CaffeError(f"{len(states)} states were kept of {len(sources)} random sources")
    for source, state in zip(sources, states, strict=True):
        source.bit_generator.state = state


class DataTransformer:
    """``(picture - mean) * scale``, cropped and mirrored, as `transform_param` says.

    At TRAIN the crop lies anywhere in the picture, else in its middle. A mean picture is as
    large as the picture itself; the part below the crop counts. What else training does to pictures
    is in `augmentation`.

    Parameters
    ----------
    param : TransformationParameter
        The layer's `transform_param`.
    phase : int
        caffe.TRAIN or caffe.TEST.

    Raises
    ------
    NetError
        There are a mean file and mean values both, or colour and grey are both forced.
    ParseError
        The mean file cannot be read.
    """

    def __init__(self, param: TransformationParameter, phase: int) -> None:
        self.param = param
        self.phase = phase
        self._random = random_source(param.random_seed)
        if bool(param.crop_h) != bool(param.crop_w):
            raise NetError("transform_param takes crop_h and crop_w both, or neither")
        # SSD's; the crop_size goes before them.
        size = param.crop_size
        self._crop = (size, size) if size else (param.crop_h, param.crop_w)
        self._augmentation = Augmentation(param, phase, self._random)
        if param.HasField("mean_file") and param.mean_value:
            raise NetError("transform_param takes mean_file or mean_value, not both")
        if param.force_color and param.force_gray:
            raise NetError("transform_param takes force_color or force_gray, not both")
        self._has_told = False
        self._mean: NDArray[np.float32] | None = None
        if param.HasField("mean_file"):
            self._mean = read_mean(param.mean_file)
        elif param.mean_value:
            self._mean = np.array(param.mean_value, np.float32).reshape(-1, 1, 1)

    def shape(self, picture: NDArray[Any]) -> Shape3:
        """Return (channels, height, width) of what comes out of `picture`.

        Raises
        ------
        ShapeError
            The picture is empty or smaller than the crop.
        """
        channels = len(picture)
        height, width = self._augmentation.least_size(*picture.shape[1:])
        tall, wide = self._crop
        if not picture.size or height < tall or width < wide:
            crop = f"crop_size {tall}" if tall == wide else f"crop of {tall} x {wide}"
            raise ShapeError(
                f"a picture of {channels} x {height} x {width} (channels, height, width) is "
                + ("empty" if not picture.size else f"smaller than the {crop}")
            )
        return (channels, tall, wide) if tall else (channels, height, width)

    def _cropped(self, picture: NDArray[Any]) -> Shape3:
        channels, height, width = picture.shape
        tall, wide = self._crop
        return (channels, tall, wide) if tall else (channels, height, width)

    def __call__(self, picture: NDArray[Any]) -> NDArray[np.float32]:
        """Transform one picture.

        Parameters
        ----------
        picture : array
            Channels x height x width; bytes or floats, channels in BGR order.

        Raises
        ------
        ShapeError
            The picture does not fit the crop or the mean.
        """
        self.shape(picture)
        picture = self._augmentation.moved(picture)
        shape = self._cropped(picture)
        self._check_mean(picture.shape)
        mirrored = self.param.mirror and self._random.integers(2)
        top, left = (self._offset(picture.shape[i] - shape[i]) for i in (1, 2))
        window = (slice(None), slice(top, top + shape[1]), slice(left, left + shape[2]))
        # Behind what is drawn for the cut, which labels that are pictures draw, too.
        picture = self._augmentation.disturbed(picture)
        result = self._augmentation.colored(picture[window]).astype(np.float32)
        if self._mean is not None:
            per_pixel = self._mean.shape[1:] == picture.shape[1:]
            result -= self._mean[window] if per_pixel else self._mean
        result *= np.float32(self.param.scale)
        self._augmentation.erase(result)
        return result[:, :, ::-1] if mirrored else result

    @property
    def crops(self) -> bool:
        """Whether a part is cut out."""
        return bool(self._crop[0])

    @property
    def moves(self) -> bool:
        """Whether pictures are turned or resized, beside being cropped and mirrored."""
        return self._augmentation.moves

    def follow(self, other: DataTransformer) -> None:
        """Draw next what `other` draws next: the same crop, and mirrored or not as there."""
        self._random.bit_generator.state = other._random.bit_generator.state

    def _offset(self, room: int) -> int:
        if self.phase == TRAIN and self._crop[0]:
            return int(self._random.integers(room + 1))
        return room // 2

    def _check_mean(self, shape: tuple[int, ...]) -> None:
        mean = self._mean
        if mean is None:
            return
        if self.param.HasField("mean_file"):
            if mean.shape != shape:
                raise ShapeError(
                    f"the mean in {self.param.mean_file} has the shape {mean.shape}, the picture "
                    f"{shape} (channels, height, width): they must agree"
                )
        elif len(mean) not in (1, shape[0]):
            raise ShapeError(
                f"there are {len(mean)} mean_values for a picture of {shape[0]} channels: give "
                "one, or one per channel"
            )

    def _tell_of_channels(self, channels: int) -> None:
        """Tell once that only encoded pictures are brought to colour or to grey, as in Caffe."""
        param = self.param
        wanted = {"force_color": 3 * param.force_color, "force_gray": 1 * param.force_gray}
        for name, count in wanted.items():
            if count and count != channels and not self._has_told:
                self._has_told = True
                warnings.warn(
                    f"transform_param.{name} does nothing to Datums that are not encoded, as in "
                    f"Caffe: this one has {channels} channels",
                    CaffeWarning,
                    stacklevel=2,
                )

    def read_datum(self, datum: Datum, force_color: bool = False) -> NDArray[Any]:
        """Return a Datum's picture, channels x height x width.

        Raises
        ------
        CaffeError
            The Datum holds less than it says, or no picture.
        """
        if not datum.encoded:
            self._tell_of_channels(datum.channels)
            return datum_to_array(datum)
        if not datum.data:
            raise CaffeError("the Datum is marked as encoded, but it holds no data")
        if self.param.force_gray:
            return read_picture(datum.data, color=False)
        if self.param.force_color or force_color:
            return read_picture(datum.data)
        return read_native_picture(datum.data)


def read_mean(path: str) -> NDArray[np.float32]:
    """Read a mean picture's ``.binaryproto``: channels x height x width.

    Raises
    ------
    ParseError
        The file cannot be read.
    ShapeError
        It holds no single picture.
    """
    mean = read_blob(path)
    if mean.ndim == 4 and len(mean) == 1:
        mean = mean[0]
    if mean.ndim != 3:
        raise ShapeError(f"the mean in {path} has the shape {mean.shape}, not a picture's")
    return mean
