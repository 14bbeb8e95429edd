"""Batches of nothing go through every layer and engine, and what comes behind them is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import caffe
from caffe.layers.registry import registry
from tests.layers.test_gradients import CASES, Case, name

BATCH_AXES: dict[str, Sequence[int | None]] = {
    # Time stands first.
    **dict.fromkeys(("LSTM", "RNN"), (1, 1, 0, 1, 1)),
    "LSTMUnit": (1, 1, 1),
    "CTCLoss": (1, 1, 1, 1),
    **dict.fromkeys(("CtcLoss", "WarpCTC", "WarpCtc", "WarpCTCLoss", "WarpCtcLoss"), (1, 0)),
    # No entries, regions or boxes, of a map or priors that are there.
    "BatchReindex": (None, 0),
    **dict.fromkeys(("ROIPooling", "PSROIPooling", "ROIAlign", "RoIAlign"), (None, 0)),
    "DeformablePSROIPooling": (None, 0, 0),
    "MultiBoxLoss": (0, 0, None, None),
}
"""The axis of each bottom along which it is emptied; the first, if it is as long as the first
bottom's, where nothing is said."""

LEFT_OUT = {
    "Lstm": "takes its number of steps from the text",
    "DenseCRF": "changes its own bottoms' pictures",
}


@pytest.fixture(params=["layerwise", "torch"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    caffe.set_engine(request.param)
    yield request.param
    caffe.set_engine("auto")


def net_of(one: Case, phase: int) -> caffe.Net:
    text = "force_backward: true\n"
    for i, bottom in enumerate(one.bottoms):
        dims = " ".join(f"dim: {n}" for n in bottom.shape)
        text += f'layer {{ name: "b{i}" type: "Input" top: "b{i}" '
        text += f"input_param {{ shape {{ {dims} }} }} }}\n"
    bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(one.bottoms)))
    kind = registry()[one.type]
    count = kind.tops if isinstance(kind.tops, int) else kind.tops[0]
    count = len(one.bottoms) if kind.equal_tops else count
    tops = "" if "top:" in one.text else " ".join(f'top: "t{i}"' for i in range(count))
    named = "" if "name:" in one.text else 'name: "layer"'
    text += f'layer {{ {named} type: "{one.type}" {bottoms} {tops} {one.text} }}'
    return caffe.Net(text, phase)


def emptied(one: Case) -> list[tuple[int, ...]]:
    """The bottoms' shapes with nothing in them."""
    shapes = [bottom.shape for bottom in one.bottoms]
    given = BATCH_AXES.get(one.type)
    if given is None:
        given = [0 if shape[:1] == shapes[0][:1] else None for shape in shapes]
    return [
        shape if axis is None else (*shape[:axis], 0, *shape[axis + 1 :])
        for shape, axis in zip(shapes, given, strict=False)
    ]


def fill(net: caffe.Net, one: Case) -> None:
    for i, bottom in enumerate(one.bottoms):
        net.blobs[f"b{i}"].reshape(*bottom.shape)
        net.blobs[f"b{i}"].data[...] = bottom


def tops_of(net: caffe.Net) -> dict[str, np.ndarray]:
    inputs = set(net.inputs)
    return {k: blob.data.copy() for k, blob in net.blobs.items() if k not in inputs}


@pytest.mark.parametrize("phase", [caffe.TEST, caffe.TRAIN], ids=["TEST", "TRAIN"])
@pytest.mark.parametrize("one", [one for one in CASES if one.type not in LEFT_OUT], ids=name)
def test_a_batch_of_nothing_goes_through(one: Case, phase: int, engine: str) -> None:
    if engine == "torch" and phase == caffe.TRAIN:
        pytest.skip("a net at TRAIN has no plans")
    net = net_of(one, phase)
    fill(net, one)
    net.forward()
    before = tops_of(net)
    for i, shape in enumerate(emptied(one)):
        net.blobs[f"b{i}"].reshape(*shape)
    net.forward()
    for top in tops_of(net).values():
        assert np.isfinite(top).all()
    if engine == "layerwise":
        net.clear_param_diffs()
        net.backward()
        assert not any(blob.diff.any() for blobs in net.params.values() for blob in blobs)
        assert not any(net.blobs[f"b{i}"].diff.any() for i in range(len(one.bottoms)))
    fill(net, one)
    net.forward()
    if phase == caffe.TEST:
        for top, values in tops_of(net).items():
            np.testing.assert_allclose(values, before[top], rtol=1e-5, atol=1e-6)
