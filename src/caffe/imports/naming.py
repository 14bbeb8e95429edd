"""What layers and blobs are called: after the model's names, in letters that all readers take."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from .caffe_graph import Blob, Written


def safe(name: str) -> str:
    """Return a name in letters, digits and underscores.

    Examples
    --------
    >>> safe("/layer1/layer1.0/conv1/Conv")
    'layer1_layer1_0_conv1_Conv'
    """
    return re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_") or "blob"


def short(name: str, kind: str) -> str:
    """Return a node's name without what stands in it twice.

    Examples
    --------
    >>> short("/layer1/layer1.0/conv1/Conv", "Conv")
    'layer1_0_conv1'
    >>> short("node_relu_3", "Relu")
    'relu_3'
    """
    parts = [part for part in name.removeprefix("node_").split("/") if part]
    kept = [
        part
        for part, behind in zip(parts, [*parts[1:], ""], strict=True)
        if not behind.startswith(f"{part}.")
    ]
    if len(kept) > 1 and kept[-1] == kind:
        kept.pop()
    return safe("_".join(kept))


def note(node: Any, tensors: Container[str], layers: Sequence[Written]) -> None:
    """Note what the layers that one node has become are called; the last one is as the node is."""
    if not layers:
        return
    weights = [
        name.rpartition(".")[0]
        for name in node.input
        if name in tensors and name.endswith((".weight", ".bias"))
    ]
    base = safe(weights[0]) if weights else short(node.name or node.op_type.lower(), node.op_type)
    for layer in layers:
        layer.hint = f"{base}_{layer.param.type.lower()}"
    layers[-1].hint, layers[-1].is_named = base, bool(weights)


def settle(layers: Sequence[Written], outputs: Mapping[str, Blob]) -> None:
    """Name layers and blobs, each name once; outputs have the model's."""
    wanted = {id(blob): name for name, blob in outputs.items()}
    taken: set[str] = set()
    seen: set[int] = set()
    reserved = set(wanted.values())
    for layer in layers:
        new = [blob for blob in layer.tops if id(blob) not in seen]
        seen.update(map(id, new))
        own = next((wanted[id(blob)] for blob in new if id(blob) in wanted), None)
        hint = layer.hint or layer.param.type.lower()
        if own is not None and len(layer.tops) == 1 and own not in taken:
            layer.param.name = own
        else:
            layer.param.name = _unused(hint, taken | reserved)
        taken.add(layer.param.name)
        for i, blob in enumerate(layer.tops):
            if blob not in new:
                continue
            if id(blob) in wanted:
                blob.name = wanted[id(blob)]
            elif len(layer.tops) == 1:
                blob.name = layer.param.name
            else:
                blob.name = _unused(f"{layer.param.name}_{i}", taken | reserved)
                taken.add(blob.name)
    for layer in layers:
        layer.param.bottom[:] = [blob.name for blob in layer.bottoms]
        layer.param.top[:] = [blob.name for blob in layer.tops]


def _unused(name: str, taken: Container[str]) -> str:
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found
