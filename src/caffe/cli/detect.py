"""`caffe detect`: find objects in pictures, and draw boxes around them."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CaffeError
from . import completion
from .options import Threads, numbers, use_gpu
from .own_net import OWN, tell_recipe
from .sources import STANDARD_INPUT, find_pictures, read_source
from .terminal import bar, complain, progress

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from ..detect.object_detector import Detection, ObjectDetector

PREPARATION = "How pictures go in, where the guess is wrong"


def detect(
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
            help="A detector that `caffe zoo` lists; res10_face, which finds faces, if nothing "
            "is said.",
            autocompletion=completion.models,
        ),
    ] = None,
    net: Annotated[
        Path | None,
        typer.Option(
            metavar="PROTOTXT",
            help="The net: one that ends in DetectionOutput, in YOLO's layers or maps, in an "
            "R-CNN's regions, or in boxes and scores as UltraFace does.",
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
            metavar="FILE|voc|coco",
            help="The classes: a file of one per line, SSD's label map, or a published set.",
            rich_help_panel=OWN,
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="B,G,R",
            help="Subtracted from pixels of 0 to 255, one number or one per channel.",
            rich_help_panel=PREPARATION,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Multiplied after that.", rich_help_panel=PREPARATION),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(metavar="bgr|rgb|grey", help="Channels.", rich_help_panel=PREPARATION),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="What pictures are brought to; for R-CNNs the shorter side, and the most that "
            "the longer may have.",
            rich_help_panel=PREPARATION,
        ),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="stretch|letterbox",
            help="Stretch a picture to the size, or keep its form amid grey bars.",
            rich_help_panel=PREPARATION,
        ),
    ] = None,
    anchors: Annotated[
        str | None,
        typer.Option(
            metavar="W,H,W,H,...",
            help="What YOLO's boxes start from, where only its maps are given.",
            rich_help_panel=PREPARATION,
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", "-t", min=0, max=1, help="The least score.")
    ] = 0.5,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER",
            help="Where the picture with its boxes goes; with several pictures, a folder.",
        ),
    ] = None,
    gpu: Annotated[int | None, typer.Option(metavar="N", min=0, help="Run on this GPU.")] = None,
    threads: Threads = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="One JSON object per picture and line: path, width, height, detections (label, "
            "name, score, box as xmin, ymin, xmax, ymax in pixels), time in seconds.",
        ),
    ] = False,
) -> None:
    """Find objects in pictures, and draw boxes around them.

    What a net wants of pictures is guessed from its text and said on stderr. Pictures that cannot
    be read are named there too; the others are still searched, and the exit code is 1.

    Try it: caffe detect people.jpg -o faces.png
    """
    if net is not None and (model is not None or weights is None):
        raise typer.BadParameter("--net goes with --weights, and not with --model")
    if net is None and (weights is not None or labels is not None):
        raise typer.BadParameter("--weights and --labels go with --net; models of the zoo know")
    use_gpu(gpu)
    refused: list[str] = []

    def refuse(reason: str) -> None:
        refused.append(reason)
        complain(reason)

    found = find_pictures(pictures, refuse)
    if found:
        options: dict[str, Any] = {
            "mean": None if mean is None else numbers(mean, "--mean"),
            "scale": scale,
            "order": order,
            "size": None if size is None else [int(n) for n in numbers(size, "--size", 2)],
            "fit": fit,
            "anchors": None if anchors is None else numbers(anchors, "--anchors"),
        }
        detector = _detector(model, net, weights, labels, options)
        names = _pictures_of(found, output)
        with progress("Detecting", len(found), "pictures") as (out, advance):
            for source, target in zip(found, names, strict=True):
                try:
                    _search(detector, source, target, threshold, as_json, out)
                except CaffeError as error:
                    refuse(str(error))
                advance()
    if refused:
        raise typer.Exit(1)


def _detector(
    model: str | None,
    net: Path | None,
    weights: Path | None,
    labels: str | None,
    options: dict[str, Any],
) -> ObjectDetector:
    from ..detect.object_detector import ObjectDetector

    reasons = {name: f"--{name}" for name, value in options.items() if value is not None}
    if net is None:
        from .. import zoo
        from ..zoo.files import is_at_hand

        name = model or zoo.DEFAULT_DETECTOR
        # What a first download says must not stand among the results.
        with redirect_stdout(sys.stderr):
            detector = zoo.load_detector(name, is_at_hand(name), **options, reasons=reasons)
    else:
        detector = ObjectDetector(net, weights, labels, **options, reasons=reasons)
    tell_recipe(detector.preparation)
    if detector.names is None and detector.head.classes == 21:
        complain("the net tells 20 classes apart; if they are PASCAL VOC's: --labels voc")
    return detector


def _search(
    detector: ObjectDetector,
    source: str,
    target: Path | None,
    threshold: float,
    as_json: bool,
    out: Console,
) -> None:
    """Look for objects in one picture; print them, and draw them where wanted."""
    import numpy as np

    start = time.perf_counter()
    pixels, white = read_source(source)
    picture = np.divide(pixels, np.float32(white), dtype=np.float32)
    found = detector.detect(picture, threshold)
    seconds = time.perf_counter() - start
    if target is not None:
        _write(picture, found, target)
    height, width = picture.shape[:2]
    if as_json:
        rows = [
            {
                "label": d.label,
                "name": d.name,
                "score": round(d.score, 6),
                "box": [round(c, 2) for c in d.box],
            }
            for d in found
        ]
        line = {"path": source, "width": width, "height": height, "detections": rows}
        print(json.dumps({**line, "time": round(seconds, 6)}), flush=True)
    else:
        _show(source, width, height, found, target, out)


def _show(
    source: str,
    width: int,
    height: int,
    found: list[Detection],
    target: Path | None,
    out: Console,
) -> None:
    from rich.text import Text

    lines = [Text(f"{source} ({width} x {height})", style="bold")]
    longest = max((len(d.name) for d in found), default=0)
    bars = out.is_terminal and out.encoding.startswith("utf")
    for d in found:
        line = Text(f"  {d.score:.4f}  ")
        if bars:
            line.append(f"{bar(d.score, 10)}  ", style="cyan")
        corners = ", ".join(f"{c:.0f}" for c in d.box)
        lines.append(line.append(f"{d.name.ljust(longest)}  ({corners})"))
    if not found:
        lines.append(Text("  nothing found"))
    if target is not None:
        lines.append(Text(f"  drawn in {target}"))
    for line in lines:
        # Not through rich in a pipe: it has exit code 1 for a reader that went away.
        if out.is_terminal:
            out.print(line, soft_wrap=True)
        else:
            print(line.plain, flush=True)


def _write(picture: NDArray[Any], found: list[Detection], target: Path) -> None:
    from PIL import Image

    from ..atomic import atomic_write
    from ..detect.object_detector import draw

    Image.init()
    form = Image.EXTENSION.get(target.suffix.lower())
    if form is None or form not in Image.SAVE:
        raise CaffeError(f"{target}: pictures are written as .png, .jpg and the like")
    image = draw(picture, found)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as stream:
            image.save(stream, form)
    except OSError as error:
        raise CaffeError(f"{target}: the picture cannot be written: {error}") from error


def _pictures_of(sources: list[str], output: Path | None) -> list[Path | None]:
    """Where each picture is drawn to: a file for one, files in a folder for several."""
    if output is None:
        return [None] * len(sources)
    if len(sources) == 1 and not output.is_dir() and output.suffix:
        return [output]
    if output.suffix and not output.is_dir():
        raise typer.BadParameter(f"--output must be a folder for {len(sources)} pictures")
    from ..io.given import is_address

    names: list[Path | None] = []
    taken: set[str] = set()
    for source in sources:
        stem = "standard-input" if source == STANDARD_INPUT else Path(source).stem
        if is_address(source):
            stem = Path(source.split("?")[0]).stem or "picture"
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        names.append(output / f"{name}{os.extsep}png")
    return names
