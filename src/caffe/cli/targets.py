"""Where what is made of each picture goes: a file for one, files in a folder for several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import CaffeError
from .sources import STANDARD_INPUT

if TYPE_CHECKING:
    from PIL import Image


def names_of(sources: Sequence[str]) -> list[str]:
    """The names of files that are made of pictures, without an ending; each one is once there."""
    from ..io.given import is_address

    names: list[str] = []
    taken: set[str] = set()
    for source in sources:
        stem = "standard-input" if source == STANDARD_INPUT else Path(source).stem
        if is_address(source):
            stem = Path(source.split("?")[0]).stem or "picture"
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


def targets(sources: Sequence[str], output: Path | None, option: str) -> list[Path | None]:
    """Where each picture's own picture goes: a file for one, PNG files in a folder for several."""
    if output is None:
        return [None] * len(sources)
    if len(sources) == 1 and not output.is_dir() and output.suffix:
        return [output]
    if output.suffix and not output.is_dir():
        raise typer.BadParameter(f"{option} must be a folder for {len(sources)} pictures")
    return [output / f"{name}.png" for name in names_of(sources)]


def write_picture(picture: Image.Image, target: Path) -> None:
    """Write a picture, in the form that the end of its name says; folders are made.

    Raises
    ------
    CaffeError
        There is no such form, or it cannot be written.
    """
    from PIL import Image

    from ..atomic import atomic_write

    Image.init()
    form = Image.EXTENSION.get(target.suffix.lower())
    if form is None or form not in Image.SAVE:
        raise CaffeError(f"{target}: pictures are written as .png, .jpg and the like")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as stream:
            picture.save(stream, form)
    except OSError as error:
        raise CaffeError(f"{target}: the picture cannot be written: {error}") from error
