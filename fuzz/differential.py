"""Two nets of one text, one run by an engine and one by its layers, that everything is done to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import caffe
from caffe import onednn
from caffe.compiled import llvm

from .engines import OVERFLOW, Arrays, Differs, differences, exact, fill, remembering, running
from .nets import Drawn, draw_net

ENGINES = (
    *(("torch",) * 10 + ("auto",) * 4 + ("openvino",) * 2 + ("onnxruntime",) * 2),
    *("onednn",) * 2 * onednn.joins_graphs(),
    *("llvm",) * 4 * bool(llvm.width()),
)
"""How often each engine is tried; libraries take long to prepare."""

QUIET_RUNS = 10
"""After so many forwards without a change "auto" has tried OpenVINO."""


class _Ended(Exception):
    """Nothing more can be told from this pair."""


def differential(data: bytes, folder: Path) -> None:
    """Do things by chance to two nets alike, and compare them.

    Parameters
    ----------
    data : bytes
        What chance comes from.
    folder : Path
        Not used.

    Raises
    ------
    Differs
        The engine computes otherwise than the layers, or one of them refuses what the other does.
    """
    rng = Random(data)
    drawn = draw_net(rng)
    try:
        pair = Pair(rng, drawn, rng.choice(ENGINES))
        for _ in range(rng.randint(2, 9)):
            pair.act()
    except _Ended:
        return


def _by_other_kernels(are_wanted: bool) -> AbstractContextManager[None]:
    """Compute without oneDNN, whose mistakes would be the twin's too; it also starts slowly."""
    return torch.backends.mkldnn.flags(enabled=False) if are_wanted else nullcontext()


