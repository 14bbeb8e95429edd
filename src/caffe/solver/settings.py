"""What a solver's text asks for: which nets, and what of it cannot be."""

from __future__ import annotations

import fnmatch
import math
import os
import warnings
from collections.abc import Iterator, Sequence

from ..errors import ArgumentError, CaffeWarning, MissingFileError, NetError, did_you_mean
from ..logs import say
from ..net.construction import NamingSource
from ..net.net import Net
from ..paths import PathLike, is_path, path_text
from ..phases import TEST, TRAIN
from ..proto import files
from ..proto.caffe_pb2 import NetParameter, NetState, SolverParameter
from ..proto.text import parse_text
from ..proto.upgrade import upgrade_net_in_place, upgrade_solver
from .average_precision import VERSIONS

Described = tuple[str | None, NetParameter]
"""A net's description, and the file that it came from."""


def read_settings(solver_file: PathLike | SolverParameter) -> tuple[str | None, SolverParameter]:
    """Return a solver's upgraded text, and the file that it came from.

    Parameters
    ----------
    solver_file : path, SolverParameter or text of a solver

    Raises
    ------
    ParseError
        It cannot be read.
    """
    if isinstance(solver_file, SolverParameter):
        return None, upgrade_solver(solver_file)
    if isinstance(solver_file, str) and ":" in solver_file and not os.path.exists(solver_file):
        return None, upgrade_solver(parse_text(solver_file, SolverParameter()))
    if not is_path(solver_file):
        raise ArgumentError(
            f"a solver takes its prototxt's path, its text or a SolverParameter, not "
            f"{solver_file!r:.80}"
        )
    return path_text(solver_file), files.read_solver(solver_file)


def check_settings(param: SolverParameter) -> None:
    """Refuse numbers that make no training.

    Raises
    ------
    NetError
        The text says which.
    """
    for name, least in (
        ("iter_size", 1),
        ("average_loss", 1),
        ("display", 0),
        ("max_iter", 0),
        ("snapshot", 0),
        ("snapshot_keep", 0),
        ("early_stop", 0),
        ("test_interval", 0),
        ("momentum", 0),
        ("weight_decay", 0),
        ("delta", 0),
        ("local_gw_ratio", 0),
        ("larc_eta", 0),
    ):
        if getattr(param, name) < least:
            raise NetError(
                f"{name} must be at least {least}, not {getattr(param, name):g}", word=name
            )
    for field, value in param.ListFields():
        if isinstance(value, float) and not math.isfinite(value):
            raise NetError(f"{field.name} must be a number, not {value:g}", word=field.name)
    if param.momentum > 1:
        raise NetError(
            f"momentum must be at most 1, not {param.momentum:g}: steps would grow without end",
            word="momentum",
        )
    if param.regularization_type not in ("L1", "L2"):
        raise NetError(
            f"regularization_type must be L1 or L2, not '{param.regularization_type}'",
            word="regularization_type",
        )
    for name, known in (
        ("eval_type", ("classification", "detection")),
        ("ap_version", VERSIONS),
    ):
        if getattr(param, name) not in known:
            raise NetError(
                f"{name} must be {' or '.join(known)}, not '{getattr(param, name)}'", word=name
            )
    if any(count < 0 for count in param.test_iter):
        raise NetError(f"test_iter must not be negative: {list(param.test_iter)}", word="test_iter")


NEEDED: dict[str, tuple[str, ...]] = {
    "step": ("gamma",),
    "multistep": ("gamma",),
    "exp": ("gamma",),
    "plateau": ("gamma",),
    "inv": ("gamma", "power"),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
}
"""What each policy goes by and the original takes for 0 where the text does not say it."""


def warn_of_missing(param: SolverParameter) -> None:
    """Tell of what the text does not say and the original takes for 0.

    Warns
    -----
    CaffeWarning
        The rate, or what its policy goes by, or how many steps there are, is not said; or there is
        a test_interval, but no net is tested.
    """
    rates = () if param.lr_policy == "multifixed" else ("base_lr",)
    missing = [
        name for name in (*rates, *NEEDED.get(param.lr_policy, ())) if not param.HasField(name)
    ]
    told = []
    if missing:
        told.append(
            f"lr_policy '{param.lr_policy}' goes by {' and '.join(missing)}, which the text "
            "does not say: 0 is taken, as in Caffe"
        )
    if not param.HasField("max_iter"):
        told.append("the text does not say max_iter: nothing is trained, as in Caffe")
    if param.test_interval and not param.test_iter:
        told.append("test_interval does nothing without test_iter: nothing is tested, as in Caffe")
    for text in told:
        warnings.warn(text, CaffeWarning, stacklevel=3)


