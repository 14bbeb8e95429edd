"""The solvers: steps, tests, snapshots, and the classes that pycaffe has for them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, ClassVar

from .. import mode, parallel
from ..errors import ArgumentError, CaffeWarning
from ..guarded import memory_told
from ..logs import is_told, say
from ..net.construction import NamingSource
from ..net.net import Net, checked_net
from ..net.parameters import Learnable
from ..paths import PathLike, path_text
from ..proto.caffe_pb2 import SolverParameter
from ..proto.text import format_text
from ..pytorch import torch
from ..vectors import NetVec
from ..weights.solver_state import State
from . import settings, sidecar, snapshots, testing
from .communication import Together, agreed, mean_of
from .finite import check_loss, check_parameters
from .log import Lap, output_line
from .methods import METHODS
from .monitor import Monitor, Verdict
from .passes import add_gradients
from .rates import Plateau, Rate, momentum_at, weight_decay_at
from .smoothed_loss import SmoothedLoss
from .unsettled import Unsettled
from .update import Update
from .watching import Stepped, Watcher

Callback = Callable[[], None]


class Action(Enum):
    """What a solver may be asked to do after each step."""

    NONE = 0
    SNAPSHOT = 1
    STOP = 2


class Solver:
    """Trains a net as a solver's text says (Caffe's solvers, with pycaffe's names).

    Parameters
    ----------
    solver_file : path, text of a solver, or SolverParameter
        What to train, how, how often to test it and to keep it.

    Raises
    ------
    ParseError
        A file is not what it should be.
    NetError
        The settings do not fit together, or the nets do not; the text names file and line.
    WeightsError
        The weights to start from are of another net.

    Attributes
    ----------
    action : callable
        Asked after each step, and during tests, whether to stop or to keep a snapshot.
    watchers : list of Watcher
        Are told of steps, tests and snapshots.

    Examples
    --------
    >>> from caffe import SGDSolver
    >>> solver = SGDSolver('''base_lr: 0.1 lr_policy: "fixed" net_param {
    ...     layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 2] } } }
    ...     layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"
    ...             inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
    ...     layer { name: "t" type: "Input" top: "t" input_param { shape { dim: [4, 1] } } }
    ...     layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" } }''')
    >>> solver.net.blobs["x"].data[...] = [[0, 1], [1, 0], [1, 1], [0, 0]]
    >>> solver.net.blobs["t"].data[...] = [[1], [2], [3], [0]]
    >>> solver.step(200)
    >>> float(solver.net.blobs["loss"].data) < 0.01
    True
    """

    method_name: ClassVar[str]

    def __init__(self, solver_file: PathLike | SolverParameter) -> None:
        source, self._param = settings.read_settings(solver_file)
        self._iter = 0
        self.action: Callable[[], Action] = lambda: Action.NONE
        self._callbacks: list[tuple[Callback, Callback]] = []
        self._loss = SmoothedLoss(self.param.average_loss)
        self._stopped = False
        self.watchers: list[Watcher] = []
        self._is_checked = False
        self._goes_on = False
        self._last_rate = 0.0
        self._snapshots: list[int] = []
        self._tested = -1
        self._unsettled = Unsettled()
        if is_told():
            text = format_text(self.param).rstrip()
            say("solver.cpp:45", f"Initializing solver from parameters: \n{text}")
        settings.check_weights(self.param)
        with NamingSource(source):
            settings.check_settings(self.param)
            self._rate = Rate(self.param)
            self._method = METHODS[self.method_name](self.param)
            if self.param.snapshot or self.param.snapshot_best:
                snapshots.check_prefix(self.param)
            if self.param.random_seed >= 0:
                mode.set_random_seed(self.param.random_seed + parallel.solver_rank())
                parallel.set_order_seed(self.param.random_seed)
        self._make_nets(source)
        with NamingSource(source):
            self._monitor = Monitor(self.param, self._test_outputs() if self.is_root else None)
        self._learnable: list[Learnable] = self.net.inside.parameters.learnable
        self._update = Update(self.param, self._method, self._learnable)
        say("solver.cpp:57", "Solver scaffolding done.")

    def _make_nets(self, source: str | None) -> None:
        """Make the nets, whose errors name the solver's file, and load their weights."""
        with NamingSource(source):
            self._net = settings.train_net(self.param)
        self._load(self.net)
        tests = []
        # One of those that train together tests for all.
        for net in settings.test_nets(self.param, source) if self.is_root else ():
            # They may have layers that the net which is trained has not.
            self._load(net)
            net.share_with(self.net)
            tests.append(net)
        self._test_nets = NetVec(tests)

    def _load(self, net: Net) -> None:
        for weights in settings.weight_files(self.param):
            say("solver.cpp:72", f"Finetuning from {weights}")
            net.copy_from(weights)

    def _test_outputs(self) -> dict[str, float]:
        """Return the test nets' outputs and loss weights; refuse those that eval_type cannot."""
        for net in self.test_nets:
            testing.scores_for(net, self.param)
        return {name: net.blob_loss_weights[name] for net in self.test_nets for name in net.outputs}

    # What pycaffe has.

    @property
    def net(self) -> Net:
        """The net that is trained."""
        return self._net

    @property
    def test_nets(self) -> NetVec:
        """The nets that test what is learned; they use the same parameters."""
        return self._test_nets

    @property
    def iter(self) -> int:
        """How many steps have been done."""
        return self._iter

    @property
    def loss(self) -> float:
        """The mean loss of the last steps, as many as average_loss says."""
        self._unsettled.settle()
        return self._loss.value

    @property
    def param(self) -> SolverParameter:
        """The settings, in today's form."""
        return self._param

    @property
    def is_root(self) -> bool:
        """Whether this is the first, or the only, of the solvers that train together."""
        return parallel.solver_rank() == 0

    def add_callback(
        self,
        on_start: Callback | Together | None = None,
        on_gradients_ready: Callback | None = None,
    ) -> None:
        """Let functions be called at each step's start, and when its gradients are there.

        An `NCCL` has both of them. Without any nothing is done; pycaffe takes none, too.
        """
        if isinstance(on_start, Together):
            together = on_start
            on_start, on_gradients_ready = together.on_start, together.on_gradients_ready
        if on_start is None and on_gradients_ready is None:
            return
        for function in (on_start, on_gradients_ready):
            if not callable(function):
                raise ArgumentError(f"add_callback takes two functions, not {function!r:.80}")
        assert on_start is not None
        assert on_gradients_ready is not None
        self._callbacks.append((on_start, on_gradients_ready))

    def step(self, iterations: int) -> None:
        """Do so many steps, with the tests and snapshots that fall into them.

        The loss that is shown is smoothed anew from the first of them on.
        """
        if not self._goes_on:
            self._loss.restart()
        self._goes_on = self._stopped = False
        self._steps(iterations)

    def _steps(self, iterations: int) -> None:
        end = self.iter + iterations
        self._lap = Lap(self.iter)
        self._unsettled.forget()
        while self.iter < end:
            self.net.clear_param_diffs()
            # A snapshot of the best test goes on behind that test.
            if self._is_test_due(self.param.test_initialization) and self._tested != self.iter:
                self._unsettled.settle()
                self._test_all()
                # Of several the first alone tests, and may have been told to stop meanwhile.
                self._stopped = bool(agreed(int(self._stopped)))
                if self._stopped:
                    break
            for on_start, _ in self._callbacks:
                on_start()
            loss = self._gradients()
            # A GPU tells it while it goes on, where nobody has to know before the update.
            is_known = self._is_display_due() or self.param.lr_policy == "plateau"
            if is_known:
                self._loss.add(loss())
            if self._is_display_due():
                self._show()
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            self._change_parameters()
            if not is_known:
                self._unsettled.expect(loss, self._loss.add)
            self._unsettled.then(self._update.tell)
            due = self.param.snapshot and (self.iter + 1) % self.param.snapshot == 0
            is_waited_for = due or self.watchers or self._callbacks or self.iter + 1 == end
            # Else the next step's data are made ready while a GPU still computes.
            if is_waited_for or mode.current_store() is None:
                self._unsettled.settle()
            if self.watchers:
                shown = self._is_display_due()
                step = Stepped(self.iter, self._loss.value, self._last_rate, shown)
                for watcher in self.watchers:
                    watcher.stepped(step)
            self._iter += 1
            action = Action(agreed(self.action().value))
            if action is not Action.NONE:
                self._unsettled.settle()
            if due or action is Action.SNAPSHOT:
                self.snapshot()
            if action is Action.STOP:
                self._stopped = True
                break

    def solve(self, resume_file: PathLike | None = None) -> None:
        """Do all steps up to max_iter, from a snapshot on where one is given.

        Afterwards the result is kept (unless snapshot_after_train is false) and tested.

        Raises
        ------
        TrainingError
            The loss is no longer a number, or the parameters are none; the text names iteration,
            layer and blob. No snapshot is kept then.
        """
        param = self.param
        settings.warn_of_missing(param)
        if param.snapshot_after_train:
            snapshots.check_prefix(param)
        say("solver.cpp:289", f"Solving {self.net.name}")
        say("solver.cpp:290", f"Learning Rate Policy: {param.lr_policy}")
        if resume_file is not None:
            say("solver.cpp:295", f"Restoring previous solver status from {path_text(resume_file)}")
            self.restore(resume_file)
            if self.iter >= param.max_iter:
                warnings.warn(
                    f"{path_text(resume_file)} has done {self.iter} iterations, and max_iter is "
                    f"{param.max_iter}: there is none left to do",
                    CaffeWarning,
                    stacklevel=2,
                )
        self._is_checked = True
        try:
            self.step(max(0, param.max_iter - self.iter))
            self._finish()
        finally:
            self._is_checked = False

    def _finish(self) -> None:
        """Keep the result, and test it."""
        param = self.param
        if param.snapshot_after_train and not (param.snapshot and self.iter % param.snapshot == 0):
            self.snapshot()
        if self._stopped:
            say("solver.cpp:316", "Optimization stopped early.")
            return
        if self._is_display_due():
            self._loss.add(float(self.net._forward(0, len(self.net.layers) - 1)))
            say("solver.cpp:327", f"Iteration {self.iter}, loss = {self._loss.value:g}")
        if self._is_test_due(at_start=True):
            self._test_all()
        say("solver.cpp:332", "Optimization Done.")

    def apply_update(self) -> None:
        """Change the parameters by their gradients, as the next step's rate says.

        The blobs' `diff` hold afterwards what has been taken from their `data`.
        """
        self._change_parameters()
        self._update.tell()

    def _change_parameters(self) -> None:
        rate = self._next_rate()
        weight_decay = weight_decay_at(self.param, self.iter)
        if self._is_display_due():
            say("sgd_solver.cpp:112", f"Iteration {self.iter}, lr = {rate:g}")
        with memory_told():
            self._update.apply(rate, weight_decay, self.iter + 1, mode.current_store())

    def _next_rate(self) -> float:
        """Return the next step's rate; SGD's momentum goes with it."""
        loss = self._loss.value
        if self.param.lr_policy == "plateau":
            loss = mean_of(loss)
        rate = self._rate.told(self.iter, loss, self._is_display_due())
        if self.method_name == "SGD":
            factor = self._rate.momentum_factor(self.iter)
            self._method.momentum = momentum_at(self.param, self.iter, rate) * factor
        self._last_rate = rate
        return rate

    def snapshot(self) -> None:
        """Keep the weights and the solver's state, as ``PREFIX_iter_N.caffemodel`` and its kin.

        Of several solvers that train together the first keeps them for all. As many of the newest
        snapshots stay as snapshot_keep says.
        """
        if self._is_checked:
            check_parameters(self.net, self.iter)
        self._save(self.iter)
        self._snapshots = [*(n for n in self._snapshots if n != self.iter), self.iter]
        while 0 < self.param.snapshot_keep < len(self._snapshots):
            snapshots.remove(self.param, self._snapshots.pop(0))

    def _save(self, which: int | str) -> None:
        """Write a snapshot, or, beside the first solver's, what is this one's own."""
        nets = [self.net, *self.test_nets]
        if not self.is_root:
            path = snapshots.name_of(self.param, which, "solverstate")
            sidecar.save(path, nets, self._kept())
            return
        history = [array.cpu().numpy() for array in self._update.history]
        state = State(self.iter, "", self._rate.current_step, history)
        if self.param.lr_policy == "plateau":
            state.plateau = (self._rate.plateau.minimum_loss, self._rate.plateau.iter_last_event)
        is_hdf5 = self.param.snapshot_format == SolverParameter.HDF5
        kind, places = ("HDF5", (471, 314)) if is_hdf5 else ("binary proto", (464, 284))
        weights, path = snapshots.save(self.param, self.net, state, which)
        sidecar.save(path, nets, self._kept())
        say(f"solver.cpp:{places[0]}", f"Snapshotting to {kind} file {weights}")
        say(f"sgd_solver.cpp:{places[1]}", f"Snapshotting solver state to {kind} file {path}")
        for watcher in self.watchers:
            watcher.kept(self.iter, path)

    def restore(self, state_file: PathLike) -> None:
        """Go back to a snapshot: its weights, its history, and how many steps it had done.

        From one of our own the data layers, random numbers and smoothed loss go on, too.

        Raises
        ------
        ParseError
            The file cannot be read.
        WeightsError
            It is of another solver or net, or its weights are not to be found.
        """
        path = path_text(state_file)
        shapes = [tuple(array.shape) for array in self._update.history]
        state, weights = snapshots.load(path, shapes, self._method.remembers)
        more = sidecar.read(path)
        snapshots.check_method(path, more, self.method_name, self._method.remembers)
        if weights is not None:
            self.net.copy_from(weights)
        say("sgd_solver.cpp:320", "SGDSolver: restoring history")
        self._update.restore(
            torch.from_numpy(array.reshape(shape).copy())
            for array, shape in zip(state.history, shapes, strict=True)
        )
        self._iter, self._rate.current_step = state.iteration, state.current_step
        if state.plateau is not None:
            self._rate.plateau = Plateau(*state.plateau)
        if more:
            sidecar.bring_back(path, more, [self.net, *self.test_nets])
            self._loss.restore(more["loss"])
            self._last_rate = float(more["rate"])
            self._update.local.correlations = more.get(
                "correlations", self._update.local.correlations
            )
            self._monitor.restore(more.get("monitor", self._monitor.state()))
            self._snapshots = [int(number) for number in more.get("snapshots", [])]
            self._tested = self.iter if more.get("tested") else -1
            self._goes_on = True

    def _kept(self) -> dict[str, Any]:
        """Return what goes into the file beside a snapshot."""
        return {
            "remembers": list(self._method.remembers),
            "loss": self._loss.state(),
            "rate": self._last_rate,
            "correlations": self._update.local.correlations,
            "monitor": self._monitor.state(),
            "snapshots": [*(n for n in self._snapshots if n != self.iter), self.iter],
            "tested": self._tested == self.iter,
        }

    def share_weights(self, net: Net) -> None:
        """Let another net use the parameters that are trained."""
        checked_net(net).share_with(self.net)

    # One step.

    def _gradients(self) -> Callable[[], float]:
        """Run forward and backward, iter_size times; return what waits for the mean loss."""
        self.net.debug_info = self.param.debug_info and self._is_display_due()
        check = partial(self._check, self.iter)
        return add_gradients(self.net, self.param.iter_size, check, self._unsettled.settle)

    def _check(self, iteration: int, loss: float) -> None:
        if self._is_checked:
            check_loss(self.net, loss, iteration)

    # Tests, and what is shown.

    def _is_test_due(self, at_start: bool) -> bool:
        interval = self.param.test_interval
        return bool(interval) and self.iter % interval == 0 and (self.iter > 0 or at_start)

    def _is_display_due(self) -> bool:
        return bool(self.param.display) and self.iter % self.param.display == 0

    def _show(self) -> None:
        speed, loss = self._lap.speed(self.iter), self._loss.value
        speed += f"/{self.param.display} iters"
        say("solver.cpp:239", f"Iteration {self.iter} ({speed}), loss = {loss:g}")
        for index, (blob, value, weight) in enumerate(testing.outputs_of(self.net)):
            say("solver.cpp:258", output_line("Train", index, blob, value, weight))

    def _test_all(self) -> None:
        outputs: dict[str, float] = {}
        for number in range(len(self.test_nets)):
            if not self._stopped:
                outputs = self._test(number) | outputs
        self._tested = self.iter
        if not self.param.monitor:
            return
        # Who does not test itself does what the first solver has found.
        verdict = Verdict.NONE
        if self.is_root and not self._stopped:
            verdict = self._monitor.judge(outputs[self._monitor.name], self.iter)
        verdict = Verdict(agreed(verdict.value))
        if verdict is Verdict.BEST and self.param.snapshot_best:
            self._save(snapshots.BEST)
        self._stopped |= verdict is Verdict.STOP

    def _test(self, number: int) -> dict[str, float]:
        say("solver.cpp:347", f"Iteration {self.iter}, Testing net (#{number})")
        net, count = self.test_nets[number], self.param.test_iter[number]
        if not count:
            # As published solvers say that nothing is to be tested.
            return {}
        net.share_with(self.net)
        scores = testing.scores_for(net, self.param)
        loss = 0.0
        for _ in range(count):
            action = self.action()
            if action is Action.SNAPSHOT:
                self.snapshot()
            elif action is Action.STOP:
                self._stopped = True
                say("solver.cpp:363", "Test interrupted.")
                return {}
            loss += float(net._forward(0, len(net.layers) - 1))
            scores.add()
        if self.param.test_compute_loss:
            say("solver.cpp:397", f"Test loss: {loss / count:g}")
        for line in scores.lines():
            say("solver.cpp:414", line)
        # Of an output of several numbers the first counts.
        means = {blob: mean for blob, mean, _ in reversed(list(scores.outputs()))}
        for watcher in self.watchers:
            watcher.tested(self.iter, number, means)
        return means
