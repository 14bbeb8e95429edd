"""A GPU's place: PyTorch's settings for one can be looked at where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

import caffe
from tests.helpers.second_store import CountingStore, use_store


class Card(CountingStore):
    """A second store in CPU memory that says it is an NVIDIA GPU."""

    device = torch.device("cuda", 0)


@contextmanager
def on_a_card() -> Iterator[None]:
    """GPU mode; PyTorch's settings are afterwards what they were."""
    older = torch.backends.cuda.matmul, torch.backends.cudnn
    said = [settings.allow_tf32 for settings in older]
    before = [settings.fp32_precision for settings in newer()]
    use_store(Card())
    try:
        yield
    finally:
        caffe.set_precision("float32")
        caffe.set_mode_cpu()
        torch.backends.cudnn.deterministic = False
        # PyTorch remembers both, and refuses to tell the older one where they differ.
        for library, wish in zip(older, said, strict=True):
            library.allow_tf32 = wish
        for settings, precision in zip(newer(), before, strict=True):
            settings.fp32_precision = precision


def newer() -> list[Any]:
    """Where PyTorch keeps its newer settings of TF32."""
    library = torch.backends.cudnn
    parts = (getattr(library, name, None) for name in ("conv", "rnn"))
    places = torch.backends.cuda.matmul, *parts
    return [place for place in places if hasattr(place, "fp32_precision")]


def roundings() -> set[str]:
    """How a GPU would round the factors of products now: "ieee" is not at all."""
    return {settings.fp32_precision for settings in newer()}
