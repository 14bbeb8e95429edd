"""`caffe demo-picture`: photographs to try the other commands on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..atomic import atomic_write
from ..errors import CaffeError, did_you_mean, require

PICTURES = {
    "cat": ("chelsea", "Stefan van der Walt, CC0"),
    "coffee": ("coffee", "Rachel Michetti, CC0"),
    "astronaut": ("astronaut", "Eileen Collins, by NASA; in the public domain"),
    "rocket": ("rocket", "SpaceX; in the public domain"),
}
"""By our names scikit-image's, and whose they are."""


def demo_picture(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"One of {', '.join(PICTURES)}.")
    ] = "cat",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where; ends in .jpg or .png.",
            show_default="NAME.jpg here",
        ),
    ] = None,
) -> None:
    """Write a photograph to try things on, free for every use. Needs the extra 'demo'.

    Try it: caffe demo-picture cat && caffe classify cat.jpg
    """
    if name not in PICTURES:
        hint = did_you_mean(name, PICTURES, f"there are {', '.join(PICTURES)}")
        raise CaffeError(f"there is no picture '{name}'; {hint}")
    output = output or Path(f"{name}.jpg")
    form = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}.get(output.suffix.lower())
    if form is None:
        raise CaffeError(f"{output}: end the name in .jpg or .png")
    data = require("skimage.data", "demo", "caffe demo-picture")
    from PIL import Image

    source, owner = PICTURES[name]
    picture = Image.fromarray(getattr(data, source)())
    with atomic_write(output) as stream:
        picture.save(stream, form, quality=95)
    print(f"{output} written ({picture.width} x {picture.height}; {owner}).")
