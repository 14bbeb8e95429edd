"""How a GPU computes a convolution and what follows it: found out by the first run.

Beside PyTorch's operations, one after the other, there are kernels that do several of them in one
pass: cuDNN's own, which know a ReLU and a sum, those of `caffe.gpu`, and cuDNN's with zeros as
further channels where it has quick ones for multiples of four or eight alone. Which is the quickest
depends on the card and on cuDNN's version, so that each is timed once. What gives other values, or
makes numbers of NaN, is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...memory.stores import Store, tried_kernels
from ...pytorch import torch
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

TURNS, TRIES = 2, 4
"""How often each way is timed, and how many runs that are; the least counts."""

WORTH = 0.97
"""What share of the time apart it may take at most."""

TOLERANCE = {"torch.float32": 1e-3, "torch.float16": 1e-2, "torch.bfloat16": 5e-2}
"""By how much of the largest value results may differ: kernels add up in other orders."""

APART = "one after the other"

Way = Callable[["Tensor"], "Tensor"]
"""From the convolution's bottom to the result."""


@dataclass(frozen=True)
class Finding:
    """Which way was the quickest, and what of the others."""

    name: str
    said: str


_found: dict[Hashable, Finding] = {}
"""What earlier convolutions of the same kind have found out in this process."""


class Ways:
    """Which of several ways is the quickest, found out in the first run.

    Parameters
    ----------
    store : Store
        Where it is computed.
    kind : hashable, optional
        What the times depend on: those of the same kind are not timed again.

    Attributes
    ----------
    said : str
        What came out, for people.
    """

    def __init__(self, store: Store, kind: Hashable = None) -> None:
        self._store = store
        self._kind = kind
        self._chosen: str | None = None
        self.said = ""

    def run(self, x: Tensor, apart: Way, others: Mapping[str, Way]) -> Tensor:
        """Compute by the quickest way; none may change what it is given."""
        if self._chosen is None:
            kind = None if self._kind is None else (self._kind, *others)
            finding = _found.get(kind) if kind is not None else None
            if finding is None:
                finding = self._try_all(x, apart, others)
            if kind is not None:
                _found[kind] = finding
            self._chosen, self.said = finding.name, finding.said
        return others.get(self._chosen, apart)(x)

    def _try_all(self, x: Tensor, apart: Way, others: Mapping[str, Way]) -> Finding:
        with tried_kernels():
            expected = apart(x)
            refused: dict[str, str] = {}
            taken: dict[str, float] = {}
            for name, way in others.items():
                try:
                    refused[name] = self._refusal(x, expected, apart, way)
                except RuntimeError as error:
                    refused[name] = " ".join(str(error).split())[:80]
            kept = {name: way for name, way in others.items() if not refused[name]}
            for _ in range(TURNS if kept else 0):
                for name, way in {APART: apart, **kept}.items():
                    seconds = self._store.seconds(partial(way, x), TRIES)
                    taken[name] = min(seconds, taken.get(name, seconds))
        said = [f"not {name}: {why}" for name, why in refused.items() if why]
        by_time = sorted(kept, key=taken.__getitem__)
        if by_time and taken[by_time[0]] <= WORTH * taken[APART]:
            best = by_time[0]
            times = f"{1000 * taken[best]:.3g} ms instead of {1000 * taken[APART]:.3g}"
            return Finding(best, f"{best}: {times}")
        for name in by_time:
            times = f"{1000 * taken[name]:.3g} ms instead of {1000 * taken[APART]:.3g}"
            said.append(f"not {name}: {times}")
        return Finding(APART, "; ".join(said))

    def _refusal(self, x: Tensor, expected: Tensor, apart: Way, way: Way) -> str:
        """Why a way computes something else; empty where it does not."""
        if not _are_alike(expected, way(x)):
            return "it gives other values"
        odd = x.clone()
        odd[0].fill_(torch.nan)
        if not torch.equal(apart(odd).isnan(), way(odd).isnan()):
            return "it makes numbers of NaN"
        return ""


def _are_alike(expected: Tensor, found: Tensor) -> bool:
    most, difference = expected.abs().amax(), (found - expected).abs().amax()
    return bool(difference <= TOLERANCE[str(expected.dtype)] * most)


def ways(settings: Settings, kind: Hashable = None) -> Ways | None:
    """Return what tries them, where there is cuDNN and a choice is allowed; None elsewhere."""
    store = settings.store
    if store is None or not (settings.tries and has_ways(store)):
        return None
    return Ways(store, kind)


def has_ways(store: Store) -> bool:
    """Tell whether a store computes by cuDNN, which the program lets choose its kernels."""
    return (
        store.device.type == "cuda"
        and torch.backends.cudnn.is_available()
        and not torch.backends.cudnn.deterministic
        and not torch.are_deterministic_algorithms_enabled()
    )
