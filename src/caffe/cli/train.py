"""`caffe train`: train a net as a solver's file says, and go on from a snapshot."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import loading
from .options import Level, Stages, Threads, gpu_numbers, told_stages, use_gpu
from .rate_search import find_rate, told_range
from .signals import Effect, Signals
from .terminal import complain

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import SolverParameter
    from ..solver import Solver
    from ..solver.watching import Watcher


def train(
    solver: Annotated[
        Path, typer.Option("--solver", metavar="PROTOTXT", help="What to train, and how.")
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE,FILE",
            help="Weights to start from, several with commas between; may be given again.",
        ),
    ] = None,
    snapshot: Annotated[
        Path | None,
        typer.Option(metavar="SOLVERSTATE", help="Go on from this snapshot, instead of weights."),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="N,N|all",
            help="Train on this GPU, or on these together, whatever the solver's text says.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Train in so many processes, each with batches of its own."
        ),
    ] = None,
    threads: Threads = None,
    level: Level = 0,
    stage: Stages = None,
    sigint_effect: Annotated[
        Effect, typer.Option(help="What Ctrl-C does once the iteration is done.")
    ] = Effect.STOP,
    sighup_effect: Annotated[
        Effect, typer.Option(help="What a hang-up does once the iteration is done.")
    ] = Effect.SNAPSHOT,
    as_log: Annotated[
        bool,
        typer.Option(
            "--logtostderr",
            "--alsologtostderr",
            help="The original's log on a terminal, too; in a pipe it is written anyway.",
        ),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write losses and test scores as a table.")
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write them as event files of TensorBoard (extra `tensorboard`)."
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Leave layers of this name as they are, * for any characters."
        ),
    ] = None,
    monitor: Annotated[
        str | None,
        typer.Option(metavar="BLOB", help="The test output that the next two options go by."),
    ] = None,
    keep_best: Annotated[
        bool, typer.Option("--keep-best", help="Keep the best test's snapshot, PREFIX_best.")
    ] = False,
    early_stop: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Stop after N tests without a better value."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Leave only the newest N snapshots.")
    ] = None,
    bf16: Annotated[
        bool,
        typer.Option("--bf16", help="Compute in bfloat16; parameters and losses stay float32."),
    ] = False,
    lr_find: Annotated[
        bool,
        typer.Option("--lr-find", help="Suggest a base_lr by a range test, instead of training."),
    ] = False,
    lr_range: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="The rates of --lr-find; by default 1e-7,10."),
    ] = None,
    lr_steps: Annotated[
        int, typer.Option(metavar="N", min=3, help="The steps of --lr-find.")
    ] = 100,
    lr_plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where --lr-find draws; by default SOLVER_lr_find.png."),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(hidden=True, help="Not used, as in the original: max_iter says how many."),
    ] = None,
) -> None:
    """Train a net as a solver's file says.

    In a pipe, and with `--logtostderr`, the lines are those of the original Caffe, on stderr; on a
    terminal one line tells how far the training is. Ctrl-C lets the iteration end, keeps a
    snapshot and tells how to go on; a second one stops at once.
    """
    if snapshot is not None and weights:
        raise typer.BadParameter("--snapshot goes on from its own weights: take out --weights")
    if iterations is not None:
        complain("warning: --iterations means nothing here: max_iter says how many")
    rates = told_range(lr_range)
    number, together = _in_processes(gpu, processes)
    if together and lr_find:
        raise typer.BadParameter("--lr-find tries its rates in one process")
    from .. import parallel
    from ..logs import init_log, say
    from ..mode import set_precision
    from ..proto.files import read_solver

    is_first = not together or parallel.solver_rank() == 0
    is_live = is_first and sys.stderr.isatty() and not as_log
    if is_first and not is_live and not lr_find:
        init_log()
    param = read_solver(solver)
    param.train_state.level = level
    param.train_state.stage.extend(told_stages(stage))
    _use_device(param, number)
    if bf16:
        set_precision("bfloat16")
    if snapshot is not None or weights:
        param.ClearField("weights")
        param.weights.extend([] if snapshot is not None else [",".join(weights or ())])
    param.freeze.extend(freeze or ())
    given = {"monitor": monitor, "early_stop": early_stop, "snapshot_keep": keep}
    for name, value in {**given, "snapshot_best": keep_best or None}.items():
        if value is not None:
            setattr(param, name, value)
    if lr_find:
        from ..net.construction import NamingSource

        with NamingSource(str(solver)):
            find_rate(param, rates, lr_steps, lr_plot or Path(f"{solver.stem}_lr_find.png"))
        return
    signals = Signals(sigint_effect, sighup_effect)
    with signals.noted():
        trained = _solver(param, solver)
        if is_first:
            _tell_weights(trained)
        trained.action = signals.action
        if snapshot is not None:
            say("caffe.cpp:230", f"Resuming from {snapshot}")
            trained.restore(snapshot)
        if together:
            _join_gradients(trained)
        last = LastSnapshot(trained)
        tables = (csv, tensorboard) if is_first else (None, None)
        with _watched(trained, last, is_live, *tables):
            say("caffe.cpp:239", "Starting Optimization")
            trained.solve()
            say("caffe.cpp:250", "Optimization Done.")
    if signals.has_stopped and is_first:
        further = _as_options(
            gpu=gpu,
            processes=processes,
            threads=threads,
            csv=csv,
            tensorboard=tensorboard,
            level=level or None,
            stage=stage,
            freeze=freeze,
            monitor=monitor,
            early_stop=early_stop,
            keep=keep,
            keep_best=keep_best,
            bf16=bf16,
        )
        last.tell(solver, further)


def _as_options(**given: object) -> list[str]:
    """Write options as words of a command: lists again and again, switches by their name alone."""
    words = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [f"{option}={one}" for one in value]
        elif value is not None and value is not False:
            words.append(f"{option}={value}")
    return words


class LastSnapshot:
    """Knows how a training that was stopped goes on.

    Parameters
    ----------
    solver : Solver
        Is watched for its snapshots.
    """

    def __init__(self, solver: Solver) -> None:
        from ..solver.watching import Watcher

        class Kept(Watcher):
            state: str | None = None

            def kept(self, iteration: int, state_file: str) -> None:
                self.state = state_file

        self._solver = solver
        self.watcher = Kept()

    def tell(self, solver_file: Path, further: list[str]) -> None:
        """Tell the command that goes on."""
        state = self.watcher.state
        begin = f"stopped behind iteration {self._solver.iter}"
        if state is None:
            complain(f"{begin}; no snapshot was kept (snapshot_after_train: false)")
            return
        words = ["caffe", "train", "--solver", str(solver_file), "--snapshot", state, *further]
        complain(f"{begin}; go on with: {shlex.join(words)}")


@contextmanager
def _watched(
    solver: Solver, last: LastSnapshot, is_live: bool, csv: Path | None, tensorboard: Path | None
) -> Iterator[None]:
    """Let everybody who was asked for watch the training."""
    watchers: list[Watcher] = [last.watcher]
    with ExitStack() as stack:
        if csv is not None:
            from ..solver.table import Table

            watchers.append(Table(str(csv), solver))
        if tensorboard is not None:
            from ..solver.tensorboard import TensorBoard

            watchers.append(TensorBoard(str(tensorboard), solver))
        if is_live:
            from rich.console import Console

            from .live import LiveLine

            line = LiveLine(Console(stderr=True), solver)
            watchers.append(line)
            stack.enter_context(line.shown())
        for watcher in watchers:
            stack.callback(watcher.close)
        solver.watchers += watchers
        yield


def _in_processes(gpu: str | None, processes: int | None) -> tuple[int | None, bool]:
    """Train together with others where several are asked for, or torchrun has started this one.

    Where they are yet to be started this process only waits for them.

    Returns
    -------
    number : int or None
        The GPU that the command line has for this process, which uses it from now on.
    together : bool
        Whether there are others.
    """
    from ..solver import launch

    is_launched = launch.is_launched()
    numbers = [] if gpu is None else _gpus(gpu)
    count = processes or max(1, len(numbers))
    if count > 1 and not is_launched:
        from ..devices import usable_device

        for number in numbers:
            usable_device(number)
        loading.end()
        raise typer.Exit(launch.launch(launch.this_command(), count))
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    own = numbers[rank % len(numbers)] if numbers else None
    use_gpu(own)
    if not is_launched:
        return own, False
    from ..solver import communication

    # Messages between GPUs need to know which one is this process's.
    return own, communication.join()


def _gpus(gpu: str) -> list[int]:
    from ..devices import device_facts

    given = gpu_numbers(gpu)
    return (list(range(len(device_facts().cards))) or [0]) if given is None else given


def _join_gradients(solver: Solver) -> None:
    """Let the solver begin with the first one's parameters, and use the mean of all gradients."""
    from ..solver.communication import Together

    together = Together(solver)
    together.bcast()
    solver.add_callback(together)


