"""Who reads the nets that are made: which layers and which fields each of them knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import NetError

COMMON = frozenset(
    {
        *("Input", "Convolution", "Deconvolution", "Pooling", "InnerProduct", "LRN", "Softmax"),
        *("ReLU", "PReLU", "Sigmoid", "TanH", "BatchNorm", "Scale", "Eltwise", "Concat"),
        *("Slice", "Reshape", "Flatten"),
    }
)
"""What all of them know."""


@dataclass(frozen=True)
class Target:
    """A reader of Caffe's nets.

    Attributes
    ----------
    name : str
        As ``--target`` has it.
    full_name : str
        For people.
    layers : frozenset of str
        The layer types that it knows.
    floor : tuple of (str, object), optional
        The field by which its Pooling rounds down, and that field's value.
    channel_operand : bool
        Whether Scale takes its factors from a second bottom of shape (N, C).
    any_axes : bool
        Whether Scale and Bias know `axis` and `num_axes`, beside numbers for each channel.
    inner_axes : bool
        Whether InnerProduct works along a later axis than the first behind the batch.
    moves_for_products : bool
        Whether products along a picture's height or width are to be over channels that Permute
        has put there; else Reshape puts them there, as batches of narrow maps.
    joins_pictures : bool
        Whether Concat takes blobs of four axes alone.
    clips_means : bool
        Whether a mean over a window that hangs over the end is over what lies inside alone.
    pads_wholes : bool
        Whether a window as large as the map has its padding; else it is the map, whatever is said.
    drops_rests : bool
        Whether parts of a Slice that nobody reads are no outputs, even without a Silence. Of a
        layer that ends the net its first top alone is one then.
    volumes : bool
        Whether Convolution and Deconvolution work over more than two axes.
    shifts_lrn : bool
        Whether LRN takes `k`, to which it adds the squares; else that is always 1.
    dilates_transposes : bool
        Whether Deconvolution takes `dilation`.
    transposes_without_steps : bool
        Whether Deconvolution may have steps of 1; a Convolution does the same.
    divides_by_roots : bool
        Whether a LayerNorm put together of Power and Eltwise is taken; else Normalize makes it.
    dilates_alike : bool
        Whether Convolution's `dilation` must be the same for height and width.
    pads_lines : bool
        Whether depthwise convolutions pad maps of one line, with what is theirs.
    keeps_flat : bool
        Whether Flatten's top has two axes.
    log_base : float or None
        What Log is to be told as `base`, if it has no natural one.
    powers : tuple of float
        The exponents that Power takes, if it does not take all.
    """

    name: str
    full_name: str
    layers: frozenset[str]
    floor: tuple[str, Any] | None = None
    channel_operand: bool = True
    any_axes: bool = True
    inner_axes: bool = True
    moves_for_products: bool = False
    joins_pictures: bool = False
    clips_means: bool = True
    pads_wholes: bool = True
    drops_rests: bool = False
    volumes: bool = False
    shifts_lrn: bool = True
    dilates_transposes: bool = True
    transposes_without_steps: bool = True
    divides_by_roots: bool = True
    dilates_alike: bool = False
    pads_lines: bool = True
    keeps_flat: bool = True
    log_base: float | None = None
    powers: tuple[float, ...] = ()

    def knows(self, kind: str) -> bool:
        """Whether it has such a layer."""
        return kind in self.layers

    @property
    def leaves_rests(self) -> bool:
        """Whether a layer's tops need not all be read."""
        return self.drops_rests or self.knows("Silence")

    def check(self, kind: str, messages: Mapping[str, Any]) -> None:
        """Refuse a layer that it does not know, or not with these settings.

        Raises
        ------
        NetError
            The text says who would know it.
        """
        if kind in self.layers:
            power = messages.get("power_param", {}).get("power", 1)
            if self.powers and power not in self.powers:
                known = ", ".join(f"{n:g}" for n in self.powers)
                raise NetError(f"{self.full_name}'s Power has the exponents {known}, not {power:g}")
            return
        others = [name for name, target in TARGETS.items() if kind in target.layers]
        hint = f"; of the targets {', '.join(others)} have it" if others else ""
        raise NetError(
            f"{self.full_name} has no layer {kind}{hint}; or name the values before it by --outputs"
        )