class Pair:
    """A net that an engine runs, and its twin that its layers run.

    Parameters
    ----------
    rng : Random
        Where chance comes from.
    drawn : Drawn
        Their text.
    engine : str
        What runs the first.
    """

    def __init__(self, rng: Random, drawn: Drawn, engine: str) -> None:
        self._rng = rng
        self._values = np.random.default_rng(rng.randrange(1 << 32))
        trains = rng.random() < 0.08
        self.text = ("force_backward: true\n" if trains else "") + drawn.text
        self._engine = engine
        self.log: list[str] = [engine]
        self._net = caffe.Net(self.text, caffe.TEST)
        self._twin = caffe.Net(self.text, caffe.TEST)
        fill(self._net, rng.randrange(1 << 32))
        self._alike()
        self._truth: Arrays = {}
        self._held: list[NDArray[Any]] = []
        self._others: list[caffe.Net] = []
        self._actions: list[Callable[[], None]] = [
            self._put_and_run, self._put_and_run, self._run, self._run, self._read, self._hold,
            self._let_go, self._write_blob, self._write_param, self._reshape, self._share,
            self._run_part, self._copy, self._run_quietly, self._run_in_short,
        ]  # fmt: skip
        if trains:
            self._actions += [self._backward] * 8
        self._put_and_run()

    def act(self) -> None:
        """Do one thing to both."""
        self._rng.choice(self._actions)()

    def _alike(self) -> None:
        """Give the twin the net's parameters and inputs."""
        for name, blobs in self._net.params.items():
            for mine, its in zip(blobs, self._twin.params[name], strict=True):
                its.data[...] = mine.data
        for name in self._net.inputs:
            self._twin.blobs[name].data[...] = self._net.blobs[name].data

    def _both(self, what: str, act: Callable[[caffe.Net], object]) -> None:
        """Do something to both; what one refuses, the other must refuse too."""
        self.log.append(what)
        refusals = []
        for net, engine in ((self._net, self._engine), (self._twin, "layerwise")):
            try:
                is_other = net is self._twin and not self._has_nan()
                with running(engine), _by_other_kernels(is_other):
                    act(net)
            except caffe.CaffeError as error:
                refusals.append(f"{engine}: {error}")
        if len(refusals) == 1:
            raise self._differs(f"refused by one only: {refusals[0]}")
        if refusals:
            raise _Ended

    def _has_nan(self) -> bool:
        """Whether there is a NaN, which the other kernels spread over a whole row."""
        return any(np.isnan(values).any() for values in self._truth.values())

    def _differs(self, how: str) -> Differs:
        return Differs(f"{how}\nafter {'; '.join(self.log)}\n{self.text}")

    def _compare(
        self, found: Arrays, precision: str = "float32", rough: Arrays | None = None
    ) -> None:
        wanted = {name: blob.data for name, blob in self._twin.blobs.items() if name in found}
        if any((np.abs(self._truth[name]) > OVERFLOW).any() for name in self._truth):
            raise _Ended
        truth = {name: self._truth.get(name, wanted[name]) for name in found}
        wrong = differences(found, wanted, truth, precision, rough)
        if wrong:
            raise self._differs(", ".join(map(str, wrong)))

    def _blob_names(self) -> list[str]:
        names = list(self._net.blobs)
        return self._rng.sample(names, self._rng.randint(1, len(names)))

    # What is done.

    def _inputs(self) -> Arrays:
        found: Arrays = {}
        for name in self._net.inputs:
            values = self._values.normal(size=self._net.blobs[name].shape).astype(np.float32)
            if self._rng.random() < 0.03 and values.size:
                values.flat[self._rng.randrange(values.size)] = np.nan
            found[name] = values
        return found

    def _run(
        self, inputs: Arrays | None = None, start: str | None = None, end: str | None = None
    ) -> None:
        whole = start is None and end is None
        said = f"forward({', '.join([*(inputs or ()), *filter(None, (start, end))])})"
        for name, values in (inputs or {}).items():
            self._twin.blobs[name].data[...] = values
        self._truth.update(exact(self._twin, start, end))
        if inputs and whole and self._rng.random() < 0.5:
            given: dict[str, Any] = dict(inputs)
            self._both(said, lambda net: net.forward(**given))
        else:
            for name, values in (inputs or {}).items():
                self._net.blobs[name].data[...] = values
            self._both(said, lambda net: net.forward(start=start, end=end))
        if self._rng.random() < 0.5:
            self._read()

    def _put_and_run(self) -> None:
        self._run(self._inputs())

    def _run_quietly(self) -> None:
        inputs = self._inputs()
        if self._engine == "auto":
            # The twin does not run as often.
            with running("auto"), remembering(self._net.inside.steps):
                for _ in range(QUIET_RUNS):
                    for name, values in inputs.items():
                        self._net.blobs[name].data[...] = values
                    self._net.forward()
            self.log.append(f"{QUIET_RUNS} forwards")
        self._run(inputs)

    def _read(self) -> None:
        names = self._blob_names()
        self.log.append(f"read {', '.join(names)}")
        with running(self._engine):
            self._compare({name: self._net.blobs[name].data for name in names})

    def _hold(self) -> None:
        name = self._rng.choice(list(self._net.blobs))
        self.log.append(f"hold {name}")
        self._held.append(self._net.blobs[name].data)

    def _let_go(self) -> None:
        self.log.append("let go")
        self._held.clear()

    def _write(self, blobs: tuple[caffe.Blob, caffe.Blob], positive: bool = False) -> None:
        shape = blobs[0].shape
        values = self._values.normal(size=shape)
        values = np.abs(values) + 0.1 if positive else values
        part: Any = (slice(0, 1), ...) if shape and self._rng.random() < 0.4 else ...
        for blob in blobs:
            blob.data[part] = values[part]

    def _write_blob(self) -> None:
        name = self._rng.choice(list(self._net.blobs))
        self.log.append(f"write {name}")
        before = {other: blob.data.copy() for other, blob in self._twin.blobs.items()}
        self._write((self._net.blobs[name], self._twin.blobs[name]))
        # What shares memory with what was written is as exact as that; of the others it is
        # still to be known how much float32 has lost.
        for other, blob in self._twin.blobs.items():
            kept = self._truth.get(other, blob.data)
            self._truth[other] = np.where(blob.data == before[other], kept, blob.data)

    def _write_param(self) -> None:
        if not self._net.params:
            return
        name = self._rng.choice(list(self._net.params))
        index = self._rng.randrange(len(self._net.params[name]))
        self.log.append(f"write param {name} {index}")
        kind = self._net.layer_dict[name].type
        pair = (self._net.params[name][index], self._twin.params[name][index])
        self._write(pair, positive=kind in ("BatchNorm", "BN"))

    def _reshape(self) -> None:
        batch = self._rng.choice((1, 2, 3, 5))
        by_net = self._rng.random() < 0.6
        self._held.clear()

        def reshape(net: caffe.Net) -> None:
            for name in net.inputs:
                net.blobs[name].reshape(batch, *net.blobs[name].shape[1:])
            if by_net:
                net.reshape()

        self._truth.clear()
        self._both(f"reshape to {batch}", reshape)
        self._put_and_run()

    def _share(self) -> None:
        other = caffe.Net(self.text, caffe.TEST)
        fill(other, self._rng.randrange(1 << 32))
        self._others.append(other)
        self._both("share with another net", lambda net: net.share_with(other))

    def _run_part(self) -> None:
        names = list(self._net.layer_dict)
        first, last = sorted(self._rng.choices(range(len(names)), k=2))
        self._run(
            start=names[first] if self._rng.random() < 0.8 else None,
            end=names[last] if self._rng.random() < 0.8 else None,
        )

    def _copy(self) -> None:
        self.log.append("copy")
        self._held.clear()
        self._net = copy.deepcopy(self._net)
        self._twin = copy.deepcopy(self._twin)

    def _run_in_short(self) -> None:
        """Run in bfloat16, which gives blobs near those of float32, and then again as before."""
        if self._engine == "layerwise" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return
        inputs = {name: np.nan_to_num(values) for name, values in self._inputs().items()}
        for name, values in inputs.items():
            self._net.blobs[name].data[...] = values
            self._twin.blobs[name].data[...] = values
        self._truth.update(exact(self._twin))
        rough = exact(self._twin, dtype=torch.bfloat16)
        self.log.append("forward in bfloat16")
        # What an LSTM remembers of numbers so short is another for good.
        with remembering(self._net.inside.steps), remembering(self._twin.inside.steps):
            with running(self._engine, "bfloat16"):
                self._net.forward()
                found = {name: self._net.blobs[name].data.copy() for name in self._blob_names()}
            with running("layerwise"), _by_other_kernels(True):
                self._twin.forward()
        self._compare(found, "bfloat16", rough)
        self._put_and_run()

    def _backward(self) -> None:
        diffs: dict[str, Any] = {
            name: self._values.normal(size=self._net.blobs[name].shape)
            for name in self._net.outputs
        }
        self._both("backward", lambda net: net.backward(**diffs))
        for name in self._net.inputs:
            mine, its = self._net.blobs[name].diff, self._twin.blobs[name].diff
            near = 1e-3 * np.abs(its[np.isfinite(its)]).max(initial=0)
            if not np.allclose(mine, its, rtol=1e-3, atol=near, equal_nan=True):
                raise self._differs(f"the diff of {name}")
