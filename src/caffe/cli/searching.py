"""How `caffe detect` goes through pictures and videos, and what becomes of what is found."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import CaffeError
from .reading import Refusals, read_all
from .sources import bytes_of, read_source
from .targets import names_of, targets, write_picture
from .terminal import bar, progress, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from ..detect.annotations import Put, Searched
    from ..detect.object_detector import ObjectDetector
    from ..io.videos import Video

    Pixels = NDArray[np.uint8]

AHEAD = 4


@dataclass(frozen=True)
class Wishes:
    """What is to be made of what is found.

    Attributes
    ----------
    output : Path or None
        Where pictures with their boxes go: a file, a folder, a video's file.
    form, place : optional
        In what form boxes are written, and where.
    crops : Path or None
        The folder of what is cut out.
    threshold : float
        The least score.
    frames : int or None
        How many frames of a video are searched at most.
    """

    output: Path | None
    form: str | None
    place: Path | None
    crops: Path | None
    threshold: float
    frames: int | None

    def check(self, sources: Sequence[str]) -> None:
        """Refuse what cannot be done, before a net is loaded.

        Raises
        ------
        CaffeError
            There is no such form, or an extra is missing.
        """
        from ..detect.annotations import FORMS, VOC, YOLO
        from ..io.tables import PARQUET
        from ..io.videos import check_written, is_video

        if self.form is not None and self.form not in FORMS:
            raise typer.BadParameter(f"--format takes {', '.join(FORMS)}, not {self.form!r}")
        if self.place is None and self.form in (VOC, YOLO, PARQUET):
            raise typer.BadParameter(f"--format {self.form} does not go without --to")
        videos = [source for source in sources if is_video(source)]
        if videos and len(sources) > 1:
            raise typer.BadParameter(f"one video at a time; {videos[0]} is one of several sources")
        if self.output is not None and (videos or self.makes_video):
            check_written(str(self.output))
        else:
            targets(sources, self.output, "--output")

    @property
    def makes_video(self) -> bool:
        """Whether pictures become a video."""
        from ..io.videos import SUFFIXES

        return self.output is not None and self.output.suffix.lower() in SUFFIXES


def search(
    detector: ObjectDetector, sources: Sequence[str], wishes: Wishes, refuse: Refusals
) -> None:
    """Look for objects in pictures, or in one video."""
    from ..detect.annotations import write_annotations
    from ..io.videos import is_video, open_video

    with ExitStack() as stack:
        put = None
        if wishes.form is not None:
            place = None if wishes.place is None else str(wishes.place)
            classes = detector.classes()
            put = stack.enter_context(write_annotations(wishes.form, place, classes))
        if is_video(sources[0]):
            _search_video(detector, stack.enter_context(open_video(sources[0])), wishes, put)
        else:
            _search_pictures(detector, sources, wishes, refuse, put)


@dataclass
class _Picture:
    name: str
    pixels: NDArray[Any]
    white: float
    seconds: float


def _read(name: str) -> _Picture:
    start = time.perf_counter()
    return _Picture(name, *read_source(name), time.perf_counter() - start)


def _search_pictures(
    detector: ObjectDetector,
    sources: Sequence[str],
    wishes: Wishes,
    refuse: Refusals,
    put: Put | None,
) -> None:
    names = dict(zip(sources, names_of(sources), strict=True))
    drawn = dict.fromkeys(sources)
    with ExitStack() as stack:
        film = None
        if wishes.makes_video:
            from ..io.videos import write_video

            film = stack.enter_context(write_video(str(wishes.output)))
        else:
            drawn.update(zip(sources, targets(sources, wishes.output, "--output"), strict=True))
        out, advance = stack.enter_context(progress("Detecting", len(sources), "pictures"))
        readable = stack.enter_context(closing(read_all(sources, _read, AHEAD, refuse, advance)))
        for picture in readable:
            try:
                pixels = bytes_of(picture.pixels, picture.white)
                searched = _searched(detector, picture.name, pixels, wishes, picture.seconds)
                target = drawn[picture.name]
                if target is not None:
                    write_picture(_drawn(pixels, searched), target)
                if film is not None:
                    film(_pixels_of(_drawn(pixels, searched)))
                if wishes.crops is not None:
                    _cut(pixels, searched, wishes.crops, names[picture.name])
                if put is not None:
                    put(searched, names[picture.name])
                if put is None or wishes.place is not None:
                    _show(searched, target, out)
            except CaffeError as error:
                refuse(error)
            advance()


def _search_video(detector: ObjectDetector, video: Video, wishes: Wishes, put: Put | None) -> None:
    """Look into each frame; a camera's are as many as there are before Ctrl-C."""
    from ..io.videos import write_video

    name = names_of([video.name])[0].replace(":", "-")
    frames_with: Counter[str] = Counter()
    count, size = 0, (0, 0)
    with ExitStack() as stack:
        film: Callable[[Pixels], None] | None = None
        if wishes.output is not None:
            film = stack.enter_context(write_video(str(wishes.output), video.rate))
        total = (
            wishes.frames if video.count is None else min(video.count, wishes.frames or video.count)
        )
        _, advance = stack.enter_context(progress(video.name, total, "frames"))
        # A camera has no other end; of a file, what was made up to there would look whole.
        if video.is_live:
            stack.enter_context(suppress(KeyboardInterrupt))
        for pixels in video.frames:
            searched = _searched(detector, video.name, pixels, wishes, 0.0, count)
            size = searched.width, searched.height
            frames_with.update({d.name for d in searched.found})
            if film is not None:
                film(_pixels_of(_drawn(pixels, searched)))
            numbered = f"{name}-{count:06}"
            if wishes.crops is not None:
                _cut(pixels, searched, wishes.crops, numbered)
            if put is not None:
                put(searched, numbered)
            count += 1
            advance()
            if count == wishes.frames:
                break
    if put is None or wishes.place is not None:
        print(f"{video.name} ({size[0]} x {size[1]}, {count} frames)")
        for found, frames in frames_with.most_common():
            print(f"  {found} in {frames} frames")
        if not frames_with:
            print("  nothing found")
        if wishes.output is not None:
            print(f"  drawn in {wishes.output}")


