"""A net's trained parameters: copied from files, shared between nets, saved."""

from __future__ import annotations

import math

import numpy as np

from ..errors import WeightsError
from ..logs import say
from ..memory.blob import Blob, Shape
from ..paths import PathLike, path_text
from ..proto.caffe_pb2 import LayerParameter
from ..proto.old_forms import NET_FORMS, OldForm
from ..pytorch import torch
from ..weights import files as weight_files
from ..weights.layer_weights import WeightBlob
from .inside import Inside
from .weights_report import WeightsReport


def copy_trained(net: Inside, path: PathLike) -> WeightsReport:
    """Copy into `net` what the file holds for layers of its names; see `Net.copy_from`."""
    targets = _by_name(net)
    layers = {layer.name: layer for layer in reversed(net.layers)}
    # Only when all of it fits and is read is the net changed; a refused file changes nothing.
    copies: list[tuple[Blob, WeightBlob]] = []
    name = path_text(path)
    report = WeightsReport({layer: "" for layer, blobs in targets.items() if blobs}, {name: []})
    forms: set[OldForm] = set()
    sources = weight_files.read_weights(path, forms)
    for form in NET_FORMS:
        if form in forms:
            form.tell_attempt(name)
            form.tell_success()
    for source in sources:
        target = targets.get(source.name)
        if target is None:
            say("net.cpp:744", f"Ignoring source layer {source.name}")
            if source.blobs:
                report.unused[name].append(source.name)
            continue
        if target:
            report.sources[source.name] = name
        where = f"{path_text(path)}: layer '{source.name}'"
        # HDF5 files leave out the blobs that belong to another layer.
        shared = [net.parameters.is_shared(blob) for blob in target]
        blobs = source.blobs
        if None not in blobs:
            blobs = list(layers[source.name].adjust_trained([b for b in blobs if b is not None]))
        given = blobs + [None] * (len(target) - len(blobs))
        if len(given) > len(target) or any(
            values is None and not may_miss for values, may_miss in zip(given, shared, strict=True)
        ):
            raise _other_blob_count(where, len(source.blobs), len(target))
        for i, (blob, values) in enumerate(zip(target, given, strict=True)):
            if values is None:
                continue
            _check_shape(where, i, values, blob.shape)
            copies.append((blob, values))
    arrays = [values.own_data() for _, values in copies]
    for (blob, _), array in zip(copies, arrays, strict=True):
        blob.put_data(torch.from_numpy(array).view(blob.shape))
    report.warn_of_nothing()
    return report


def share_trained(net: Inside, other: Inside) -> None:
    """Let `net` use `other`'s parameters; see `Net.share_with`."""
    targets = _by_name(net)
    for name, sources in _by_name(other).items():
        target = targets.get(name)
        if target is None:
            continue
        where = f"layer '{name}' of the other net"
        if len(sources) != len(target):
            raise _other_blob_count(where, len(sources), len(target))
        for i, (blob, source) in enumerate(zip(target, sources, strict=True)):
            if blob.shape != source.shape:
                raise WeightsError(
                    f"{where}: parameter blob {i} has shape {source.shape}, "
                    f"but this net's has {blob.shape}"
                )
            blob.share_data(source)


def save_caffemodel(name: str, net: Inside, path: PathLike, write_diff: bool = False) -> None:
    """Write `net`, called `name`, as a .caffemodel; see `Net.save`."""
    diffs = ([blob.diff_tensor().numpy() for blob in layer.blobs] for layer in net.layers)
    weight_files.write_weights(
        path,
        name,
        (
            (_bare(layer.layer_param), [_values(blob) for blob in layer.blobs])
            for layer in net.layers
        ),
        diffs if write_diff else None,
    )


def save_hdf5(net: Inside, path: PathLike, write_diff: bool) -> None:
    """Write `net`'s parameters as HDF5; see `Net.save_hdf5`."""
    shared = net.parameters.is_shared
    data = [
        (layer.name, [None if shared(blob) else _values(blob) for blob in layer.blobs])
        for layer in net.layers
    ]
    diffs = None
    if write_diff:
        diffs = [
            (layer.name, [None if shared(b) else b.diff_tensor().numpy() for b in layer.blobs])
            for layer in net.layers
        ]
    weight_files.write_weights_hdf5(path, data, diffs)


def _by_name(net: Inside) -> dict[str, list[Blob]]:
    """The first layer of each name, as Caffe matches them."""
    layers: dict[str, list[Blob]] = {}
    for layer in net.layers:
        layers.setdefault(layer.name, layer.blobs)
    return layers


def _other_blob_count(where: str, source: int, target: int) -> WeightsError:
    return WeightsError(
        f"{where} has {source} parameter blobs, but this net's layer of that name has "
        f"{target}: the weights are of another net, or the layer should be renamed"
    )


def fits_shape(source: WeightBlob, target: Shape) -> bool:
    """Whether a file's blob can be taken for a parameter of this shape."""
    if source.legacy:
        # C3D's first version has a fifth number of its own, which cannot be told here.
        by_count = len(target) == 5 and source.count == math.prod(target)
        return by_count or (len(target) <= 4 and source.shape == (1,) * (4 - len(target)) + target)
    return source.shape == target


def _check_shape(where: str, index: int, source: WeightBlob, target: Shape) -> None:
    if not fits_shape(source, target):
        raise WeightsError(
            f"{where}: parameter blob {index} has shape {source.shape}, but this net's has "
            f"{target}; "
            "to learn the layer anew instead of copying it, rename it in the net"
        )


def _values(blob: Blob) -> np.ndarray:
    return blob.data_tensor().numpy()


def _bare(param: LayerParameter) -> LayerParameter:
    bare = LayerParameter()
    bare.CopyFrom(param)
    del bare.blobs[:]
    return bare
