"""`caffe classify`: name what is in pictures."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CaffeError, ShapeError
from .sources import STANDARD_INPUT, find_pictures, read_picture
from .terminal import bar, complain, progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.text import Text

    from ..classifier import Classifier

OWN = "A net of your own"
CROPS = 10
# The convention of BVLC's nets: 0 to 255, blue first.
RAW_SCALE = 255
CHANNEL_SWAP = "2,1,0"
SPINS = "3000"


@dataclass
class Picture:
    """A picture that was read: its name, its crops as the net takes them, and the seconds."""

    name: str
    crops: NDArray[np.float32]
    seconds: float


@dataclass
class Recognizer:
    """A classifier with the names of its classes."""

    classifier: Classifier
    labels: list[str] | None
    oversample: bool
    checked: bool = False

    @property
    def color(self) -> bool:
        """Whether the net takes colour pictures; grey ones otherwise."""
        channels = self.classifier.transformer.inputs[self.classifier.inputs[0]][1]
        if channels not in (1, 3):
            raise ShapeError(f"the net takes {channels} channels; pictures have 3, or 1 if grey")
        return bool(channels == 3)

    def prepare(self, name: str) -> Picture | CaffeError:
        """Read a picture and do to it what the net wants; threads may do so at once."""
        start = time.perf_counter()
        color = self.color
        try:
            pixels, white = read_picture(name, color)
        except CaffeError as error:
            return error
        crops = self.classifier.prepare(pixels, self.oversample, white)
        return Picture(name, crops, time.perf_counter() - start)

    def probabilities(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """One row per picture."""
        rows = self.classifier.predict_prepared(picture.crops for picture in pictures)
        rows = rows.reshape(len(pictures), -1)
        if not self.checked:
            self._check(rows)
        return rows

    def _check(self, rows: NDArray[np.float32]) -> None:
        output = self.classifier.outputs[0]
        if self.labels is not None and len(self.labels) != rows.shape[1]:
            raise CaffeError(
                f"the labels name {len(self.labels)} classes, but the net's output '{output}' "
                f"has {rows.shape[1]} values per picture"
            )
        if rows.min() < 0 or rows.max() > 1.001:
            complain(
                f"warning: the net's output '{output}' holds no probabilities (is there a Softmax "
                "layer at its end?); its values are shown as they are"
            )
        self.checked = True


def classify(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES",
            help="Picture files, http(s) addresses, or directories, in which pictures are looked "
            "for by their extension, subdirectories too, in alphabetical order, hidden files "
            "left out. '-' reads a picture from standard input.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model that `caffe zoo` lists; efficientnet_lite0 if nothing is said.",
        ),
    ] = None,
    net: Annotated[
        Path | None,
        typer.Option(metavar="PROTOTXT", help="The net.", rich_help_panel=OWN),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="CAFFEMODEL", help="Its weights.", rich_help_panel=OWN),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|B,G,R",
            help="The mean to subtract: a .npy or .binaryproto file, or one number per channel.",
            rich_help_panel=OWN,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="One class per line, such as synset_words.txt.",
            rich_help_panel=OWN,
        ),
    ] = None,
    raw_scale: Annotated[
        float | None,
        typer.Option(
            help="Factor for pixels of 0 to 1, before the mean is subtracted.",
            show_default=str(RAW_SCALE),
            rich_help_panel=OWN,
        ),
    ] = None,
    input_scale: Annotated[
        float | None,
        typer.Option(
            help="Factor after the mean is subtracted.", show_default="1", rich_help_panel=OWN
        ),
    ] = None,
    channel_swap: Annotated[
        str | None,
        typer.Option(
            metavar="I,I,I",
            help="Order of the channels: 2,1,0 for a net that takes BGR, as Caffe's do; 0,1,2 "
            "for RGB. Nets of one channel get the picture in grey.",
            show_default=CHANNEL_SWAP,
            rich_help_panel=OWN,
        ),
    ] = None,
    image_dims: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="Resize to this before the crop of the net's size is cut out (256,256 is "
            "common); the net's own size if nothing is said.",
            rich_help_panel=OWN,
        ),
    ] = None,
    gpu: Annotated[int | None, typer.Option(metavar="N", help="Run on this GPU.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 5,
    oversample: Annotated[
        bool, typer.Option("--oversample", help="Average over ten crops; slower, a bit better.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that go through at once.")] = 16,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="One JSON object per picture and line: path, predictions (index, label, "
            "probability), time (seconds for reading and classifying).",
        ),
    ] = False,
) -> None:
    """Name what is in pictures, with the most probable classes first.

    Pictures that cannot be read are named on stderr; the others are still classified, and the
    exit code is 1.
    """
    own = {
        "--weights": weights,
        "--mean": mean,
        "--labels": labels,
        "--raw-scale": raw_scale,
        "--input-scale": input_scale,
        "--channel-swap": channel_swap,
        "--image-dims": image_dims,
    }
    given = ", ".join(name for name, value in own.items() if value is not None)
    if net is None and given:
        raise typer.BadParameter(f"{given}: only with --net; models of the zoo know theirs")
    if net is not None and (model is not None or weights is None):
        raise typer.BadParameter("--net goes with --weights, and not with --model")
    if gpu is not None:
        from ..mode import set_device, set_mode_gpu

        set_device(gpu)
        set_mode_gpu()
    refused: list[str] = []

    def refuse(reason: str) -> None:
        refused.append(reason)
        complain(reason)

    found = find_pictures(pictures, refuse)
    if len(found) > batch:
        # Read by PyTorch's OpenMP when it is loaded: its threads would wait for work by turning
        # for milliseconds, on CPUs that have pictures to read.
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if found:
        if net is None or weights is None:
            recognizer = _from_zoo(model, oversample)
        else:
            dims = None if image_dims is None else _numbers(image_dims, "--image-dims", 2)
            swap = _numbers(channel_swap or CHANNEL_SWAP, "--channel-swap")
            raw_scale = RAW_SCALE if raw_scale is None else raw_scale
            classifier = _own_classifier(net, weights, mean, raw_scale, input_scale, swap, dims)
            names = None if labels is None else _read_labels(labels)
            recognizer = Recognizer(classifier, names, oversample)
        total = len(found) if len(found) > batch else 0
        with progress("Classifying", total, "pictures") as (out, advance):
            at_once = max(1, batch // CROPS) if oversample else batch
            _make_room(recognizer, min(at_once, len(found)))
            with closing(_read_all(found, recognizer, at_once, refuse, advance)) as readable:
                for name, row, seconds in _recognize(recognizer, readable, at_once):
                    _show(out, as_json, name, recognizer.labels, row, seconds, top)
                    advance()
    if refused:
        raise typer.Exit(1)


def _from_zoo(name: str | None, oversample: bool) -> Recognizer:
    import sys

    from .. import zoo
    from .models import is_here

    name = name or zoo.DEFAULT
    if zoo.record(name).recipe is None:
        raise CaffeError(f"{name} is no model that classifies; `caffe zoo` lists those that are")
    # What a first download says must not stand among the results.
    with redirect_stdout(sys.stderr):
        classifier = zoo.load(name, quiet=is_here(zoo.record(name)))
    return Recognizer(classifier, classifier.labels, oversample)


def _own_classifier(
    net: Path,
    weights: Path,
    mean: str | None,
    raw_scale: float,
    input_scale: float | None,
    channel_swap: list[int],
    image_dims: list[int] | None,
) -> Classifier:
    from ..classifier import Classifier

    classifier = Classifier(net, weights, image_dims, raw_scale=raw_scale, input_scale=input_scale)
    name = classifier.inputs[0]
    if classifier.transformer.inputs[name][1] != 1:
        classifier.transformer.set_channel_swap(name, channel_swap)
    if mean is not None:
        classifier.transformer.set_mean(name, _read_mean(mean))
    return classifier


def _read_mean(mean: str) -> Any:
    from ..io import load_mean

    try:
        return [float(number) for number in mean.split(",")]
    except ValueError:
        return load_mean(mean)


def _read_labels(path: Path) -> list[str]:
    """The lines of a labels file; empty ones at its end do not count."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise CaffeError(f"{path}: the labels cannot be read: {error.strerror}") from error
    return [line.strip() for line in text.rstrip().splitlines()]


