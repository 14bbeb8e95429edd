"""Lists of pictures' names and sizes, as SSD's evaluation reads them."""

from __future__ import annotations

from ...errors import ParseError, unreadable
from ...proto.contents import open_lines


def read_sizes(path: str) -> list[tuple[int, int]]:
    """Read a file of lines ``name height width``.

    Raises
    ------
    ParseError
        It cannot be read, or a line is none.
    """
    try:
        with open_lines(path, errors="replace") as stream:
            lines = [(n, line.split()) for n, line in enumerate(stream, 1) if line.strip()]
    except OSError as error:
        raise unreadable(f"the sizes cannot be read: {error.strerror}", path, error) from error
    sizes = []
    for number, words in lines:
        if len(words) != 3 or not (words[1].isdigit() and words[2].isdigit()):
            raise ParseError("a name, a height and a width are expected", path, number)
        sizes.append((int(words[1]), int(words[2])))
    return sizes