def train_net(param: SolverParameter) -> Net:
    """Make the net that is to be trained.

    Raises
    ------
    NetError
        There is none, or more than one; or it does not fit together.
    """
    names = ("net", "net_param", "train_net", "train_net_param")
    given = [name for name in names if param.HasField(name)]
    if len(given) != 1:
        raise NetError(
            f"exactly one of {', '.join(names)} must say what is trained, but "
            f"{' and '.join(given) + ' are' if given else 'none of them is'} given",
            word=given[0] if given else None,
        )
    net: str | NetParameter = getattr(param, given[0])
    if given[0] == "net":
        say("solver.cpp:102", f"Creating training net from net file: {net}")
    elif given[0] == "train_net":
        say("solver.cpp:92", f"Creating training net from train_net file: {net}")
    else:
        say("solver.cpp:97", f"Creating training net specified in {given[0]}.")
    return _net(_frozen(_described(net), param.freeze), TRAIN, [param.train_state])


def test_nets(param: SolverParameter, source: str | None) -> Iterator[Net]:
    """Make the nets that test what is learned: test_net_param's, test_net's, and `net` itself.

    Errors name the solver's file, `source`.

    Raises
    ------
    NetError
        There are not as many of test_iter, or of test_state.
    """
    with NamingSource(source):
        for i, (what, net) in enumerate(_tested(param)):
            place = f"{what}{net}" if isinstance(net, str) else what
            say("solver.cpp:190", f"Creating test net (#{i}) specified by {place}")
            yield _net(_described(net), TEST, list(param.test_state[i : i + 1]))


def _tested(param: SolverParameter) -> list[tuple[str, str | NetParameter]]:
    """Return what test nets are made of, each with the words that the log has for it."""
    named: list[tuple[str, str | NetParameter]] = [
        *(("test_net_param", net) for net in param.test_net_param),
        *(("test_net file: ", net) for net in param.test_net),
    ]
    own = len(named)
    generic = next((n for n in ("net_param", "net") if param.HasField(n)), None)
    wanted = len(param.test_iter)
    if wanted < own or (generic is None and wanted != own):
        raise NetError(
            f"test_iter must be given once for each of {own} test nets, but stands {wanted} times",
            word="test_iter" if wanted else "test_net" if param.test_net else "test_net_param",
        )
    if generic is not None:
        what = "net_param" if generic == "net_param" else "net file: "
        named += [(what, getattr(param, generic))] * (wanted - own)
    if named and not param.test_interval:
        raise NetError("there are nets to test, but no test_interval above 0", word="test_iter")
    states = len(param.test_state)
    if states and states != len(named):
        raise NetError(
            f"test_state must be given once for each of {len(named)} test nets or not at all, "
            f"but stands {states} times",
            word="test_state",
        )
    return named


def weight_files(param: SolverParameter) -> Iterator[str]:
    """Yield the weights to start from; each `weights` may list several, with commas between."""
    for names in param.weights:
        yield from filter(None, (name.strip() for name in names.split(",")))


def check_weights(param: SolverParameter) -> None:
    """Refuse weights to start from that are not there, before nets are made for them.

    Raises
    ------
    MissingFileError
        The text names the file.
    """
    for weights in weight_files(param):
        if not os.path.exists(weights):
            raise MissingFileError("there is no such file to take weights from", weights)


def _described(net: str | NetParameter) -> Described:
    return (net, files.read_net(net)) if isinstance(net, str) else (None, net)


def _frozen(described: Described, patterns: Sequence[str]) -> Described:
    """Return a net's description with the layers of these names frozen.

    Raises
    ------
    NetError
        A pattern is no layer's.
    """
    source, param = described
    if not patterns:
        return described
    net = NetParameter()
    net.CopyFrom(param)
    upgrade_net_in_place(net)
    names = [layer.name for layer in net.layer]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            hint = did_you_mean(pattern, names)
            raise NetError(
                f"freeze: '{pattern}' is no layer's name{hint and '; '}{hint}", word=pattern
            )
    for layer in net.layer:
        if any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in patterns):
            layer.freeze = True
    return source, net


def _net(described: Described, phase: int, states: Sequence[NetState]) -> Net:
    """Make a net in the solver's state, which goes before the net's own."""
    source, param = described
    placed = NetParameter()
    placed.CopyFrom(param)
    for other in states:
        placed.state.MergeFrom(other)
    with NamingSource(source):
        net = Net(placed, phase, level=None)
    net.source = source
    return net
