"""Where one blob's places lie in another's, and the offsets that Crop layers of 2015 left unsaid.

The Caffe of FCN and HED worked Crop's offset out of the layers between its bottoms; their texts
give none. BVLC's Caffe, in which they run today, takes 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction

from ..engine.steps import Step
from ..errors import CaffeWarning
from ..layers.reach import Alignment, Along
from ..layers.shape import Crop


def warn_of_unsaid_offsets(steps: Sequence[Step]) -> None:
    """Warn, once for a net, of Crop layers without crop_param that should not begin at 0.

    Parameters
    ----------
    steps : sequence of Step
        The net's layers in running order, set up.
    """
    if not any(_says_nothing(step) for step in steps):
        return
    found = unsaid_offsets(steps)
    if found:
        listed = "; ".join(f"{name!r} from {', '.join(map(str, o))}" for name, o in found.items())
        warnings.warn(
            "the net's Crop layers have no crop_param, so that they cut from 0 on, as in BVLC's "
            f"Caffe. The Caffe of 2015 that FCN and HED were made with would cut {listed} on: if "
            "the net is one of these, write crop_param { offset: ... } into its text",
            CaffeWarning,
            stacklevel=4,
        )


def unsaid_offsets(steps: Sequence[Step]) -> dict[str, tuple[int, ...]]:
    """Return, by top, the offsets other than 0 that Crop layers without crop_param should have.

    Layers whose bottoms have no common origin, or lie apart by parts of a place, are left out.
    """
    found: dict[str, tuple[int, ...]] = {}
    origins: dict[int, dict[int, list[Along]]] = {}
    for step in steps:
        if _says_nothing(step):
            whole, size = (_origins_of(blob, origins) for blob in step.bottoms)
            offsets = next((_offsets(whole[b], size[b]) for b in size if b in whole), None)
            if offsets is not None and any(offsets):
                found[step.top_names[0]] = offsets
        read = step.bottoms[:1] if step.layer.alignment is Alignment.CUT else step.bottoms
        merged: dict[int, list[Along]] = {}
        for blob in read:
            places = step.layer.coordinates(blob.shape)
            if places is None:
                continue
            for origin, own in _origins_of(blob, origins).items():
                through = [(a * s, a * t + b) for (s, t), (a, b) in zip(places, own, strict=False)]
                merged.setdefault(origin, through)
        for blob in step.tops:
            itself = {id(blob): [(Fraction(1), Fraction(0))] * max(0, len(blob.shape) - 2)}
            in_place = any(blob is read_blob for read_blob in step.bottoms)
            origins[id(blob)] = merged if in_place else {**itself, **merged}
    return found


def _says_nothing(step: Step) -> bool:
    return isinstance(step.layer, Crop) and not step.layer.layer_param.HasField("crop_param")


def _origins_of(blob: object, origins: dict[int, dict[int, list[Along]]]) -> dict[int, list[Along]]:
    return origins.get(id(blob), {})


def _offsets(whole: list[Along], size: list[Along]) -> tuple[int, ...] | None:
    """From which of the first blob's places on the second one's lie."""
    offsets = []
    for (step, start), (other_step, other_start) in zip(whole, size, strict=False):
        offset = (other_start - start) / step
        if step != other_step or offset < 0 or offset.denominator != 1:
            return None
        offsets.append(int(offset))
    return tuple(offsets)
