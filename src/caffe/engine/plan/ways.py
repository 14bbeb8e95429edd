"""How a GPU computes a convolution and what follows it: found out before that is recorded.

Beside PyTorch's operations, one after the other, there are kernels that do several of them in one
pass: cuDNN's own, which know a ReLU and a sum, those of `caffe.gpu`, and cuDNN's with zeros as
further channels where it has quick ones for multiples of four or eight alone. Which is the quickest
depends on the card and on cuDNN's version, so that each is timed once. What gives other values, or
makes numbers of NaN, is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ...memory.stores import Store, tried_kernels, tries_now
from ...pytorch import torch
from .. import remembered
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

TURNS, TRIES = 2, 4
"""How often each way is timed, and how many runs that are; the least counts."""

WORTH = 0.97
"""What share of the time apart it may take at most."""

TOLERANCE = {"torch.float32": 5e-5, "torch.float16": 1e-2, "torch.bfloat16": 5e-2}
"""By how much of the largest value results may differ: kernels add up in other orders."""

ROUNDED = 2e-3
"""The same where factors are rounded to TF32."""

APART = "one after the other"

Way = Callable[["Tensor"], "Tensor"]
"""From the convolution's bottom to the result."""


Taken = tuple[str, dict[str, float], str]
"""Which way was the quickest, how many seconds each took, and why others are not taken."""

_found: dict[Hashable, Taken] = {}
"""What earlier convolutions of the same kind have found out in this process."""


class Ways:
    """Which of several ways is the quickest, found out when it is to be run often.

    Parameters
    ----------
    store : Store
        Where it is computed.
    tolerance : float
        By how much of the largest value what they compute may differ.
    kind : hashable, optional
        What the times depend on: those of the same kind are not timed again.

    Attributes
    ----------
    said : str
        What came out, for people.
    """

    def __init__(self, store: Store, tolerance: float, kind: Hashable = None) -> None:
        self._store = store
        self._tolerance = tolerance
        self._kind = kind
        self._chosen: str | None = None
        self.said = ""

    @property
    def is_apart(self) -> bool:
        """Whether PyTorch's operations compute now, and the other ways are not wanted."""
        return self._chosen == APART or (self._chosen is None and not tries_now())

    def run(
        self, x: Tensor, apart: Way, others: Mapping[str, Way], sure: Collection[str] = ()
    ) -> Tensor:
        """Compute by the quickest way; none may change what it is given.

        Parameters
        ----------
        x : Tensor
            The convolution's bottom.
        apart : Callable
            By PyTorch's operations, one after the other.
        others : mapping of str to Callable
            The other ways, by their names.
        sure : collection of str
            Those of them that need not be timed: cuDNN would search for long, and in vain.
        """
        if self.is_apart:
            return apart(x)
        if self._chosen is None:
            self._chosen, self.said = self._find_out(x, apart, others, sure)
        return others.get(self._chosen, apart)(x)

    def _find_out(
        self, x: Tensor, apart: Way, others: Mapping[str, Way], sure: Collection[str]
    ) -> tuple[str, str]:
        """Return the quickest way's name, and what came out, for people."""
        if not x.isfinite().all():
            # What they compute could not be compared; the next net of this kind tries them.
            return APART, "its input was not finite when ways were to be tried"
        names = (APART, *others)
        kind = None if self._kind is None else (self._kind, *names)
        taken = _found.get(kind) or self._recalled(kind, names)
        if taken is None:
            taken = self._try_all(x, apart, others, sure)
            if kind is not None and not taken[2]:
                remembered.note(_key(kind), *taken[:2])
        if kind is not None:
            _found[kind] = taken
        return taken[0], _said(*taken)

    @staticmethod
    def _recalled(kind: Hashable, names: Sequence[str]) -> Taken | None:
        """What earlier processes have found."""
        finding = remembered.recall(_key(kind)) if kind is not None else None
        if finding is None or finding.chosen not in names or APART not in finding.seconds:
            return None
        return finding.chosen, finding.seconds, ""

    def _try_all(
        self, x: Tensor, apart: Way, others: Mapping[str, Way], sure: Collection[str]
    ) -> Taken:
        refused: dict[str, str] = {}
        for name in sure:
            refused[name] = self._refusal(x, apart, others[name])
            if not refused[name]:
                return name, {}, ""
        with tried_kernels():
            for name, way in others.items():
                if name not in refused:
                    refused[name] = self._refusal(x, apart, way)
            kept = {name: way for name, way in others.items() if not refused[name]}
            taken: dict[str, float] = {}
            for _ in range(TURNS if kept else 0):
                for name, way in {APART: apart, **kept}.items():
                    seconds = self._store.seconds(partial(way, x), TRIES)
                    taken[name] = min(seconds, taken.get(name, seconds))
        best = min(kept, key=taken.__getitem__, default=APART)
        best = best if not kept or taken[best] <= WORTH * taken[APART] else APART
        why = "; ".join(f"not {name}: {reason}" for name, reason in refused.items() if reason)
        return best, taken, why

    def _refusal(self, x: Tensor, apart: Way, way: Way) -> str:
        """Why a way cannot be had, or computes something else; empty where it does not."""
        try:
            if not _are_alike(apart(x), way(x), self._tolerance):
                return "it gives other values"
            odd = x.clone()
            odd[0].fill_(torch.nan)
            if not torch.equal(apart(odd).isnan(), way(odd).isnan()):
                return "it makes numbers of NaN"
        except Exception as error:
            # cuDNN, and whatever Triton's compiler raises.
            return " ".join(str(error).split())[:80]
        return ""


def _are_alike(expected: Tensor, found: Tensor, tolerance: float) -> bool:
    most, difference = expected.abs().amax(), (found - expected).abs().amax()
    return bool(difference <= tolerance * most)


def _key(kind: Hashable) -> str:
    """What a finding is kept by: the kind, the card and cuDNN's version."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return remembered.key_of([str(kind), card, torch.backends.cudnn.version()])


def _said(chosen: str, taken: Mapping[str, float], why: str) -> str:
    """What came out, for people."""
    by_name = {name: _times(taken, name) for name in taken if name != APART}
    if chosen != APART:
        return f"{chosen}: {by_name[chosen]}" if chosen in by_name else chosen
    slower = [f"not {name}: {times}" for name, times in by_name.items()]
    return "; ".join([why, *slower] if why else slower)


def _times(taken: Mapping[str, float], name: str) -> str:
    return f"{1000 * taken[name]:.3g} ms instead of {1000 * taken[APART]:.3g}"


def ways(settings: Settings, kind: Hashable = None) -> Ways | None:
    """Return what tries them, where there is cuDNN and a choice is allowed; None elsewhere."""
    store = settings.store
    if store is None or not (settings.tries and has_ways(store)):
        return None
    tolerance = ROUNDED if settings.allows_tf32 else TOLERANCE[str(settings.precision)]
    return Ways(store, tolerance, kind)


def has_ways(store: Store) -> bool:
    """Tell whether a store computes by cuDNN, which the program lets choose its kernels."""
    return (
        store.device.type == "cuda"
        and torch.backends.cudnn.is_available()
        and not torch.backends.cudnn.deterministic
        and not torch.are_deterministic_algorithms_enabled()
    )
