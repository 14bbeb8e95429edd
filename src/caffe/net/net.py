"""Net: pycaffe's net of named layers and blobs, with forward, backward and its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import mode
from ..ending import computing
from ..engine import layerwise
from ..engine.callbacks import Callback, Callbacks
from ..engine.debug_info import report_backward, report_forward
from ..engine.runner import Runner
from ..engine.steps import Loss
from ..errors import ArgumentError, CaffeError
from ..graph import build_graph
from ..guarded import guarded
from ..memory.allocation import FreedMemory
from ..memory.stores import Store
from ..paths import PathLike
from ..proto.caffe_pb2 import NetParameter
from ..waiting import Working
from .batch import batches, trimmed
from .building import build
from .by_name import Results
from .checks import assign, check_all_given, check_callable, known_blobs, known_layer
from .construction import NamingSource, read_model, sort_arguments
from .inside import Inside
from .log import tell_text
from .trained import copy_trained, save_caffemodel, save_hdf5, share_trained
from .views import View, Views
from .weights_report import WeightsReport

if TYPE_CHECKING:
    from ..structure.summary import Summary


class Net(Views):
    """A net of layers, as pycaffe's ``caffe.Net``.

    Parameters
    ----------
    network_file : path, NetParameter or text of a net
        The net's prototxt; older forms are upgraded on the way.
    weights : path, optional
        A .caffemodel or HDF5 file, chosen by content; layers are matched by name.
    phase : {caffe.TRAIN, caffe.TEST}
        Which layers there are, and how Dropout, BatchNorm and the like run. It may stand second,
        or third behind the weights, as in pycaffe.
    level : int, optional
        For `min_level` and `max_level` rules; None for the one that the text gives in `state`.
    stages : sequence of str, optional
        For `stage` and `not_stage` rules.

    Raises
    ------
    ParseError
        A file is not what it should be; the text names file and line.
    NetError
        The text does not make a net; the text names layer and blob.
    WeightsError
        The weights are of another net.

    Attributes
    ----------
    source : str or None
        The file that the description came from, which errors name.

    Examples
    --------
    >>> net = Net('''layer { name: "data" type: "Input" top: "data"
    ...                       input_param { shape { dim: 1 dim: 3 } } }
    ...               layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }''', caffe.TEST)
    >>> net.forward(data=np.array([[-1, 0, 2]]))["relu"].tolist()
    [[0.0, 0.0, 2.0]]
    """

    def __init__(
        self,
        network_file: PathLike | NetParameter | None = None,
        *arguments: Any,
        phase: int | None = None,
        weights: PathLike | None = None,
        level: int | None = 0,
        stages: Sequence[str] | None = None,
        **legacy: Any,
    ) -> None:
        # The name that the first argument had here before.
        network_file = legacy.pop("model", network_file)
        weights, phase, level, stages = sort_arguments(
            arguments, weights, phase, level, stages, legacy
        )
        self.source, param = read_model(network_file)
        with NamingSource(self.source):
            tell_text(param, phase, level, stages or ())
            self._graph = build_graph(param, phase, level, stages or ())
            self._steps, blobs, self._parameters = build(self._graph, param.force_backward)
            self._runner = Runner(self._steps)
            self._view = View.of(self._graph, self._steps, blobs)
        self.name = self._graph.name
        self.debug_info = param.debug_info
        self._callbacks = Callbacks()
        self._weights_report: WeightsReport | None = None
        if weights is not None:
            self.copy_from(weights)

    @property
    def inside(self) -> Inside:
        """The parts that the net is made of, for the package's own modules."""
        return Inside(self._graph, self._steps, self._parameters, self._runner, self._callbacks)

    # Running.

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Run the layers from `start` to `end` (both included).

        Parameters
        ----------
        blobs : sequence of str, optional
            Blobs to return beside the net's outputs (or beside the tops of `end`).
        start, end : str, optional
            Layers' names; the first and the last by default. Layers before `start` are not run.
        **inputs : array
            Values for the input blobs: either all of them or none.

        Returns
        -------
        dict of str to array
            By blob name. The arrays are the blobs' own memory: the next forward overwrites them.

        Raises
        ------
        CaffeError
            A name is unknown, or the inputs are not the net's.
        ShapeError
            An input's first axis is not the batch, or the rest does not fit the blob.
        """
        first, last = self._layer_range(start, end)
        names = self.top_names[end] if end is not None else self.outputs
        more = () if blobs is None else known_blobs(blobs, self.blobs)
        wanted = dict.fromkeys([*names, *more])
        if inputs:
            check_all_given("input", inputs, self.inputs)
            for name, values in inputs.items():
                assign("input", name, values, self.blobs[name].data)
        self._forward(first, last)
        return Results((name, self.blobs[name].data) for name in wanted)

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **tops: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Run the gradients of the layers from `start` back to `end` (both included).

        Parameters
        ----------
        diffs : sequence of str, optional
            Blobs whose diffs to return beside the inputs' (or beside those of `end`'s bottoms).
        start, end : str, optional
            Layers' names; the last and the first by default.
        **tops : array
            Diffs for the net's output blobs: either all of them or none.

        Returns
        -------
        dict of str to array
            Diffs by blob name, the blobs' own memory.

        Raises
        ------
        CaffeError
            A name is unknown, or the diffs are not those of the net's outputs.
        ShapeError
            A diff does not fit its blob.
        """
        last, first = self._layer_range(end, start)
        names = self.bottom_names[end] if end is not None else self.inputs
        wanted = dict.fromkeys([*names, *known_blobs(() if diffs is None else diffs, self.blobs)])
        if tops:
            check_all_given("top diff", tops, self.outputs)
            for name, values in tops.items():
                assign("top diff", name, values, self.blobs[name].diff)
        self._backward(first, last)
        return Results((name, self.blobs[name].diff) for name in wanted)

    def forward_all(
        self, blobs: Sequence[str] | None = None, **inputs: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Run any number of pictures through in batches of the net's own size.

        The last batch is filled up with zeros, whose results are dropped.

        Parameters
        ----------
        blobs : sequence of str, optional
            Blobs to return beside the net's outputs.
        **inputs : array
            Values for every input blob, as many along the first axis as there are pictures.

        Returns
        -------
        dict of str to array
            Copies, by blob name.
        """
        outputs: dict[str, list[np.ndarray]] = {}
        for batch in self._batch(inputs):
            for name, values in self.forward(blobs=blobs, **batch).items():
                outputs.setdefault(name, []).extend(np.atleast_1d(values.copy()))
        return trimmed(outputs, inputs)

    def forward_backward_all(
        self,
        blobs: Sequence[str] | None = None,
        diffs: Sequence[str] | None = None,
        **inputs_and_diffs: np.ndarray,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Run any number of pictures forward, and their output diffs backward, in batches.

        Parameters
        ----------
        blobs, diffs : sequence of str, optional
            Blobs whose data and whose diffs to return beside the outputs' and the inputs'.
        **inputs_and_diffs : array
            Values for every input blob and diffs for output blobs.

        Returns
        -------
        blobs, diffs : dict of str to array
            Copies, by blob name.
        """
        inputs = {k: v for k, v in inputs_and_diffs.items() if k in self.inputs}
        top_diffs = {k: v for k, v in inputs_and_diffs.items() if k not in self.inputs}
        found: dict[str, list[np.ndarray]] = {}
        gradients: dict[str, list[np.ndarray]] = {}
        nothing: dict[str, Any] = {}
        for batch, tops in zip_longest(
            self._batch(inputs), self._batch(top_diffs), fillvalue=nothing
        ):
            for name, values in self.forward(blobs=blobs, **batch).items():
                found.setdefault(name, []).extend(np.atleast_1d(values.copy()))
            for name, values in self.backward(diffs=diffs, **tops).items():
                gradients.setdefault(name, []).extend(np.atleast_1d(values.copy()))
        return trimmed(found, inputs), trimmed(gradients, inputs)

    def reshape(self) -> None:
        """Let every layer follow the shapes that the input blobs now have."""
        for step in self._steps:
            step.reshape()

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        self._parameters.clear_diffs()

    @guarded
    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Feed a net whose first layer is MemoryData.

        Parameters
        ----------
        data : array, float32, (n, channels, height, width)
            n is a multiple of the layer's batch size.
        labels : array, float32, (n,) or (n, 1, 1, 1)
            One label per picture.

        Raises
        ------
        CaffeError
            The first layer is of another type, or the arrays do not fit it.
        """
        step = self._steps[0]
        reset = getattr(step.layer, "reset", None)
        if reset is None:
            raise CaffeError(
                f"set_input_arrays needs MemoryData as the first layer, but it is {step.label}"
            )
        with step.blame():
            reset(data, labels)

    _set_input_arrays = set_input_arrays

    def _forward(self, first: int, last: int) -> Loss:
        store = mode.current_store()
        as_whole = last - first + 1 == len(self._steps)
        with computing, Working(), NamingSource(self.source), self._surroundings(store):
            if as_whole and not self.debug_info and not self._callbacks.heed_forward:
                return self._runner.forward(store)
            steps = self._steps[first : last + 1]
            loss = layerwise.forward(steps, store, self._callbacks, first)
        if self.debug_info:
            report_forward(steps, store)
        return loss

    def explain(self) -> list[str]:
        """Say of each layer what runs it when the net runs as a whole, and why not otherwise.

        Returns
        -------
        list of str
            One for each of `layers`, as things stood after the last forward: what its operation
            is, with which layer it is joined, and why it has no quicker form.

        Examples
        --------
        >>> net = Net('''layer { name: "data" type: "Input" top: "data"
        ...                       input_param { shape { dim: 1 dim: 3 } } }
        ...               layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }''', 1)
        >>> _ = net.forward()
        >>> net.explain()[0]
        'given by the program'
        """
        return self._runner.explain()

    def _backward(self, first: int, last: int) -> None:
        steps, store = self._steps[last : first + 1], mode.current_store()
        as_whole = len(steps) == len(self._steps)
        for step in steps:
            # Whoever asks for gradients once will do so again.
            step.is_recorded = True
        self._runner.goes_back()
        with computing, Working(), self._surroundings(store):
            if as_whole and not self.debug_info and not self._callbacks.heed_backward:
                self._runner.backward(store)
            else:
                layerwise.backward(steps, store, self._callbacks, last)
        if self.debug_info:
            report_backward(steps, store)

    def _surroundings(self, store: Store | None) -> AbstractContextManager[None]:
        """Let a GPU compute as was chosen, layers on the CPU use again what others have freed.

        The latter those that run one by one, as in training.
        """
        if store is not None:
            return mode.gpu_arithmetic()
        if not self._runner.has_gradients:
            return nullcontext()
        sizes = [4 * blob.count for blob in self._view.blobs.values()]
        return FreedMemory(2 * sum(sizes), max(sizes, default=0))

    def before_forward(self, function: Callback) -> None:
        """Let `function` be called with each layer's number before the layer runs forward.

        As long as there is such a function, or one for after it, each layer runs by itself. The
        functions are called in the order in which they were given; a copy of the net has none.

        Examples
        --------
        >>> net = Net('layer { name: "data" type: "Input" top: "data" }', 1)
        >>> net.before_forward(print)
        >>> _ = net.forward()
        0
        """
        self._callbacks.before_forward.append(check_callable(function))

    def after_forward(self, function: Callback) -> None:
        """Let `function` be called with each layer's number after the layer has run forward."""
        self._callbacks.after_forward.append(check_callable(function))

    def before_backward(self, function: Callback) -> None:
        """Let `function` be called with each layer's number before its gradients are computed.

        It is called for layers whose gradients nobody needs, too.
        """
        self._callbacks.before_backward.append(check_callable(function))

    def after_backward(self, function: Callback | None = None) -> None:
        """Let `function` be called with each layer's number after its gradients are computed.

        Without one nothing is done; pycaffe takes none, here alone.
        """
        if function is not None:
            self._callbacks.after_backward.append(check_callable(function))

    # Weights.

    @guarded
    def copy_from(self, weights: PathLike) -> WeightsReport:
        """Take the parameters that a .caffemodel or HDF5 file holds for layers of these names.

        Layers of the file that this net has not are passed over; layers of this net that the
        file has not keep their fillers' values.

        Returns
        -------
        WeightsReport
            Which layers were taken, which keep their values, and what was passed over.

        Raises
        ------
        ParseError
            The file cannot be read.
        WeightsError
            A layer's blobs differ in number or shape.
        """
        report = copy_trained(self.inside, weights)
        before = self._weights_report
        self._weights_report = report if before is None else before.followed_by(report)
        return report

    @property
    def weights_report(self) -> WeightsReport | None:
        """Which layers have their values from which files; None before any were read."""
        return self._weights_report

    @guarded
    def share_with(self, other: Net) -> None:
        """Use the other net's parameters, by layer name, as this net's own.

        Raises
        ------
        WeightsError
            A layer's blobs differ in number or shape.
        ArgumentError
            `other` is no net.
        """
        share_trained(self.inside, checked_net(other).inside)

    @guarded
    def save(self, path: PathLike) -> None:
        """Write the net with its parameters as a .caffemodel that Caffe reads.

        Raises
        ------
        WriteError
            The file cannot be written; one that stood there is untouched.
        """
        save_caffemodel(self.name, self.inside, path)

    @guarded
    def save_hdf5(self, path: PathLike, write_diff: bool = False) -> None:
        """Write the parameters as an HDF5 file that Caffe reads; raises as `save` does.

        Raises
        ------
        MissingExtraError
            h5py is not installed.
        """
        save_hdf5(self.inside, path, write_diff)

    @guarded
    def load_hdf5(self, path: PathLike) -> None:
        """Take the parameters of an HDF5 file, as `copy_from` does."""
        self.copy_from(path)

    # Pieces.

    def _layer_range(self, start: str | None, end: str | None) -> tuple[int, int]:
        names = self._layer_names
        first = 0 if start is None else names.index(known_layer(start, names))
        last = len(names) - 1 if end is None else names.index(known_layer(end, names))
        return first, last

    def _batch(self, blobs: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
        return batches(blobs, self._blobs[0].shape[0] if blobs else 0)

    def __str__(self) -> str:
        """A table of layers, with shapes, parameters and multiply-adds, and the totals."""
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary().html()

    def _summary(self) -> Summary:
        from ..structure.summary import summarize

        return summarize(self)

    def __repr__(self) -> str:
        return f"<caffe.Net {self.name!r}: {len(self.layers)} layers, {len(self.blobs)} blobs>"


def checked_net(net: Any) -> Net:
    """Return a net as it is; raises ArgumentError for what is none, such as its file."""
    if not isinstance(net, Net):
        raise ArgumentError(f"this takes a caffe.Net, not {type(net).__name__} {net!r:.60}")
    return net
