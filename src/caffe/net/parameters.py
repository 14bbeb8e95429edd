"""The net's parameters: learning rate multipliers, and blobs shared by name."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import NetError, WeightsError
from ..layers.layer import Layer
from ..logs import say
from ..memory.blob import Blob
from ..proto.caffe_pb2 import ParamSpec


@dataclass
class Learnable:
    """A parameter blob as a solver sees it."""

    blob: Blob
    lr_mult: float
    decay_mult: float


@dataclass
class _Owner:
    """The first blob of a shared name, and what its sharers must agree with."""

    learnable: Learnable
    layer: str
    index: int
    has_lr_mult: bool
    has_decay_mult: bool


class ParameterList:
    """All parameter blobs of a net, in the layers' order.

    Attributes
    ----------
    learnable : list of Learnable
        The owners: each distinct parameter once.
    """

    def __init__(self) -> None:
        self.learnable: list[Learnable] = []
        self._owners: dict[str, _Owner] = {}
        self._sharers: list[tuple[Blob, Blob]] = []
        self._shared: set[int] = set()

    def add(self, layer: Layer) -> None:
        """Enter a layer's blobs.

        Raises
        ------
        NetError
            More `param` messages than blobs, or sharers that disagree on lr_mult or decay_mult.
        WeightsError
            Sharers' shapes differ (STRICT, the default) or their counts do (PERMISSIVE).
        """
        specs = list(layer.layer_param.param)
        if len(specs) > len(layer.blobs):
            raise NetError(
                f"param stands {len(specs)} times, but the layer has {len(layer.blobs)} "
                "parameter blobs",
                word=layer.name,
            )
        specs += [ParamSpec()] * (len(layer.blobs) - len(specs))
        if layer.layer_param.freeze:
            specs = [_without_rate(spec) for spec in specs]
        for index, (blob, spec) in enumerate(zip(layer.blobs, specs, strict=True)):
            if spec.name and spec.name in self._owners:
                self._add_sharer(blob, spec, self._owners[spec.name])
            else:
                learnable = Learnable(blob, spec.lr_mult, spec.decay_mult)
                self.learnable.append(learnable)
                if spec.name:
                    self._owners[spec.name] = _Owner(
                        learnable,
                        layer.name,
                        index,
                        spec.HasField("lr_mult"),
                        spec.HasField("decay_mult"),
                    )

    def share(self) -> None:
        """Let the sharers' blobs be their owners'."""
        for blob, owner in self._sharers:
            blob.share_data(owner)
            blob.share_diff(owner)

    def is_shared(self, blob: Blob) -> bool:
        """Tell whether another blob owns this one's values."""
        return id(blob) in self._shared

    def clear_diffs(self) -> None:
        """Set every gradient to zero."""
        for entry in self.learnable:
            entry.blob.clear_diff()

    def _add_sharer(self, blob: Blob, spec: ParamSpec, owner: _Owner) -> None:
        mine, theirs = blob.shape, owner.learnable.blob.shape
        if spec.share_mode == ParamSpec.PERMISSIVE:
            if blob.count != owner.learnable.blob.count:
                raise WeightsError(
                    f"param '{spec.name}' is shared with layer '{owner.layer}', but the counts of "
                    f"shapes {mine} and {theirs} differ"
                )
        elif mine != theirs:
            raise WeightsError(
                f"param '{spec.name}' is shared with layer '{owner.layer}', but the shapes {mine} "
                f"and {theirs} differ (share_mode: PERMISSIVE asks only for the same count)"
            )
        learnable = owner.learnable
        for name in ("lr_mult", "decay_mult"):
            if not spec.HasField(name):
                continue
            value = getattr(spec, name)
            if getattr(owner, f"has_{name}") and getattr(learnable, name) != value:
                raise NetError(
                    f"param '{spec.name}' has {name} {value} here but "
                    f"{getattr(learnable, name)} in layer '{owner.layer}': sharers must agree"
                )
            setattr(learnable, name, value)
            setattr(owner, f"has_{name}", True)
        say(
            "net.cpp:485",
            f"Sharing parameters '{spec.name}' owned by layer '{owner.layer}', "
            f"param index {owner.index}",
        )
        self._sharers.append((blob, learnable.blob))
        self._shared.add(id(blob))


def _without_rate(spec: ParamSpec) -> ParamSpec:
    frozen = ParamSpec()
    frozen.CopyFrom(spec)
    frozen.lr_mult = 0
    return frozen