def _searched(
    detector: ObjectDetector,
    name: str,
    pixels: Pixels,
    wishes: Wishes,
    seconds: float,
    frame: int | None = None,
) -> Searched:
    from ..detect.annotations import Searched

    start = time.perf_counter()
    found = detector.detect(pixels, wishes.threshold)
    seconds += time.perf_counter() - start
    height, width = pixels.shape[:2]
    return Searched(name, width, height, found, seconds, frame)


def _drawn(pixels: Pixels, searched: Searched) -> Any:
    from ..detect.object_detector import draw

    return draw(pixels, searched.found)


def _pixels_of(picture: Any) -> Pixels:
    import numpy as np

    return np.asarray(picture, np.uint8)


def _cut(pixels: Pixels, searched: Searched, folder: Path, name: str) -> None:
    """Write what lies in each box, to the nearest pixels, as a picture of its own."""
    from PIL import Image

    for number, d in enumerate(searched.found, start=1):
        left, top, right, bottom = searched.pixels(d)
        label = "".join(c if c.isalnum() else "_" for c in d.name)
        cut = Image.fromarray(pixels[top:bottom, left:right])
        write_picture(cut, folder / f"{name}-{number}-{label}{os.extsep}png")


def _show(searched: Searched, target: Path | None, out: Console) -> None:
    from rich.text import Text

    size = f"({searched.width} x {searched.height})"
    lines = [Text(f"{searched.path} {size}", style="bold")]
    longest = max((len(d.name) for d in searched.found), default=0)
    bars = out.is_terminal and out.encoding.startswith("utf")
    for d in searched.found:
        line = Text(f"  {d.score:.4f}  ")
        if bars:
            line.append(f"{bar(d.score, 10)}  ", style="cyan")
        corners = ", ".join(f"{c:.0f}" for c in d.box)
        lines.append(line.append(f"{d.name.ljust(longest)}  ({corners})"))
    if not searched.found:
        lines.append(Text("  nothing found"))
    if target is not None:
        lines.append(Text(f"  drawn in {target}"))
    say(out, lines)
