"""`caffe device_query`: PyTorch, the accelerators that it finds, and whether they can be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .advice import as_options
from .options import gpu_numbers
from .terminal import complain, print_columns

if TYPE_CHECKING:
    from ..devices import DeviceFacts


def device_query(
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="N,N|all", help="Ask for these GPUs alone; exit code 1 if one is unusable."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="One JSON object: pytorch, built_for, gpus (number, name, memory in bytes, "
            "architecture, unusable), unusable: why GPU mode is not possible, or null.",
        ),
    ] = False,
) -> None:
    """Show the GPUs, and whether Caffe can use them; if not, why and what to do."""
    from ..devices import device_facts, why_unusable

    numbers, facts = gpu_numbers(gpu), device_facts()
    asked = list(range(len(facts.cards))) or [0] if numbers is None else numbers
    if as_json:
        print(json.dumps(_facts_of(facts, asked), indent=2))
    else:
        _show(facts, numbers)
    # The same sentence for two cards of a kind would only be told twice.
    for reason in dict.fromkeys(filter(None, (why_unusable(facts, number) for number in asked))):
        if gpu is not None:
            complain(f"GPU mode is not possible: {reason}")
            raise typer.Exit(1)
        if not as_json:
            print(f"\nGPU mode is not possible: {as_options(reason)}")


def _built_for(facts: DeviceFacts) -> str | None:
    kinds = {"cuda": "CUDA", "xpu": "Intel XPU", "mps": "Apple Metal"}
    return facts.runtime or kinds.get(facts.backend or "", facts.backend)


def _show(facts: DeviceFacts, numbers: Sequence[int] | None) -> None:
    from ..devices import why_unusable

    rows = [
        ("PyTorch", facts.torch_version),
        ("Built for", _built_for(facts) or "CPU only"),
        ("GPUs found", str(len(facts.cards))),
    ]
    for number, card in enumerate(facts.cards):
        if numbers is None or number in numbers:
            memory = f"{card.memory / 2**30:.1f} GiB" if card.memory else ""
            parts = ", ".join(filter(None, (card.name, memory, card.architecture)))
            usable = "can be used" if why_unusable(facts, number) is None else "cannot be used"
            rows.append((f"GPU {number}", f"{parts}: {usable}"))
    print_columns(rows)


def _facts_of(facts: DeviceFacts, asked: Sequence[int]) -> dict[str, object]:
    from ..devices import why_unusable

    gpus = [
        {
            "number": number,
            "name": facts.cards[number].name,
            "memory": facts.cards[number].memory or None,
            "architecture": facts.cards[number].architecture or None,
            "unusable": why_unusable(facts, number),
        }
        for number in asked
        if number < len(facts.cards)
    ]
    return {
        "pytorch": facts.torch_version,
        "built_for": _built_for(facts),
        "gpus": gpus,
        "unusable": why_unusable(facts, 0),
    }
