"""`caffe classify`: name what is in pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CaffeError
from .bulk import Many, bulk_arithmetic, goes_to_parts, pictures_given, run_in_parts
from .option_groups import takes_groups
from .options import BatchSize, Computing
from .own_net import OWN, AnyClassifier
from .reading import PreparedPicture, Refusals, batches, prepare_for, read_all
from .sources import find_pictures
from .terminal import bar, complain, progress, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from ..bulk.tasks import Task
    from ..classifier import Classifier
    from ..io.tables import Put
    from ..predictions import Predictions

CROPS = 10
COLUMNS: dict[str, type] = {
    "path": str,
    "rank": int,
    "index": int,
    "label": str,
    "probability": float,
    "time": float,
}
"""Of a table: a row for each class of each picture."""

MANY = 64
"""From how many pictures on a quick engine wins back what it takes to prepare.

Its kernels are kept for later processes: the first one's half a second is won back by 300.
"""


@dataclass
class Recognizer:
    """A classifier with the names of its classes."""

    classifier: Classifier
    labels: list[str] | None

    def check(self, rows: NDArray[np.float32]) -> None:
        """Check that the first batch's values are those of the labels' classes.

        Raises
        ------
        CaffeError
            There are more or fewer classes than labels.
        """
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


@takes_groups
def classify(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURES",
            help="Picture files, http(s) addresses, or directories, in which pictures are looked "
            "for by their extension, subdirectories too, in alphabetical order, hidden files "
            "left out. '-' reads a picture from standard input. With -o FOLDER/ also "
            "s3://BUCKET/PREFIX, tar archives, and Parquet files of pictures or their places.",
        ),
    ] = None,
    *,
    which: AnyClassifier,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="One class per line, such as synset_words.txt.",
            rich_help_panel=OWN,
        ),
    ] = None,
    how: Computing,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 5,
    min_probability: Annotated[
        float | None,
        typer.Option(
            metavar="P", min=0, max=1, help="Leave out classes that are less probable than this."
        ),
    ] = None,
    oversample: Annotated[
        bool, typer.Option("--oversample", help="Average over ten crops; slower, a bit better.")
    ] = False,
    batch: BatchSize = 16,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|csv|json|jsonl|FOLDER/",
            help="Write results to a file that ends in .csv, .json, .jsonl or .parquet; to "
            "standard output where only a form is named; for any number of pictures to a folder "
            "or s3://BUCKET/..., in a run that goes on where it was stopped.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="One JSON object per picture and line: path, predictions (index, label, "
            "probability), time (seconds for reading and classifying). With -o FOLDER/ lines that "
            "tell of the progress.",
        ),
    ] = False,
    many: Many,
) -> None:
    """Name what is in pictures, with the most probable classes first.

    Pictures that cannot be read are named on stderr; the others are still classified, and the
    exit code is 1.

    With -o FOLDER/ every picture has a row there, with the reason where it could not be read, and
    the exit code is 0 when all rows are there; it is 1 where not one picture could be read.
    """
    which.check(which.model, labels=labels)
    from ..io.labels import read_labels
    from ..io.tables import JSON_LINES, form_of, write_results
    from ..predictions import Predictions

    in_parts = output is not None and goes_to_parts(output)
    pictures = pictures_given(pictures, may_lack=in_parts and many.verify)
    if output is not None and in_parts:
        arithmetic = bulk_arithmetic(how)

        def task() -> Task:
            from ..bulk.classifying import Classifying

            files, recipe, names = which.frozen()
            names = names if labels is None else read_labels(labels)
            return Classifying(
                files,
                recipe,
                arithmetic,
                labels=None if names is None else tuple(names),
                top=top,
                least=min_probability,
                oversample=oversample,
                batch=batch,
            )

        run_in_parts(many, pictures, output, as_json, task)
        return
    many.refuse("-o", pictures)
    if as_json and output is not None:
        raise typer.BadParameter("--json and --output are two ways to say one thing")
    results = JSON_LINES if as_json else output
    if results is not None:
        form_of(results)
    how.use()
    refuse = Refusals()
    found = find_pictures(pictures, refuse)
    if found:
        if how.engine is None:
            _choose_engine(len(found))
        classifier, names = which.load()
        recognizer = Recognizer(classifier, names if labels is None else read_labels(labels))
        total, told = len(found) if len(found) > batch else 0, 0
        with ExitStack() as stack:
            out, advance = stack.enter_context(progress("Classifying", total, "pictures"))
            tell = partial(_show, out)
            if results is not None:
                tell = partial(_put, stack.enter_context(write_results(results, COLUMNS)))
            at_once = max(1, batch // CROPS) if oversample else batch
            each = CROPS if oversample else 1
            recognizer.classifier.make_room(min(at_once, len(found)) * each)
            prepare = prepare_for(recognizer.classifier, oversample)
            readable = stack.enter_context(
                closing(read_all(found, prepare, 2 * at_once, refuse, advance))
            )
            for name, row, seconds in _recognize(recognizer, readable, at_once):
                best = Predictions.of_scores(row, recognizer.labels, top, min_probability, name)
                tell(best, recognizer.labels is not None, seconds)
                told += 1
                advance()
        if results is not None and form_of(results)[1] is not None:
            print(f"{results}: {told} pictures.")
    refuse.end()


def _choose_engine(pictures: int) -> None:
    """Prepare a quick engine before the first picture, or never: trials only pay in between."""
    from ..engine.usual import quick_engine
    from ..mode import set_engine

    set_engine(quick_engine() if pictures >= MANY else "torch")


def _recognize(
    recognizer: Recognizer, pictures: Iterator[PreparedPicture], at_once: int
) -> Iterator[tuple[str, NDArray[np.float32], float]]:
    first = True
    for batch in batches(recognizer.classifier, pictures, at_once):
        rows = batch.rows.reshape(len(batch.rows), -1)
        if first:
            recognizer.check(rows)
        first = False
        for picture, row in zip(batch.pictures, rows, strict=True):
            yield picture.name, row, picture.seconds + batch.seconds


def _put(put: Put, best: Predictions, named: bool, seconds: float) -> None:
    """Write a picture's classes as JSON has them, or as rows of a table."""
    entries = [entry if named else {**entry, "label": None} for entry in best.to_dicts()]
    facts = {"path": best.picture, "time": round(seconds, 6)}
    whole = {"path": best.picture, "predictions": entries, "time": facts["time"]}
    put(whole, [{**facts, "rank": rank, **entry} for rank, entry in enumerate(entries, start=1)])


def _show(out: Console, best: Predictions, named: bool, seconds: float) -> None:
    from rich.text import Text

    bars = out.is_terminal and out.encoding.startswith("utf")
    lines = [Text(best.picture or "", style="bold")]
    for label, probability in best:
        text = Text(f"  {probability:.4f}  ")
        if bars:
            text.append(f"{bar(probability)}  ", style="cyan")
        lines.append(text.append(label))
    say(out, lines)