def _numbers(text: str, option: str, count: int | None = None) -> list[int]:
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if not re.fullmatch(r"\s*\d+(\s*[,x]\s*\d+)*\s*", text) or count not in (None, len(numbers)):
        wanted = "whole numbers" if count is None else f"{count} whole numbers"
        raise typer.BadParameter(f"{option} takes {wanted} with commas between, not {text!r}")
    return numbers


def _make_room(recognizer: Recognizer, pictures: int) -> None:
    """Let so many pictures go through the net at once, unless its layers fix another number."""
    classifier = recognizer.classifier
    size = pictures * (CROPS if recognizer.oversample else 1)
    blob = classifier.blobs[classifier.inputs[0]]
    own = list(blob.shape)
    if own[0] == size:
        return
    blob.reshape(size, *own[1:])
    try:
        classifier.reshape()
        fits = list(classifier.blobs[classifier.outputs[0]].shape)[:1] == [size]
    except CaffeError:
        fits = False
    if not fits:
        blob.reshape(*own)
        classifier.reshape()


def _read_all(
    names: Sequence[str],
    recognizer: Recognizer,
    at_once: int,
    refuse: Callable[[str], None],
    advance: Callable[[], None],
) -> Generator[Picture, None, None]:
    """The pictures that can be read, in order; threads read two batches ahead."""
    from ..io.read_ahead import read_ahead

    def read(name: str) -> Picture | CaffeError | None:
        return None if name == STANDARD_INPUT else recognizer.prepare(name)

    with closing(read_ahead(read, names, 2 * at_once)) as outcomes:
        for name, outcome in zip(names, outcomes, strict=True):
            # Read in its turn and here: an ending interpreter would break over a thread that
            # holds standard input.
            picture = recognizer.prepare(name) if outcome is None else outcome
            if isinstance(picture, CaffeError):
                refuse(str(picture))
                advance()
            else:
                yield picture


