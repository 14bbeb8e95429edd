"""`caffe device_query`: PyTorch, the accelerators that it finds, and whether they can be used."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import gpu_numbers
from .terminal import complain, print_columns


def device_query(
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="N,N|all", help="Ask for these GPUs alone; exit code 1 if one is unusable."
        ),
    ] = None,
) -> None:
    """Show the GPUs, and whether Caffe can use them; if not, why and what to do."""
    from ..devices import device_facts, why_unusable

    numbers, facts = gpu_numbers(gpu), device_facts()
    kinds = {"cuda": "CUDA", "xpu": "Intel XPU", "mps": "Apple Metal"}
    accelerator = facts.runtime or kinds.get(facts.backend or "", facts.backend)
    rows = [
        ("PyTorch", facts.torch_version),
        ("Built for", accelerator or "CPU only"),
        ("GPUs found", str(len(facts.cards))),
    ]
    for number, card in enumerate(facts.cards):
        if numbers is None or number in numbers:
            memory = f"{card.memory / 2**30:.1f} GiB" if card.memory else ""
            parts = ", ".join(filter(None, (card.name, memory, card.architecture)))
            usable = "can be used" if why_unusable(facts, number) is None else "cannot be used"
            rows.append((f"GPU {number}", f"{parts}: {usable}"))
    print_columns(rows)
    asked = list(range(len(facts.cards))) or [0] if numbers is None else numbers
    # The same sentence for two cards of a kind would only be told twice.
    for reason in dict.fromkeys(filter(None, (why_unusable(facts, number) for number in asked))):
        if gpu is not None:
            complain(f"GPU mode is not possible: {reason}")
            raise typer.Exit(1)
        print(f"\nGPU mode is not possible: {reason}")
