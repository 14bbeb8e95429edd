"""Commands over any number of pictures: rows in a folder's or a bucket's Parquet files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CaffeError
from .terminal import complain

if TYPE_CHECKING:
    from ..bulk.job import Job
    from ..bulk.parts import Count
    from ..bulk.run import State, Watch
    from ..bulk.stores import Store
    from ..bulk.tasks import Arithmetic, Task
    from .options import Computing

SEVERAL = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".parquet")
"""How the names of sources end that are no pictures but hold some."""

CLOUDS = tuple(f"{name}://" for name in ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"))
"""How addresses in object storages begin."""
MANY = "Any number of pictures, where results go to FOLDER/ or s3://BUCKET/..."


@dataclass(frozen=True)
class Many:
    """The options of a run over any number of pictures."""

    workers: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Processes that work at once.", rich_help_panel=MANY),
    ] = 1
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on a Ray cluster: its address, 'auto' for the one this machine is part of, "
            "'local' for one of its own. Needs the extra 'ray'.",
            rich_help_panel=MANY,
        ),
    ] = None
    shard: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Pictures whose rows become one file.",
            show_default="4096",
            rich_help_panel=MANY,
        ),
    ] = None
    retry_errors: Annotated[
        bool,
        typer.Option(
            "--retry-errors",
            help="Read once more what a finished run could not read.",
            rich_help_panel=MANY,
        ),
    ] = False
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check that every picture has one row; without PICTURES nothing else is done.",
            rich_help_panel=MANY,
        ),
    ] = False

    def refuse(self, option: str, pictures: list[str]) -> None:
        """Refuse options and sources that only go with results in a folder, where there is none.

        Parameters
        ----------
        option : str
            The option that would name it.
        pictures : list of str
            The sources.
        """
        for picture in pictures:
            if _is_cloud(picture) or picture.lower().endswith(SEVERAL):
                raise typer.BadParameter(
                    f"{picture}: only with {option} FOLDER/ or {option} s3://BUCKET/..."
                )
        said = {
            "--workers": self.workers > 1,
            "--ray": self.ray is not None,
            "--shard": self.shard is not None,
            "--retry-errors": self.retry_errors,
            "--verify": self.verify,
        }
        if any(said.values()):
            names = ", ".join(name for name, is_said in said.items() if is_said)
            raise typer.BadParameter(
                f"{names}: only with {option} FOLDER/ or {option} s3://BUCKET/..."
            )


def goes_to_parts(output: str | os.PathLike[str] | None) -> bool:
    """Whether an output names a folder or a place in an object storage, and no file or form."""
    if output is None:
        return False
    text = os.fspath(output)
    return _is_cloud(text) or text.endswith(("/", os.sep)) or os.path.isdir(text)


def _is_cloud(text: str) -> bool:
    # Not caffe.bulk's function, which would load numpy for each `-o a.csv`.
    return text.lower().startswith(CLOUDS)


def pictures_given(pictures: list[str] | None, may_lack: bool = False) -> list[str]:
    """The pictures of a command line, of which there must be some unless only rows are checked."""
    if not pictures and not may_lack:
        raise typer.BadParameter("which pictures? Missing argument 'PICTURES'")
    return pictures or []


def bulk_arithmetic(how: Computing) -> Arithmetic:
    """By what the processes of a run compute; by what is quick where they run, if nobody says."""
    from ..bulk.tasks import QUICK, Arithmetic

    return Arithmetic(how.gpu, how.precision, how.engine or QUICK)


def run_in_parts(
    many: Many,
    pictures: list[str],
    output: str,
    as_json: bool,
    task: Callable[[], Task],
    afterwards: Callable[[Job], object] = lambda job: None,
) -> None:
    """Make a row for each picture in a folder's or a bucket's Parquet files.

    Parameters
    ----------
    many : Many
        How.
    pictures : list of str
        Where pictures come from; none to check rows only.
    output : str
        The folder or the address.
    as_json : bool
        Tell of the progress in lines of JSON.
    task : callable
        Returns what is made of each picture.
    afterwards : callable
        What else is to be done when all rows are there.
    """
    from ..bulk.footprint import keep_small
    from ..bulk.job import SHARD, Job
    from ..bulk.stores import open_store
    from ..errors import require

    require("pyarrow", "parquet", f"rows in {output}")
    # Ray passes rows on by pandas.
    if many.ray is None:
        keep_small()
    if pictures:
        job = Job(task(), tuple(pictures), output, many.shard or SHARD)
        begun = time.monotonic()
        with _watched(as_json) as watch:
            count = _run(job, many, watch)
        _tell_end(job.output, count, time.monotonic() - begun, as_json)
        if count.pictures and count.errors == count.pictures:
            raise CaffeError(
                f"{job.output}: none of the pictures could be read; the first: {_reason(job.store)}"
            )
        afterwards(job)
    if many.verify:
        from ..bulk.verify import verify

        verdict = verify(open_store(output))
        try:
            verdict.check()
        except CaffeError as error:
            raise CaffeError(f"{output}: {error}") from error
        facts = {"pictures": verdict.pictures, "rows": verdict.rows, "errors": verdict.errors}
        if as_json:
            print(json.dumps({"event": "verified", **facts}), flush=True)
        else:
            print(f"{output}: {verdict.rows} rows, one for each of {verdict.pictures} pictures.")


def _run(job: Job, many: Many, watch: Watch) -> Count:
    if many.retry_errors:
        from ..bulk.retrying import retry_errors

        return retry_errors(job, watch)
    if many.ray is not None:
        from ..bulk.ray_cluster import run_on_ray

        actors = (1, many.workers) if many.workers > 1 else None
        return run_on_ray(job, many.ray, watch, complain, actors)
    from ..bulk.run import run

    return run(job, watch, complain, many.workers)


def _tell_end(output: str, count: Count, seconds: float, as_json: bool) -> None:
    if as_json:
        facts = {"event": "done", **count._asdict(), "seconds": round(seconds, 3)}
        print(json.dumps(facts), flush=True)
        return
    print(f"{output}: {count.pictures} pictures.")
    if count.errors:
        complain(
            f"{count.errors} pictures could not be read; their rows say why in the column 'error' "
            "(--retry-errors reads them once more)"
        )


def _reason(store: Store) -> str:
    """Why the first picture could not be read."""
    from ..bulk.parts import read_part

    row = read_part(store, 0, ["key", "error"]).slice(0, 1).to_pylist()[0]
    return f"{row['key']}: {row['error']}"


@contextmanager
def _watched(as_json: bool) -> Iterator[Watch]:
    if as_json:
        yield _Lines()
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda state: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("listing", total=None)

        def watch(state: State) -> None:
            bars.update(
                task,
                completed=state.before + state.done,
                total=state.listed if state.is_listed else None,
                description=_described(state),
            )

        yield watch


def _described(state: State) -> str:
    parts = [f"{state.rate:.1f} pictures/s", f"{state.errors} errors"]
    if not state.is_listed:
        parts.append(f"{state.listed} listed so far")
    if state.left is not None:
        parts.append(f"{_readable_time(state.left)} left")
    return ", ".join(parts)


def _readable_time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02.0f}" if hours else f"{minutes}:{seconds:02.0f}"


class _Lines:
    """Tells of the progress in lines of JSON: one a second at most, and one for each shard."""

    def __init__(self) -> None:
        self._last, self._shards = 0.0, 0

    def __call__(self, state: State) -> None:
        now = time.monotonic()
        if now - self._last < 1 and state.shards == self._shards:
            return
        self._last, self._shards = now, state.shards
        facts = {
            "event": "progress",
            "listed": state.listed,
            "all_listed": state.is_listed,
            "done": state.before + state.done,
            "errors": state.errors,
            "shards": state.shards,
            "per_second": round(state.rate, 2),
            "seconds": round(state.seconds, 3),
            "eta": None if state.left is None else round(state.left, 1),
        }
        print(json.dumps(facts), flush=True)