BVLC = COMMON | {
    *("AbsVal", "ArgMax", "BNLL", "Bias", "Clip", "Crop", "DummyData", "ELU", "Embed", "Exp"),
    *("Log", "MVN", "Parameter", "Power", "Reduction", "SPP", "Silence", "Split", "Swish"),
    *("Threshold", "Tile"),
}

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("bvlc", "the original Caffe", BVLC, ("round_mode", 1), volumes=True),
        Target(
            "opencv",
            "OpenCV 4",
            COMMON
            | {
                *("AbsVal", "BNLL", "Crop", "ELU", "Exp", "Interp", "Log", "MVN", "Mish"),
                *("Normalize", "Permute", "Power", "ReLU6", "Reorg", "ShuffleChannel", "Split"),
                "Swish",
            },
            ("ceil_mode", False),
            any_axes=False,
            shifts_lrn=False,
            dilates_transposes=False,
            pads_lines=False,
            # A Silence would be the layer that `forward()` gives.
            drops_rests=True,
        ),
        Target(
            "mnn",
            "MNN",
            COMMON
            | {
                *("AbsVal", "BNLL", "Crop", "ELU", "Exp", "Interp", "Log", "Permute", "Power"),
                *("ReLU6", "Reduction", "ShuffleChannel", "Split", "Threshold"),
            },
            channel_operand=False,
            any_axes=False,
            inner_axes=False,
            shifts_lrn=False,
            dilates_alike=True,
            keeps_flat=False,
            # By its own default it takes no logarithm at all.
            log_base=math.e,
        ),
        Target(
            "rknn",
            "RKNN-Toolkit2",
            COMMON
            | {
                *("ArgMax", "BNLL", "Crop", "Normalize", "Permute", "Power", "ReLU6", "Reduction"),
                *("Reorg", "Split", "Tile", "Upsample"),
            },
            ("ceil_mode", False),
            any_axes=False,
            inner_axes=False,
            moves_for_products=True,
            joins_pictures=True,
            clips_means=False,
            shifts_lrn=False,
            dilates_transposes=False,
            transposes_without_steps=False,
        ),
        Target(
            "sophon",
            "Sophgo's TPU-MLIR",
            COMMON
            | {
                *("AbsVal", "ArgMax", "Crop", "Interp", "Mish", "Normalize", "Permute"),
                *("ReLU6", "Reduction", "Reorg", "ShuffleChannel", "Silence", "Upsample"),
            },
            ("ceil_mode", False),
            any_axes=False,
            inner_axes=False,
            clips_means=False,
            pads_wholes=False,
            divides_by_roots=False,
            dilates_alike=True,
        ),
        # CANN 8.0.0, "Supported Caffe Operators"; the fields are those of its parser's plugins.
        Target(
            "ascend",
            "Ascend's ATC",
            COMMON
            | {
                *("AbsVal", "ArgMax", "BNLL", "Bias", "Clip", "Crop", "ELU", "Exp", "Interp"),
                *("Log", "MVN", "Normalize", "Permute", "Power", "ReLU6", "Reduction", "SPP"),
                *("ShuffleChannel", "Split", "Threshold", "Tile", "Upsample"),
            },
            ("round_mode", 1),
        ),
        # "HiSVP Development Guide", 3.1.4 to 3.1.6: Caffe 1.0's layers, whose Pooling always
        # rounds up, some of the forks', and what each of them does not take.
        Target(
            "nnie",
            "HiSilicon's NNIE",
            COMMON
            | {
                *("AbsVal", "BNLL", "Bias", "Crop", "ELU", "Exp", "Log", "MVN", "Normalize"),
                *("Permute", "Power", "Reduction", "SPP", "Split", "Threshold", "Tile"),
                "Upsample",
            },
            powers=(-3, -2, -1, -0.5, 0.5, 1, 2, 3),
        ),
    )
}
"""By name. What is said of toolchains that are not free is by their makers' documents, which
docs/interop.md names; the others were run."""
