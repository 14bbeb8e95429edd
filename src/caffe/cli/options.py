"""What several commands do with an option's value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer

from ..threads import compute_by

Number = TypeVar("Number", int, float)
ALL = "all"
Gpus = Annotated[
    str | None,
    typer.Option(metavar="N", help="Run on this GPU; of several (0,1 or all) on the first."),
]


def _use_threads(count: int | None) -> None:
    if count is not None:
        compute_by(count)


Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        callback=_use_threads,
        help="Compute by so many threads; otherwise by as many as fit the CPUs given.",
    ),
]
"""To have it is enough for a command: the option acts by itself."""
Gpu = Annotated[int | None, typer.Option(metavar="N", min=0, help="Run on this GPU.")]
Precision = Annotated[
    str | None,
    typer.Option(metavar="P", help="float32, tf32, bfloat16 or float16.", show_default="float32"),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="E",
        help="auto, torch, llvm, onednn, openvino, onnxruntime, mnn or layerwise.",
        show_default="auto",
    ),
]


@dataclass(frozen=True)
class Computing:
    """Options of commands that run nets: where and by what these compute."""

    gpu: Gpu = None
    threads: Threads = None
    precision: Precision = None
    engine: Engine = None

    def use(self) -> None:
        """Compute so from now on; see `use_gpu` and `set_arithmetic`."""
        use_gpu(self.gpu)
        set_arithmetic(self.precision, self.engine)


BatchSize = Annotated[int, typer.Option(min=1, help="Pictures that go through at once.")]
Level = Annotated[int, typer.Option(metavar="N", help="For min_level and max_level rules.")]
Stages = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME,NAME", help="Stages that layers ask for; may be given again."),
]


def numbers(text: str, option: str, count: int | None = None) -> list[float]:
    """The numbers of an option, which stand with commas or an x between.

    Parameters
    ----------
    text : str
        What was given.
    option : str
        The option's name, for the error.
    count : int, optional
        How many there must be; any number of them by default.

    Raises
    ------
    typer.BadParameter
        There is something else, or another count.
    """
    return _parsed(text, option, count, float, "numbers")


def whole_numbers(text: str, option: str, count: int | None = None) -> list[int]:
    """The whole numbers of an option, none of them negative; see `numbers`."""
    return _parsed(text, option, count, _whole, "whole numbers")


def _parsed(
    text: str, option: str, count: int | None, parse: Callable[[str], Number], kind: str
) -> list[Number]:
    try:
        parsed = [parse(part) for part in text.replace("x", ",").split(",")]
        if not all(map(math.isfinite, parsed)):
            raise ValueError(text)
    except ValueError:
        parsed = []
    if not parsed or count not in (None, len(parsed)):
        wanted = kind if count is None else f"{count} {kind}"
        raise typer.BadParameter(f"{option} takes {wanted} with commas between, not {text!r}")
    return parsed


def _whole(text: str) -> int:
    # int() would take signs and underscores, too.
    if not text.strip().isdecimal():
        raise ValueError(text)
    return int(text)


def use_gpu(number: int | None) -> None:
    """Run the command on this GPU; on the CPU where there is no number.

    Raises
    ------
    DeviceError
        There is no such GPU.
    """
    if number is not None:
        from ..mode import set_gpu

        set_gpu(number)


def set_arithmetic(precision: str | None, engine: str | None) -> None:
    """Choose in what nets compute, and by what, where the command line says so.

    Raises
    ------
    CaffeError
        There is no such precision or engine, or not here.
    """
    if precision is None and engine is None:
        return
    from .. import mode

    if precision is not None:
        mode.set_precision(precision)
    if engine is not None:
        mode.set_engine(engine)


def gpu_numbers(text: str | None) -> list[int] | None:
    """The GPUs of an option: ``0``, ``0,1`` or ``all``; None where all are meant, or none said.

    Raises
    ------
    typer.BadParameter
        There is something else.
    """
    return None if text in (None, ALL) else whole_numbers(text, "--gpu")


def use_gpus(text: str | None) -> int | None:
    """Run the command on the first GPU that an option names; on the CPU where there is none.

    Returns
    -------
    int or None
        The GPU's number.

    Raises
    ------
    DeviceError
        There is no such GPU.
    """
    numbers = gpu_numbers(text)
    first = None if text is None else numbers[0] if numbers else 0
    use_gpu(first)
    return first


def stages_of(texts: Sequence[str] | None) -> list[str]:
    """The stages of options that each may name several, with commas between."""
    return [stage for text in texts or () for stage in text.split(",") if stage]


def told_stages(texts: Sequence[str] | None) -> list[str]:
    """The stages of options, one of no name where none is given, as the original's tool has it."""
    return stages_of(texts) or [""]
