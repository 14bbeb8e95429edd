"""Which of a module's tensors is which parameter of a net: by names, or by their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ArgumentError, WeightsError
from ..guarded import guarded
from ..memory.blob import Blob, Shape
from ..net.net import Net
from ..paths import PathLike, is_path, path_text
from ..pytorch import torch
from ..weights.layer_weights import WeightBlob
from .naming import safe
from .state_dict import State, keeps_order, read_state

WAYS = ("name", "order")

NORMALISER = {"running_mean": 0, "running_var": 1}
"""Which of BatchNorm's blobs are which of PyTorch's tensors; its third is 1."""

AFFINE = {"weight": 0, "bias": 1}

WHOLE = {"weight": 0, "bias": 1, "running_mean": 2, "running_var": 3}
"""SegNet's BN has all in one layer."""

PASSED_OVER = "num_batches_tracked"
"""A count that PyTorch's normalisation keeps for training alone."""


@dataclass
class Matched:
    """What became of a module's tensors.

    Attributes
    ----------
    taken : list of (str, str)
        For each tensor that the net has now, its name and where it stands: "conv1 blob 0".
    unused : list of str
        Tensors that the net has no place for.
    missing : list of str
        Layers whose parameters stayed as they were.
    """

    taken: list[tuple[str, str]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max((len(name) for name, _ in self.taken), default=0)
        lines = [f"{_counted(self.taken, 'tensor')} taken"]
        lines += [f"  {name:{width}}  -> {place}" for name, place in self.taken]
        if self.unused:
            lines.append(f"{_counted(self.unused, 'tensor')} not used")
            lines += [f"  {name}" for name in self.unused]
        if self.missing:
            lines.append(f"{_counted(self.missing, 'layer')} not in it, left as they were")
            lines += [f"  {name}" for name in self.missing]
        return "\n".join(lines)


@dataclass
class Place:
    """Layers that take one module's tensors: one, or a BatchNorm with the Scale behind it.

    Attributes
    ----------
    layers : list of str
        Their names.
    blobs : dict of str to (str, Blob)
        By what PyTorch calls each tensor, where it goes, for people, and the parameter.
    count : Blob, optional
        BatchNorm's divisor, which is to be 1.
    """

    layers: list[str]
    blobs: dict[str, tuple[str, Blob]] = field(default_factory=dict)
    count: Blob | None = None

    def add(self, layer: Any, roles: Mapping[str, int]) -> None:
        """Add a layer's parameters."""
        for role, index in roles.items():
            if index < len(layer.blobs):
                self.blobs[role] = f"{layer.name} blob {index}", layer.blobs[index]


@guarded
def copy_weights(net: Net, source: PathLike | Mapping[str, Any], by: str = "name") -> Matched:
    """Copy a PyTorch module's tensors into a net; nothing is copied unless all that match fit.

    By name, a module's tensors go to the layer of its name, dots and slashes being alike
    (``layer1.0.conv1`` is ``layer1_0_conv1``); a BatchNorm and the Scale behind it take the
    tensors of one normalisation, found by either's name. By order, the modules that have tensors
    go to the layers that have parameters, each to the next; all of them have to fit.

    Parameters
    ----------
    net : Net
        What the tensors are for.
    source : path or mapping
        A .safetensors or .pth file, or a dict such as ``module.state_dict()``.
    by : str
        "name" or "order".

    Returns
    -------
    Matched
        What went where, and what did not.

    Raises
    ------
    WeightsError
        Shapes or counts differ; each such place is named. By name, also if no name is the net's.
    ParseError
        The file is damaged or holds no tensors.
    ArgumentError
        `by` is neither.

    Examples
    --------
    >>> net = caffe.Net(text, caffe.TEST)                                      # doctest: +SKIP
    >>> print(caffe.imports.copy_weights(net, "resnet50.pth", by="order"))     # doctest: +SKIP
    """
    if by not in WAYS:
        raise ArgumentError(f"weights go by {' or '.join(WAYS)}, not by {by!r}")
    name = path_text(source) if is_path(source) else "the dict"
    groups = _grouped(read_state(source))
    places = _places(net)
    matched = Matched()
    misfits: list[str] = []
    if by == "name":
        pairs = _by_name(groups, places, name, matched)
    else:
        groups = groups if keeps_order(source) else _in_order(groups, name)
        pairs = list(zip(groups, places, strict=False))
        misfits += _left_over(list(groups)[len(pairs) :], places[len(pairs) :])
    copies: list[tuple[Blob, WeightBlob]] = []
    for prefix, place in pairs:
        misfits += _fitted(prefix, groups[prefix], place, copies, matched)
    if misfits:
        advice = ""
        if by == "order":
            advice = "; tensors stand in the order in which the module's parts were made"
        raise WeightsError("\n  ".join([f"{name} does not fit the net{advice}:", *misfits]))
    _put(copies)
    for _, place in pairs:
        if place.count is not None:
            place.count.put_data(torch.ones(place.count.shape, dtype=torch.float32))
    return matched


def _put(copies: Sequence[tuple[Blob, WeightBlob]]) -> None:
    """Copy numbers to where they belong, once all of them are read."""
    arrays = [values.own_data() for _, values in copies]
    for (blob, _), array in zip(copies, arrays, strict=True):
        blob.put_data(torch.from_numpy(array).view(blob.shape))


def _grouped(state: State) -> dict[str, State]:
    """The tensors of each module, by what stands before the last dot of their names."""
    groups: dict[str, State] = {}
    for name, blob in state.items():
        prefix, _, role = name.rpartition(".")
        if role != PASSED_OVER:
            groups.setdefault(prefix, {})[role] = blob
    return groups


def _in_order(groups: Mapping[str, State], name: str) -> dict[str, State]:
    """Modules that are only numbered, by their numbers."""
    if len({re.sub(r"\d+", "#", prefix) for prefix in groups}) > 1:
        raise WeightsError(
            f"{name}: a .safetensors file has its tensors by the alphabet, so that their order in "
            "the module is lost: match them by name, or give what torch.save writes"
        )
    numbers = {prefix: [int(n) for n in re.findall(r"\d+", prefix)] for prefix in groups}
    return {prefix: groups[prefix] for prefix in sorted(groups, key=numbers.__getitem__)}


def _places(net: Net) -> list[Place]:
    places: list[Place] = []
    normalised: Place | None = None
    top = ""
    for step in net.inside.steps:
        layer = step.layer
        if layer.type == "Scale" and normalised is not None and step.bottom_names[:1] == [top]:
            normalised.layers.append(layer.name)
            normalised.add(layer, AFFINE)
        elif layer.blobs and layer.type == "BatchNorm":
            place = Place([layer.name])
            place.add(layer, NORMALISER)
            place.count = layer.blobs[2]
            places.append(place)
        elif layer.blobs:
            place = Place([layer.name])
            place.add(layer, WHOLE if layer.type == "BN" else AFFINE)
            # What this project's own files call them, and parameters that PyTorch's layers lack.
            place.add(layer, {str(i): i for i in range(len(place.blobs), len(layer.blobs))})
            places.append(place)
        normalised = places[-1] if layer.type == "BatchNorm" else None
        top = step.top_names[0] if step.top_names else ""
    return places


def _by_name(
    groups: Mapping[str, State], places: Sequence[Place], name: str, matched: Matched
) -> list[tuple[str, Place]]:
    by_safe = {safe(prefix): prefix for prefix in groups}
    pairs: list[tuple[str, Place]] = []
    for place in places:
        found = next(
            (
                prefix
                for layer in place.layers
                for prefix in (layer, by_safe.get(safe(layer)))
                if prefix in groups
            ),
            None,
        )
        if found is None:
            matched.missing += place.layers
        else:
            pairs.append((found, place))
    if not pairs:
        raise WeightsError(
            f"{name}: none of its names is a layer's; it begins with '{next(iter(groups))}', "
            f"the net with '{places[0].layers[0] if places else ''}'. By order the names do "
            "not count"
        )
    used = {prefix for prefix, _ in pairs}
    matched.unused += [
        f"{prefix}.{role}".lstrip(".")
        for prefix, state in groups.items()
        if prefix not in used
        for role in state
    ]
    return pairs


def _left_over(groups: Sequence[str], places: Sequence[Place]) -> Iterator[str]:
    if groups:
        yield f"{_counted(groups, 'module')} more than the net has places for: " + ", ".join(groups)
    if places:
        names = ", ".join(place.layers[0] for place in places)
        yield f"nothing is left for {_counted(places, 'place')} of the net: {names}"


def _fitted(
    prefix: str,
    state: State,
    place: Place,
    copies: list[tuple[Blob, WeightBlob]],
    matched: Matched,
) -> Iterator[str]:
    """Note what is to be copied; yield what does not fit."""
    roles = _numbered(state, place)
    for role, values in roles.items():
        name = f"{prefix}.{role}".lstrip(".")
        if role not in place.blobs:
            yield f"{name}: no such parameter in {' and '.join(place.layers)}"
            continue
        where, blob = place.blobs[role]
        if not _same_numbers(values.shape, blob.shape):
            yield f"{name} is {_shape(values.shape)}, but {where} is {_shape(blob.shape)}"
            continue
        copies.append((blob, values))
        matched.taken.append((name, f"{where} ({_shape(blob.shape)})"))
    for role, (where, _) in place.blobs.items():
        if role not in roles:
            yield f"{where} is for a {role.replace('_', ' ')}, and '{prefix}' has none"


def _numbered(state: State, place: Place) -> State:
    """The tensors by the roles of a place; names <layer>.<i> count its parameters."""
    if not all(role.isdecimal() for role in state):
        return state
    roles = list(place.blobs)
    return {
        roles[int(role)] if int(role) < len(roles) else role: blob for role, blob in state.items()
    }


def _same_numbers(given: Shape, wanted: Shape) -> bool:
    """Whether two shapes are the same but for axes of length 1."""
    return [n for n in given if n != 1] == [n for n in wanted if n != 1]


def _shape(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _counted(things: Sequence[object], what: str) -> str:
    return f"{len(things)} {what}{'s' * (len(things) != 1)}"
