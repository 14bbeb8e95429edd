"""Whether an engine computes what the layers compute, one after the other."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import caffe
from caffe import switches
from caffe.engine.backends import choice
from caffe.engine.plan import trial
from caffe.engine.steps import Step
from caffe.layers import winograd, winograd_in_training
from caffe.layers.layer import as_tensors

Arrays = dict[str, NDArray[np.float32]]

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.02}
"""By how much of the largest value another engine's values may differ, by precision."""

OVERFLOW = 1e30
"""Numbers above this may outgrow float32 in one order of computing and not in another."""

ROUNDING = 30
"""How many times float32's own error, as it is found, they may differ besides."""


def try_everything() -> None:
    """Let this process try on the small nets of chance what pays for large ones."""
    os.environ[switches.REMEMBER] = "0"
    winograd.LEAST_CHANNELS = 1
    for name in ("LEAST_TRAINED", "CHANGING", "CHANGING_COMPILED"):
        setattr(winograd_in_training, name, 0)
    trial.LEAST_WORK, trial.PATIENCE, trial.TRIALS, trial.WORTH = 1, 0, 1, math.inf
    choice.LEAST_WORK = 0


@contextmanager
def running(engine: str, precision: str = "float32") -> Iterator[None]:
    """Run nets so inside, and as before behind."""
    before = caffe.mode.engine()
    caffe.set_engine(engine)
    caffe.set_precision(precision)
    try:
        yield
    finally:
        caffe.set_precision("float32")
        caffe.set_engine(before)


def fill(net: caffe.Net, seed: int) -> None:
    """Give a net's inputs and parameters values by chance, variances positive ones."""
    rng = np.random.default_rng(seed)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    for name, blobs in net.params.items():
        kind = net.layer_dict[name].type
        for blob in blobs:
            values = rng.normal(size=blob.shape)
            # What is a variance, and what is not, need not be told apart.
            blob.data[...] = np.abs(values) + 0.1 if kind in ("BatchNorm", "BN") else values


def exact(
    net: caffe.Net,
    start: str | None = None,
    end: str | None = None,
    dtype: torch.dtype = torch.float64,
) -> Arrays:
    """Return all blobs as the layers' forwards would give them in double precision.

    Parameters
    ----------
    net : Net
        Whose blobs stay as they are.
    start, end : str, optional
        The first and the last layer to run.
    dtype : torch.dtype
        What each top is rounded to.
    """
    names = [step.layer.name for step in net.inside.steps]
    first = 0 if start is None else names.index(start)
    last = len(names) - 1 if end is None else names.index(end)
    steps = net.inside.steps[first : last + 1]
    for step in steps:
        step.follow()
    # Blobs may share their memory; what no step writes stays as it is.
    found = {id(b.memory): b.data_tensor().double().flatten() for b in net.blobs.values()}
    with torch.no_grad(), remembering(steps):
        for step in steps:
            if step.layer.is_given:
                continue
            inputs = [found[id(b.memory)].view(b.shape).to(dtype) for b in step.bottoms]
            inputs += [blob.data_tensor().to(dtype) for blob in step.layer.blobs]
            tops = as_tensors(step.layer.forward(*(x.double() for x in inputs)))
            for blob, top in zip(step.tops, tops, strict=False):
                found[id(blob.memory)] = top.to(dtype).double().flatten().clone()
    return {name: found[id(b.memory)].view(b.shape).numpy() for name, b in net.blobs.items()}


@contextmanager
def remembering(steps: Sequence[Step]) -> Iterator[None]:
    """Let layers remember, behind it, what they did before it (an LSTM its states)."""
    states = [step.layer.state() for step in steps]
    try:
        yield
    finally:
        for step, state in zip(steps, states, strict=True):
            step.layer.restore(state)


class Differs(Exception):
    """A value that is not what it should be."""


@dataclass(frozen=True)
class Difference:
    """A blob that an engine computes otherwise."""

    blob: str
    by: float
    largest: float

    def __str__(self) -> str:
        return f"'{self.blob}' differs by {self.by:.3g} where the largest is {self.largest:.3g}"


def differences(
    found: Mapping[str, NDArray[np.float32]],
    wanted: Arrays,
    truth: Arrays,
    precision: str = "float32",
    rough: Arrays | None = None,
) -> list[Difference]:
    """Return the blobs whose values are not those that the layers give.

    Parameters
    ----------
    found : mapping of str to array
        An engine's values.
    wanted, truth : dict of str to array
        The layers' values, and those in double precision, which tell how much float32 loses.
    precision : str
        What the engine computed in.
    rough : dict of str to array, optional
        The values with each top rounded to that precision.
    """
    result = []
    for name, values in found.items():
        expected = wanted[name]
        if values.shape != expected.shape:
            result.append(Difference(name, np.inf, np.inf))
            continue
        sound = np.isfinite(expected)
        odd = ~sound & ~(values == expected) & ~(np.isnan(values) & np.isnan(expected))
        if rough is not None:
            # Rounding makes roots of negative numbers, and takes them away.
            odd &= False
            sound &= np.isfinite(rough[name]) & np.isfinite(values)
        # What the layers lose they lose in float32, whatever the engine computes in.
        nears = [expected] if rough is None else [expected, rough[name]]
        lost = max(np.abs(near - truth[name])[sound].max(initial=0) for near in nears)
        largest = float(np.abs(expected)[sound].max(initial=0))
        allowed = max(TOLERANCE[precision] * largest, ROUNDING * lost, 1e-6)
        by = np.abs(values - expected)[sound]
        if odd.any() or not (by <= allowed).all():
            result.append(Difference(name, np.nan if odd.any() else float(by.max()), largest))
    return result


def compare(text: str, seed: int, engine: str) -> list[Difference] | None:
    """Run a net by an engine and by its layers.

    Parameters
    ----------
    text : str
        The net's.
    seed : int
        What the inputs' and parameters' values are drawn by.
    engine : str
        Which is compared with "layerwise".

    Returns
    -------
    list of Difference or None
        The blobs that differ; None where the net is refused when it is made, or its numbers
        outgrow float32.
    """
    try:
        net = caffe.Net(text, caffe.TEST)
    except caffe.CaffeError:
        return None
    fill(net, seed)
    given = {name: net.blobs[name].data.copy() for name in net.inputs}
    truth = exact(net)
    with running("layerwise"):
        net.forward()
    wanted = {name: blob.data.copy() for name, blob in net.blobs.items()}
    if any((np.abs(values) > OVERFLOW).any() for values in truth.values()):
        return None
    other = caffe.Net(text, caffe.TEST)
    other.share_with(net)
    for name, values in given.items():
        other.blobs[name].data[...] = values
    # Held arrays are written by the forward itself, and not computed by PyTorch when looked at.
    found = held(other) if seed % 2 else {}
    with running(engine):
        other.forward()
        return differences(found or held(other), wanted, truth)


def held(net: caffe.Net) -> Arrays:
    """Return all blobs' arrays, which each forward now writes."""
    return {name: blob.data for name, blob in net.blobs.items() if name not in net.inputs}
