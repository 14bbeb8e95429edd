"""The pictures in a folder, in an order that can be taken up again anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

# Not all that Pillow opens: a folder's .pdf or .ico is seldom meant.
_PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".webp", ".avif", ".tif", ".tiff")
SUFFIXES = (*_PHOTOGRAPHS, ".png", ".bmp", ".gif", ".tga", ".ppm", ".pgm", ".pbm", ".pnm")


def is_picture_name(name: str) -> bool:
    """Whether a name ends like a picture's."""
    return name.lower().endswith(SUFFIXES)


def walk_pictures(
    folder: str, tell: Callable[[OSError], object], after: str | None = None
) -> Iterator[str]:
    """Yield the paths of a folder's pictures, hidden ones left out.

    In each folder its pictures stand before its subfolders, both by the alphabet. Links to folders
    are not followed.

    Parameters
    ----------
    folder : str
        Where to look.
    tell : callable
        Told of each folder that cannot be read; the rest goes on.
    after : str, optional
        A path as it was yielded: go on behind it, whether it is still there or not.
    """
    behind = None if after is None else os.path.relpath(after, folder).split(os.sep)
    yield from _walk(folder, tell, behind)


def _walk(
    folder: str, tell: Callable[[OSError], object], behind: list[str] | None
) -> Iterator[str]:
    pictures: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                elif is_picture_name(entry.name):
                    pictures.append(entry.name)
    except OSError as error:
        tell(error)
        return
    first = behind[0] if behind else ""
    if behind is None or len(behind) == 1:
        for name in sorted(pictures):
            if name > first:
                yield os.path.join(folder, name)
    for name in sorted(folders):
        place = os.path.join(folder, name)
        if behind is None or len(behind) == 1 or name > first:
            if not os.path.islink(place):
                yield from _walk(place, tell, None)
        elif name == first:
            yield from _walk(place, tell, behind[1:])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
