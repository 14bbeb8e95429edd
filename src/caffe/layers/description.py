"""What can be told of a layer without running it: its place, its family, what it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from ..memory.blob import Shape
from .reach import Alignment, Along, Reach, middles, same_place

Count = int | tuple[int, int | None]
"""How many bottoms or tops: exactly so many, or (least, most), most being None for no limit."""


Family = Literal[
    "convolution",
    "pooling",
    "resizing",
    "product",
    "activation",
    "normalization",
    "loss",
    "source",
    "plain",
]
"""Whose kin a layer is, for drawings and the page.

"pooling" is what sums up places, "product" what multiplies everything by learned weights,
"activation" and "normalization" what changes values and leaves them where they are, "loss" what a
net is judged by, "source" what brings data, "plain" everything else.
"""


class Described:
    """What every layer says of itself; a subclass changes what is otherwise with it."""

    message: ClassVar[str | None] = None
    further_messages: ClassVar[tuple[str, ...]] = ()
    """Fields beside `message` whose settings NetSpec takes as the layer's own."""

    bottoms: ClassVar[Count] = 1
    tops: ClassVar[Count] = 1

    equal_tops: ClassVar[bool] = False
    """There are as many tops as bottoms."""

    automatic_tops: ClassVar[bool] = False
    """Tops that the text leaves out are added, nameless (losses)."""

    default_loss_weight: ClassVar[float] = 0
    """The loss weight of the first top where the text gives none (1 for losses)."""

    differences: ClassVar[str] = ""
    """What the layer does beside the original's, for the table of layers."""

    family: ClassVar[Family] = "plain"
    """Whose colour the layer has where nets are drawn or listed."""

    pointwise: ClassVar[bool] = False
    """A place of a top depends, across the picture, on the bottoms' same place alone."""

    alignment: ClassVar[Alignment | None] = None
    """How the tops lie on the bottoms, as far as the class alone can say; of a layer that is
    `pointwise` it need not be said."""

    rearranges: ClassVar[bool] = False
    """The tops' numbers are the bottoms', only put elsewhere."""

    takes_scores: ClassVar[bool] = False
    """The first bottom holds scores, of which the layer makes probabilities (Softmax)."""

    assumes_shapes: ClassVar[bool] = False
    """What `declared_shapes` says is right only if the data is as the text has it (data sources):
    whoever can opens the data and asks it."""

    @property
    def added_tops(self) -> int:
        """How many tops there are even where the text leaves them out."""
        if not self.automatic_tops:
            return 0
        return self.tops if isinstance(self.tops, int) else self.tops[0]

    @property
    def statistics(self) -> int:
        """How many of `blobs`' numbers are no learned ones, but forward's running statistics."""
        return 0

    def declared_shapes(self) -> Sequence[Shape] | None:
        """For layers without bottoms: the tops' shapes as the text alone gives them, if it does.

        For pictures that are yet to be opened, colour is assumed.
        """
        return None

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Return how many products with learned weights a forward adds up."""
        return 0

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        """Say what a place of a top depends on in a bottom of this shape.

        Returns
        -------
        sequence of Reach or None
            One for each axis behind the channels; None where it cannot be said.
        """
        return same_place(bottom) if self.pointwise else None

    @classmethod
    def keeps_coordinates(cls) -> bool:
        """Whether each place of a top lies on the same place of the bottoms."""
        return cls.pointwise or cls.alignment is Alignment.KEPT

    def coordinates(self, bottom: Shape) -> Sequence[Along] | None:
        """Say where the tops' coordinates lie in a bottom of this shape.

        Returns
        -------
        sequence of (Fraction, Fraction) or None
            Scale and shift for each axis behind the channels; None where that cannot be said.
        """
        reaches = same_place(bottom) if self.keeps_coordinates() else self.receptive_field(bottom)
        if reaches is None:
            return None
        if self.alignment is not Alignment.WINDOWS and any(r.size != 1 for r in reaches):
            return None
        return middles(reaches)