def _recognize(
    recognizer: Recognizer, pictures: Iterator[Picture], at_once: int
) -> Iterator[tuple[str, NDArray[np.float32], float]]:
    while chunk := list(islice(pictures, at_once)):
        start = time.perf_counter()
        rows = recognizer.probabilities(chunk)
        share = (time.perf_counter() - start) / len(chunk)
        for picture, row in zip(chunk, rows, strict=True):
            yield picture.name, row, picture.seconds + share


def _show(
    out: Console,
    as_json: bool,
    name: str,
    labels: list[str] | None,
    row: NDArray[np.float32],
    seconds: float,
    top: int,
) -> None:
    order = [int(index) for index in (-row).argsort(kind="stable")[:top]]
    if as_json:
        predictions = [
            {
                "index": index,
                "label": None if labels is None else labels[index],
                "probability": value if math.isfinite(value := float(row[index])) else None,
            }
            for index in order
        ]
        line = {"path": name, "predictions": predictions, "time": round(seconds, 6)}
        print(json.dumps(line), flush=True)
        return
    from rich.text import Text

    # Not through rich in a pipe: it has exit code 1 for a reader that went away.
    say = partial(out.print, soft_wrap=True) if out.is_terminal else _print_plain
    bars = out.is_terminal and out.encoding.startswith("utf")
    say(Text(name, style="bold"))
    for index in order:
        text = Text(f"  {row[index]:.4f}  ")
        if bars:
            text.append(f"{bar(float(row[index]))}  ", style="cyan")
        say(text.append(f"class {index}" if labels is None else labels[index]))


def _print_plain(text: Text) -> None:
    print(text.plain, flush=True)
