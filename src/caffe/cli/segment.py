"""`caffe segment`: what is at each place of pictures, as palettes, overlays and areas."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CaffeError
from . import completion
from .option_groups import takes_groups
from .options import Computing
from .own_net import OWN, tell_recipe
from .preparing import Preparation, reasons_of
from .reading import Refusals, read_all
from .sources import bytes_of, find_pictures, read_source
from .targets import targets, write_picture
from .terminal import bar, progress, say

if TYPE_CHECKING:
    from rich.console import Console

    from ..io.tables import Put
    from ..segmenter import Segmentation, Segmenter

AHEAD = 4
COLUMNS: dict[str, type] = {
    "path": str,
    "width": int,
    "height": int,
    "label": int,
    "name": str,
    "pixels": int,
    "share": float,
    "time": float,
}
"""Of a table: a row for each class of each picture."""


@takes_groups
def segment(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES",
            help="Picture files, http(s) addresses, or directories, in which pictures are looked "
            "for. '-' reads a picture from standard input.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model for segmentation of `caffe zoo`.",
            autocompletion=completion.models,
        ),
    ] = None,
    net: Annotated[
        Path | None,
        typer.Option(
            metavar="PROTOTXT",
            help="The net: one that ends in scores of classes for each place, or in the classes, "
            "as FCN, SegNet, DeepLab and PSPNet do.",
            rich_help_panel=OWN,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="CAFFEMODEL", help="Its weights.", rich_help_panel=OWN),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|voc|camvid|cityscapes|ade20k",
            help="The classes: a file of one per line, or a published set.",
            rich_help_panel=OWN,
        ),
    ] = None,
    blob: Annotated[
        str | None,
        typer.Option(
            help="The blob of the scores; the net's output otherwise.",
            rich_help_panel=OWN,
            autocompletion=completion.blobs,
        ),
    ] = None,
    *,
    preparation: Preparation,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER",
            help="Where the classes go, as a PNG with PASCAL VOC's palette whose pixels are their "
            "numbers; with several pictures, a folder.",
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Where the picture with the classes laid over it goes; as for --output.",
        ),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FILE|csv|json|jsonl",
            help="Write the areas to a file that ends in .csv, .json, .jsonl or .parquet; to "
            "standard output where only a form is named.",
        ),
    ] = None,
    how: Computing,
) -> None:
    """Say what is at each place of pictures, and how much of them each class covers.

    How pictures go in is said on stderr; where that is wrong, say it. Pictures that cannot be read
    are named there too; the others are still segmented, and the exit code is 1.

    Try it: caffe segment street.jpg --net deploy.prototxt --weights fcn.caffemodel --labels voc
    --overlay street.png
    """
    if net is not None and (model is not None or weights is None):
        raise typer.BadParameter("--net goes with --weights, and not with --model")
    if net is None and model is None:
        raise typer.BadParameter("give --net and --weights, or --model")
    if net is None and (weights is not None or labels is not None or blob is not None):
        raise typer.BadParameter("--weights, --labels and --blob go with --net")
    from ..io.tables import form_of, write_results

    if place is not None:
        form_of(place)
    how.use()
    refuse = Refusals()
    found = list(dict.fromkeys(find_pictures(pictures, refuse)))
    if found:
        _check_png(output)
        options = preparation.said()
        places = targets(found, output, "--output"), targets(found, overlay, "--overlay")
        segmenter = _segmenter(model, net, weights, labels, blob, options)
        with ExitStack() as stack:
            put = None if place is None else stack.enter_context(write_results(place, COLUMNS))
            _segment(segmenter, found, places, put, place, refuse)
    refuse.end()


def _check_png(output: Path | None) -> None:
    # A folder has no ending, and a JPEG would change the numbers.
    if output is not None and not output.is_dir() and output.suffix.lower() not in ("", ".png"):
        raise CaffeError(f"{output}: classes are written as .png, which keeps their numbers")


def _segmenter(
    model: str | None,
    net: Path | None,
    weights: Path | None,
    labels: str | None,
    blob: str | None,
    options: dict[str, Any],
) -> Segmenter:
    from ..segmenter import Segmenter

    if model is not None:
        from .. import zoo
        from ..zoo.files import is_at_hand

        # What a first download says must not stand among the results.
        with redirect_stdout(sys.stderr):
            segmenter = zoo.load_segmenter(
                model, is_at_hand(model), **options, reasons=reasons_of(options)
            )
    else:
        segmenter = Segmenter(
            net, weights, labels, blob=blob, **options, reasons=reasons_of(options)
        )
    tell_recipe(segmenter.preparation)
    return segmenter


def _segment(
    segmenter: Segmenter,
    sources: Sequence[str],
    places: tuple[Sequence[Path | None], Sequence[Path | None]],
    put: Put | None,
    place: str | None,
    refuse: Refusals,
) -> None:
    from ..io.tables import form_of

    targets_of = {source: pair for source, *pair in zip(sources, *places, strict=True)}
    tells = place is None or form_of(place)[1] is not None

    def read(name: str) -> tuple[str, Any, float]:
        pixels, white = read_source(name)
        return name, pixels, white

    with ExitStack() as stack:
        out, advance = stack.enter_context(progress("Segmenting", len(sources), "pictures"))
        readable = stack.enter_context(closing(read_all(sources, read, AHEAD, refuse, advance)))
        for name, pixels, white in readable:
            start = time.perf_counter()
            try:
                picture = bytes_of(pixels, white)
                found = segmenter.segment(picture)
                seconds = time.perf_counter() - start
                palette, overlay = targets_of[name]
                if palette is not None:
                    write_picture(found.to_image(), palette)
                if overlay is not None:
                    write_picture(found.overlay(picture), overlay)
                if put is not None:
                    _put(put, name, found, seconds)
                if tells:
                    _show(name, found, [path for path in (palette, overlay) if path], out)
            except CaffeError as error:
                refuse(error)
            advance()


def _put(put: Put, name: str, found: Segmentation, seconds: float) -> None:
    height, width = found.classes.shape
    facts = {"path": name, "width": width, "height": height}
    areas = [
        {"label": area.label, "name": area.name, "pixels": area.pixels, "share": area.share}
        for area in found.areas()
    ]
    seconds = round(seconds, 6)
    rows = [{**facts, **area, "time": seconds} for area in areas]
    put({**facts, "classes": areas, "time": seconds}, rows)


def _show(name: str, found: Segmentation, drawn: Sequence[Path], out: Console) -> None:
    from rich.text import Text

    height, width = found.classes.shape
    lines = [Text(f"{name} ({width} x {height})", style="bold")]
    bars = out.is_terminal and out.encoding.startswith("utf")
    for area in found.areas():
        line = Text(f"  {area.share:.4f}  ")
        if bars:
            line.append(f"{bar(area.share)}  ", style="cyan")
        lines.append(line.append(area.name))
    lines += [Text(f"  drawn in {path}") for path in drawn]
    say(out, lines)