def _use_device(param: SolverParameter, number: int | None) -> None:
    """Train on this GPU, which is used already, or else on what the solver's text names."""
    from ..devices import device_facts, why_unusable
    from ..logs import say

    if number is None and param.HasField("solver_mode") and param.solver_mode == param.GPU:
        reason = why_unusable(device_facts(), param.device_id)
        if reason is None:
            number = param.device_id
            use_gpu(number)
        else:
            complain(f"warning: solver_mode: GPU is not possible, so that the CPU trains: {reason}")
    if number is None:
        say("caffe.cpp:197", "Use CPU.")
        param.solver_mode = param.CPU
        return
    say("caffe.cpp:204", f"Using GPUs {number}")
    say("caffe.cpp:209", f"GPU {number}: {device_facts().cards[number].name}")
    param.solver_mode, param.device_id = param.GPU, number


def _solver(param: SolverParameter, source: Path) -> Solver:
    from ..net.construction import NamingSource
    from ..solver import get_solver
    from ..solver.snapshots import check_prefix

    with NamingSource(str(source)):
        if param.snapshot_after_train:
            check_prefix(param)
        return get_solver(param)


def _tell_weights(solver: Solver) -> None:
    """Tell which layers the weights that training starts from initialised, and which not.

    On stdout, since the log on stderr is the original's to the letter.
    """
    report = solver.net.weights_report
    if report is None:
        return
    if report.missing or any(report.unused.values()):
        print(report, flush=True)
    else:
        count = len(report.sources)
        print(f"weights: all {count} layers with parameters are from the files", flush=True)
