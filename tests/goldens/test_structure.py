"""Nets built from published texts have Caffe's names, order and shapes, splits included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import caffe
from tests.helpers.places import GOLDENS
from tests.helpers.warned import as_deserved

NETS = GOLDENS / "structure_names.json"


@pytest.mark.parametrize("name", json.loads(NETS.read_text()))
def test_published_net_has_the_originals_structure(name: str, shared: Path) -> None:
    golden: dict[str, Any] = json.loads((shared / "goldens" / "structure.json").read_text())[name]
    with as_deserved(name):
        net = caffe.Net(shared / "models" / name, caffe.TEST)
    assert list(net._layer_names) == golden["layer_names"]
    assert [layer.type for layer in net.layers] == golden["layer_types"]
    assert [[blob, list(net.blobs[blob].shape)] for blob in net.blobs] == golden["blobs"]
    params = [[name, [list(blob.shape) for blob in blobs]] for name, blobs in net.params.items()]
    assert params == golden["params"]
    assert net.inputs == golden["inputs"]
    assert net.outputs == golden["outputs"]
    assert dict(net.top_names) == golden["top_names"]
    assert dict(net.bottom_names) == golden["bottom_names"]
