"""`caffe detect`: find objects in pictures, and draw boxes around them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .bulk import Many, bulk_arithmetic, goes_to_parts, pictures_given, run_in_parts
from .option_groups import takes_groups
from .options import Computing, numbers
from .own_net import OWN, model_files, tell_recipe
from .preparing import PREPARATION, Preparation, reasons_of
from .reading import Refusals
from .searching import Wishes, search
from .sources import find_pictures
from .terminal import complain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..bulk.job import Job
    from ..bulk.tasks import Arithmetic, Task
    from ..detect.object_detector import ObjectDetector

COCO = "coco"
IN_PARTS = (COCO, "parquet")
"""The forms of boxes that a run over any number of pictures may be asked for."""


@takes_groups
def detect(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURES",
            help="Picture files, http(s) addresses, or directories, in which pictures are looked "
            "for. '-' reads a picture from standard input. With --to FOLDER/ also "
            "s3://BUCKET/PREFIX, tar archives, and Parquet files of pictures or their places.",
        ),
    ] = None,
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
    *,
    preparation: Preparation,
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
            help="Where the picture with its boxes goes; with several pictures, a folder, or a "
            "video's file (.mp4, .mkv, .webm) that they become. A video becomes a video.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORM",
            help="Write boxes as coco, voc or yolo, or as csv, json, jsonl or parquet.",
        ),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FILE|FOLDER/",
            help="Where boxes are written: a file, whose ending says the form if --format does "
            "not; of voc and yolo a folder. Standard output if nothing is said. For any number of "
            "pictures a folder or s3://BUCKET/..., in a run that goes on where it was stopped; "
            "--format coco writes such a file there too.",
        ),
    ] = None,
    crops: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Cut out each object, as a picture of its own."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="So many frames of a video or camera at most.")
    ] = None,
    how: Computing,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="As --format jsonl: one JSON object per picture and line: path, width, height, "
            "detections (label, name, score, box as xmin, ymin, xmax, ymax in pixels), time in "
            "seconds. With --to FOLDER/ lines that tell of the progress.",
        ),
    ] = False,
    many: Many,
) -> None:
    """Find objects in pictures, and draw boxes around them.

    What a net wants of pictures is guessed from its text and said on stderr. Pictures that cannot
    be read are named there too; the others are still searched, and the exit code is 1.

    With --to FOLDER/ every picture has a row there, with the reason where it could not be read, and
    the exit code is 0 when all rows are there; it is 1 where not one picture could be read.

    Videos (.mp4, .mkv, .mov, ...) and cameras ("camera", "camera:1") are searched frame by frame;
    that needs the extra 'video'. A camera is watched until Ctrl-C.

    Try it: caffe detect people.jpg -o faces.png
    """
    if net is not None and (model is not None or weights is None):
        raise typer.BadParameter("--net goes with --weights, and not with --model")
    if net is None and (weights is not None or labels is not None):
        raise typer.BadParameter("--weights and --labels go with --net; models of the zoo know")
    options = {
        **preparation.said(),
        "fit": fit,
        "anchors": None if anchors is None else numbers(anchors, "--anchors"),
    }
    in_parts = form in (None, *IN_PARTS) and goes_to_parts(place)
    pictures = pictures_given(pictures, may_lack=in_parts and many.verify)
    if place is not None and in_parts:
        if output is not None or crops is not None or frames is not None:
            raise typer.BadParameter("--output, --crops and --frames do not go with --to FOLDER/")
        _detect_in_parts(
            many,
            pictures,
            place,
            form,
            as_json,
            lambda: _detector(model, net, weights, labels, options),
            lambda detector: _task_of(
                detector, model, net, weights, threshold, bulk_arithmetic(how)
            ),
        )
        return
    many.refuse("--to", pictures)
    if as_json and form not in (None, "jsonl"):
        raise typer.BadParameter("--json and --format are two ways to say one thing")
    form = "jsonl" if as_json else form
    if form is None and place is not None:
        from ..io.tables import form_of

        form = form_of(place)[0]
    how.use()
    refuse = Refusals()
    found = list(dict.fromkeys(find_pictures(pictures, refuse)))
    if found:
        boxes = None if place is None else Path(place)
        wishes = Wishes(output, form, boxes, crops, threshold, frames)
        wishes.check(found)
        detector = _detector(model, net, weights, labels, options)
        search(detector, found, wishes, refuse)
    refuse.end()


def _detector(
    model: str | None,
    net: Path | None,
    weights: Path | None,
    labels: str | None,
    options: dict[str, Any],
) -> ObjectDetector:
    from ..detect.object_detector import ObjectDetector

    reasons = reasons_of(options)
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


def _detect_in_parts(
    many: Many,
    pictures: list[str],
    place: str,
    form: str | None,
    as_json: bool,
    load: Callable[[], ObjectDetector],
    task_of: Callable[[ObjectDetector], Task],
) -> None:
    classes: dict[int, str] = {}

    def task() -> Task:
        detector = load()
        classes.update(detector.classes())
        return task_of(detector)

    def afterwards(job: Job) -> None:
        if form == COCO:
            from ..bulk.coco import write_coco

            written = write_coco(job.store, classes)
            if not as_json:
                print(f"{written}: the boxes as COCO has them.")

    run_in_parts(many, pictures, place, as_json, task, afterwards)


def _task_of(
    detector: ObjectDetector,
    model: str | None,
    net: Path | None,
    weights: Path | None,
    threshold: float,
    arithmetic: Arithmetic,
) -> Task:
    """What other processes make a command line's detector of."""
    from ..bulk.detecting import Detecting
    from ..zoo import DEFAULT_DETECTOR

    own = None if net is None or weights is None else (net, weights)
    return Detecting(
        model_files(own, model or DEFAULT_DETECTOR),
        detector.preparation,
        arithmetic,
        names=None if detector.names is None else tuple(detector.names),
        anchors=None if detector.anchors is None else tuple(detector.anchors),
        threshold=threshold,
    )
