"""`caffe look`: what a net's layers make of a picture, and their filters, as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..atomic import atomic_write
from ..errors import CaffeError, require
from . import completion
from .option_groups import takes_groups
from .options import Threads
from .own_net import AnyClassifier

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..net.net import Net

DOTS_PER_INCH = 150


@takes_groups
def look(
    picture: Annotated[
        str | None,
        typer.Argument(
            metavar="[PICTURE]",
            help="A picture's file or http(s) address; '-' reads one from "
            "standard input. Not needed for --filters.",
        ),
    ] = None,
    blob: Annotated[
        str | None,
        typer.Option(
            metavar="BLOB",
            help="Draw this blob's responses to the picture.",
            autocompletion=completion.blobs,
        ),
    ] = None,
    filters: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER", help="Draw this layer's filters.", autocompletion=completion.layers
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="Where; ends in .png, .svg or .pdf."),
    ] = Path("look.png"),
    maps: Annotated[int, typer.Option(min=1, help="How many of the blob's maps.")] = 36,
    each: Annotated[
        bool,
        typer.Option("--each", help="Bring each map or filter to its own range, not all to one."),
    ] = False,
    *,
    which: AnyClassifier,
    threads: Threads = None,
) -> None:
    """Draw a blob's responses to a picture, or a layer's filters, as a figure of tiles.

    The picture goes in as `caffe classify` puts it in. Blobs without a height and a width are
    drawn as a curve of their values. `caffe show` lists a net's blobs. Needs the extra 'vis'.

    Try it: caffe look cat.jpg --blob stem -o stem.png
    """
    which.check(which.model)
    if (blob is None) == (filters is None):
        raise typer.BadParameter("give --blob with a picture, or --filters with a layer")
    if (picture is None) != (blob is None):
        raise typer.BadParameter("a picture goes with --blob, and --filters without one")
    ending = _format_of(output)
    classifier, _ = which.load()
    if picture is not None and blob is not None:
        from ..net.checks import known_blobs

        known_blobs([blob], classifier.blobs)
        _forward(classifier, picture)
        figure = _responses(classifier, blob, maps, each)
    else:
        from .. import vis

        assert filters is not None
        figure = vis.filters(classifier, filters, per_filter=each)
    with atomic_write(output) as stream:
        figure.savefig(stream, format=ending, dpi=DOTS_PER_INCH, facecolor="white")
    print(f"{output} drawn.")


def _format_of(output: Path) -> str:
    """The figure's format, by the file's name; told before any work is done."""
    require("matplotlib", "vis", "caffe look")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    ending = output.suffix[1:].lower()
    known = FigureCanvasAgg.get_supported_filetypes()
    if ending not in known:
        raise CaffeError(
            f"{output}: a figure cannot be drawn as {ending or 'a file without ending'!r}; "
            f"end the name in .png, .svg or .pdf (or in one of {', '.join(sorted(known))})"
        )
    return ending


def _forward(classifier: Classifier, picture: str) -> None:
    """Put a picture through the net, as the first of its batch."""
    from .reading import prepare_for

    classifier.make_room(1)
    classifier.predict_prepared([prepare_for(classifier)(picture).crops])


def _responses(net: Net, blob: str, maps: int, each: bool) -> Any:
    from .. import vis

    if len(net.blobs[blob].shape) == 4 and max(net.blobs[blob].shape[2:]) > 1:
        return vis.responses(net, blob, maps=maps, per_map=each)
    return vis.values(net, blob)
