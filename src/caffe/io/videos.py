"""Videos and cameras as pictures, by PyAV (the extra 'video')."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_write
from ..errors import CaffeError, ImageError, MissingImageError, ShapeError, require

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv")
WRITTEN = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""By the ending of a file's name, the form in which videos are written."""
RATE = Fraction(25)
"""Pictures a second where nobody knows better."""
_CAMERA = re.compile(r"camera(?::(\d+))?")
_CAMERA_FORMS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Video:
    """A video, or a camera, that is being read.

    Attributes
    ----------
    name : str
        What it is called.
    rate : Fraction
        Its pictures a second.
    count : int or None
        How many pictures it has; None where nobody knows before the end.
    is_live : bool
        Whether it is a camera, which does not end by itself.
    frames : iterator of numpy.ndarray
        The pictures in their order, H x W x 3, RGB, uint8.
    """

    name: str
    rate: Fraction
    count: int | None
    is_live: bool
    frames: Iterator[Pixels]


def is_video(source: str) -> bool:
    """Tell whether a source's name is that of a video or a camera ("camera", "camera:1")."""
    return source.lower().endswith(SUFFIXES) or _CAMERA.fullmatch(source) is not None


@contextmanager
def open_video(source: str) -> Iterator[Video]:
    """Open a video's file, or a camera.

    Parameters
    ----------
    source : str
        The file's path; "camera" for the first camera, "camera:1" for the second.

    Raises
    ------
    ImageError
        It is no video, or damaged. Also raised by `Video.frames`.
    MissingExtraError
        PyAV is not installed.
    """
    av = require("av", "video", "reading videos")
    place, options, is_live = source, {}, False
    camera = _CAMERA.fullmatch(source)
    if camera and not os.path.exists(source):
        if sys.platform not in _CAMERA_FORMS:
            raise ImageError(f"{source}: cameras cannot be read on this system ({sys.platform})")
        place, form = _CAMERA_FORMS[sys.platform]
        place, options, is_live = place.format(camera[1] or 0), {"format": form}, True
    if not is_live or place.startswith("/"):
        if not os.path.exists(place):
            raise MissingImageError(f"{place}: no such {'camera' if is_live else 'file'}")
        if not is_live and not os.path.isfile(place):
            raise ImageError(f"{place}: not a regular file")
    with _errors_told(av, source), av.open(place, **options) as container:
        if not container.streams.video:
            raise ImageError(f"{source}: there are no pictures in this file")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = Fraction(stream.average_rate or RATE)

        def frames() -> Iterator[Pixels]:
            with _errors_told(av, source):
                for frame in container.decode(stream):
                    yield frame.to_ndarray(format="rgb24")

        yield Video(source, rate, stream.frames or None, is_live, frames())


@contextmanager
def _errors_told(av: Any, source: str) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{source}: the video cannot be read: {reason}") from error


def check_written(path: str) -> str:
    """Return the form in which a video of this name is written.

    Raises
    ------
    CaffeError
        None is.
    MissingExtraError
        PyAV is not installed.
    """
    form = WRITTEN.get(os.path.splitext(path)[1].lower())
    if form is None:
        raise CaffeError(f"{path}: videos are written to files that end in {', '.join(WRITTEN)}")
    require("av", "video", "writing videos")
    return form


@contextmanager
def write_video(path: str, rate: Fraction = RATE) -> Iterator[Callable[[Pixels], None]]:
    """Write a video, which takes its name when all is in it.

    Parameters
    ----------
    path : str
        The file; its ending says the form.
    rate : Fraction
        Pictures a second.

    Yields
    ------
    put : callable
        Takes a picture, H x W x 3, RGB, uint8. All have the first one's size. An odd last row or
        column is left out, as the usual codecs have none.

    Raises
    ------
    CaffeError
        No video of such a name is written.
    WriteError
        The operating system refuses.
    """
    form = check_written(path)
    av = require("av", "video", "writing videos")
    with atomic_write(path) as file, av.open(file, "w", format=form) as container:
        stream: Any = None
        shape: tuple[int, ...] = ()

        def put(pixels: Pixels) -> None:
            nonlocal stream, shape
            if stream is None:
                shape = pixels.shape
                stream = container.add_stream(container.default_video_codec, rate=rate)
                stream.height, stream.width = shape[0] // 2 * 2, shape[1] // 2 * 2
                stream.pix_fmt = "yuv420p"
            if pixels.shape != shape:
                raise ShapeError(
                    f"{path}: the pictures of a video are of one size; this one is of "
                    f"{pixels.shape[1]} x {pixels.shape[0]}, the first of {shape[1]} x {shape[0]}"
                )
            even = np.ascontiguousarray(pixels[: stream.height, : stream.width])
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            container.mux(stream.encode(frame))

        yield put
        if stream is not None:
            container.mux(stream.encode())
