"""`caffe train`: train a net as a solver's file says, and go on from a snapshot."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Level, Stages, gpu_numbers, told_stages, use_gpu
from .terminal import complain

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import SolverParameter
    from ..solver import Solver


class Effect(str, Enum):
    """What a signal does to a training."""

    STOP = "stop"
    SNAPSHOT = "snapshot"
    NONE = "none"


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
        typer.Option(metavar="N|all", help="Train on this GPU, whatever the solver's text says."),
    ] = None,
    level: Level = 0,
    stage: Stages = None,
    sigint_effect: Annotated[
        Effect, typer.Option(help="What Ctrl-C does once the iteration is done.")
    ] = Effect.STOP,
    sighup_effect: Annotated[
        Effect, typer.Option(help="What a hang-up does once the iteration is done.")
    ] = Effect.SNAPSHOT,
    iterations: Annotated[
        int | None,
        typer.Option(hidden=True, help="Not used, as in the original: max_iter says how many."),
    ] = None,
) -> None:
    """Train a net as a solver's file says.

    The lines are those of the original Caffe, on stderr.
    """
    if snapshot is not None and weights:
        raise typer.BadParameter("--snapshot goes on from its own weights: take out --weights")
    if iterations is not None:
        complain("warning: --iterations means nothing here: max_iter says how many")
    from ..logs import init_log, say
    from ..proto.files import read_solver

    init_log()
    param = read_solver(solver)
    param.train_state.level = level
    param.train_state.stage.extend(told_stages(stage))
    _use_device(param, gpu)
    if snapshot is not None or weights:
        param.ClearField("weights")
        param.weights.extend([] if snapshot is not None else [",".join(weights or ())])
    trained = _solver(param, solver)
    if snapshot is not None:
        say("caffe.cpp:230", f"Resuming from {snapshot}")
        trained.restore(snapshot)
    say("caffe.cpp:239", "Starting Optimization")
    trained.solve()
    say("caffe.cpp:250", "Optimization Done.")


def _use_device(param: SolverParameter, gpu: str | None) -> None:
    """Train on the GPU that the command line names, or else on what the solver's text does.

    Raises
    ------
    DeviceError
        The command line names a GPU that cannot be used.
    typer.BadParameter
        It names several.
    """
    from ..devices import device_facts, why_unusable
    from ..logs import say

    numbers = [0] if gpu is not None else []
    if gpu is not None:
        cards = len(device_facts().cards)
        given = gpu_numbers(gpu)
        numbers = list(range(cards)) or [0] if given is None else given
    elif param.HasField("solver_mode") and param.solver_mode == param.GPU:
        reason = why_unusable(device_facts(), param.device_id)
        if reason is None:
            numbers = [param.device_id]
        else:
            complain(f"warning: solver_mode: GPU is not possible, so that the CPU trains: {reason}")
    if len(numbers) > 1:
        raise typer.BadParameter(
            "training on several GPUs at once is not there yet: name one of them, as in --gpu 0"
        )
    if not numbers:
        say("caffe.cpp:197", "Use CPU.")
        param.solver_mode = param.CPU
        return
    use_gpu(numbers[0])
    say("caffe.cpp:204", f"Using GPUs {numbers[0]}")
    say("caffe.cpp:209", f"GPU {numbers[0]}: {device_facts().cards[numbers[0]].name}")
    param.solver_mode, param.device_id = param.GPU, numbers[0]


def _solver(param: SolverParameter, source: Path) -> Solver:
    from ..errors import CaffeError
    from ..net.construction import name_source
    from ..solver import get_solver

    try:
        return get_solver(param)
    except CaffeError as error:
        name_source(error, str(source))
        raise
