"""`caffe classify`: name what is in pictures."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CaffeError
from .options import Threads, use_gpu
from .own_net import (
    OWN,
    ChannelSwap,
    ImageDims,
    InputScale,
    Mean,
    ModelName,
    OwnNet,
    OwnWeights,
    RawScale,
    check_own,
    own_classifier,
    zoo_classifier,
)
from .sources import STANDARD_INPUT, find_pictures, read_source
from .terminal import bar, complain, progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.text import Text

    from ..classifier import Classifier

CROPS = 10

MANY = 400
"""From how many pictures on OpenVINO, where it is installed, wins back what it takes to prepare."""


@dataclass
class PreparedPicture:
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

    @cached_property
    def color(self) -> bool:
        """Whether the net takes colour pictures; grey ones otherwise."""
        return self.classifier.recipe.color

    def prepare(self, name: str) -> PreparedPicture | CaffeError:
        """Read a picture and do to it what the net wants; threads may do so at once."""
        start = time.perf_counter()
        color = self.color
        try:
            pixels, white = read_source(name, color)
        except CaffeError as error:
            return error
        crops = self.classifier.prepare(pixels, self.oversample, white)
        return PreparedPicture(name, crops, time.perf_counter() - start)

    def probabilities(self, pictures: Sequence[PreparedPicture]) -> NDArray[np.float32]:
        """One row per picture."""
        rows = self.classifier.predict_prepared(picture.crops for picture in pictures)
        rows = rows.reshape(len(pictures), -1)
        if not self.checked:
            self._check(rows)
        return rows

    def _check(self, rows: NDArray[np.float32]) -> None:
        from ..predictions import are_probabilities

        output = self.classifier.outputs[0]
        if self.labels is not None and len(self.labels) != rows.shape[1]:
            raise CaffeError(
                f"the labels name {len(self.labels)} classes, but the net's output '{output}' "
                f"has {rows.shape[1]} values per picture"
            )
        if not are_probabilities(rows):
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
    model: ModelName = None,
    net: OwnNet = None,
    weights: OwnWeights = None,
    mean: Mean = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="One class per line, such as synset_words.txt.",
            rich_help_panel=OWN,
        ),
    ] = None,
    raw_scale: RawScale = None,
    input_scale: InputScale = None,
    channel_swap: ChannelSwap = None,
    image_dims: ImageDims = None,
    gpu: Annotated[int | None, typer.Option(metavar="N", min=0, help="Run on this GPU.")] = None,
    threads: Threads = None,
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
    check_own(model, net, own)
    use_gpu(gpu)
    from ..io.labels import read_labels

    refused: list[str] = []

    def refuse(reason: str) -> None:
        refused.append(reason)
        complain(reason)

    found = find_pictures(pictures, refuse)
    if found:
        _choose_engine(len(found))
        if net is None or weights is None:
            of_zoo = zoo_classifier(model)
            recognizer = Recognizer(of_zoo, of_zoo.labels, oversample)
        else:
            classifier = own_classifier(
                net, weights, mean, raw_scale, input_scale, channel_swap, image_dims
            )
            names = None if labels is None else read_labels(labels)
            recognizer = Recognizer(classifier, names, oversample)
        total = len(found) if len(found) > batch else 0
        with progress("Classifying", total, "pictures") as (out, advance):
            at_once = max(1, batch // CROPS) if oversample else batch
            each = CROPS if oversample else 1
            recognizer.classifier.make_room(min(at_once, len(found)) * each)
            with closing(_read_all(found, recognizer, at_once, refuse, advance)) as readable:
                for name, row, seconds in _recognize(recognizer, readable, at_once):
                    _show(out, as_json, name, recognizer.labels, row, seconds, top)
                    advance()
    if refused:
        raise typer.Exit(1)


def _choose_engine(pictures: int) -> None:
    """Prepare OpenVINO before the first picture, or never: trying it out only pays in between."""
    from ..engine.backends.openvino import is_installed
    from ..mode import set_engine

    set_engine("openvino" if pictures >= MANY and is_installed() else "torch")


def _read_all(
    names: Sequence[str],
    recognizer: Recognizer,
    at_once: int,
    refuse: Callable[[str], None],
    advance: Callable[[], None],
) -> Generator[PreparedPicture, None, None]:
    """The pictures that can be read, in order; threads read two batches ahead."""
    from ..io.read_ahead import read_ahead

    def read(name: str) -> PreparedPicture | CaffeError | None:
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
    recognizer: Recognizer, pictures: Iterator[PreparedPicture], at_once: int
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
    from ..predictions import likeliest

    order = likeliest(row, top)
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
