"""A net by chance: layers that suit each other, in place, split, joined, with parameters shared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from caffe.errors import CaffeError
from caffe.layers.registry import create
from caffe.proto.caffe_pb2 import LayerParameter
from caffe.proto.text import parse_text

from . import other_layers  # noqa: F401 (its makers enter)
from .layers import MAKERS, LayerCase, Shape, draw, draw_shape, given

OFTEN = {"Convolution": 10, "ReLU": 6, "Eltwise": 6, "BatchNorm": 4, "Scale": 4, "Pooling": 3,
         "InnerProduct": 3, "Concat": 3}  # fmt: skip
"""How many times as often as others these types are drawn; engines join them."""

ALONE = {"Dropout", "PriorBox"}
"""Types that one net need not have often."""

TRIES = 20
"""How often a layer is drawn anew that the blobs at hand do not suit."""


@dataclass(frozen=True)
class Drawn:
    """A net.

    Attributes
    ----------
    text : str
        As a prototxt.
    inputs : dict of str to shape
        Its inputs.
    """

    text: str
    inputs: dict[str, Shape]


def draw_net(rng: Random, most: int = 10) -> Drawn:
    """Return a net of at most so many layers beside its inputs."""
    shape = draw_shape(rng, rng.choice((4, 4, 4, 4, 4, 2, 3, 5)))
    inputs = {f"in{i}": shape for i in range(rng.choice((1, 1, 1, 2)))}
    blobs = dict(inputs)
    read: set[str] = set()
    text = "".join(given(*item) for item in inputs.items())
    kinds = list(MAKERS)
    weights = [OFTEN.get(kind, 0.2 if kind in ALONE else 1) for kind in kinds]
    for number in range(rng.randint(1, most)):
        for _ in range(TRIES):
            kind = rng.choices(kinds, weights)[0]
            layer = _place(rng, kind, f"layer{number}", blobs, read)
            if layer is not None:
                text += layer
                break
    return Drawn(text, inputs)


def _place(
    rng: Random, kind: str, name: str, blobs: dict[str, Shape], read: set[str]
) -> str | None:
    """Put a layer behind blobs that it suits; returns its text, or None where there are none."""
    names = [name for name, shape in blobs.items() if shape]
    # The newest blob is the most frequent one, so that chains come about.
    first = names[-1] if rng.random() < 0.7 else rng.choice(names)
    case = draw(rng, kind, blobs[first])
    if rng.random() < 0.3 and len(case.shapes) == 1 and case.tops == 1:
        case = replace(case, in_place=True)
    bottoms = _bottoms(rng, case, first, blobs)
    if bottoms is None:
        return None
    if case.in_place and (first in read or first in bottoms[1:]):
        # Caffe refuses to write over what somebody else reads.
        case = replace(case, in_place=False)
    tops = [f"{name}_{i}" for i in range(case.tops)]
    if case.in_place:
        tops[0] = bottoms[0]
    if case.tops > 1 and kind == "Pooling" and not first.startswith("in"):
        # The place of the largest value changes altogether where two values are nearly equal.
        return None
    text = case.text(name, bottoms, tops)
    shapes = shapes_of(text, [blobs[bottom] for bottom in bottoms])
    if shapes is None or (case.in_place and shapes[0] != blobs[first]):
        return None
    if any(0 in shape for shape in shapes):
        return None
    read.update(bottom for bottom in bottoms if bottom not in tops)
    # What is written last is the newest, in place too.
    for top, shape in zip(tops, shapes, strict=True):
        blobs.pop(top, None)
        blobs[top] = shape
    return text


def _bottoms(rng: Random, case: LayerCase, first: str, blobs: dict[str, Shape]) -> list[str] | None:
    bottoms = [first]
    if case.shapes[0] != blobs[first]:
        return None
    for shape in case.shapes[1:]:
        others = [name for name, have in blobs.items() if have == shape]
        if not others:
            return None
        bottoms.append(rng.choice(others))
    return bottoms


def shapes_of(text: str, bottoms: list[Shape]) -> list[Shape] | None:
    """Return the shapes that a layer gives its tops; None where it refuses the bottoms'."""
    inside = text[text.index("{") + 1 : text.rindex("}")]
    param = parse_text(inside, LayerParameter())
    try:
        layer = create(param)
        layer.setup(*bottoms)
        layer.blobs[:] = [wanted.blob() for wanted in layer.parameters(*bottoms)]
        if layer.forbids_in_place and set(param.bottom) & set(param.top):
            return None
        return layer.top_shapes(*bottoms)
    except CaffeError:
        return None
