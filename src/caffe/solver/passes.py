"""Forward and backward of a step of training, and the loss that they come to."""

from __future__ import annotations

import functools
from collections.abc import Callable

from .. import mode
from ..ending import computing
from ..engine.steps import Loss
from ..layers import asking
from ..memory.allocation import give_back_freed_memory
from ..net.construction import NamingSource
from ..net.net import Net
from ..waiting import Working

SCATTERING = 2
"""How many passes leave what lasts (gradients, momentum, libraries' own) amid what goes, so that
others' arrays no longer fit there: a third of ResNet-50's memory would lie idle."""


def add_gradients(
    net: Net,
    count: int,
    check: Callable[[float], object],
    settle: Callable[[], object] = lambda: None,
) -> Callable[[], float]:
    """Run a net forward and backward some times; its gradients add up.

    Parameters
    ----------
    net : Net
        Whose data layers go on from pass to pass.
    count : int
        How many times.
    check : callable
        Is given each pass's loss; on the CPU before the pass's gradients are computed.
    settle : callable
        Waits for what is to be known before layers compute; the data layers may have run.

    Returns
    -------
    callable
        Returns the mean loss; a GPU is waited for until it knows that, and no longer.
    """
    losses: list[Callable[[], float]] = []
    runner, steps = net.inside.runner, net.inside.steps
    given = {id(top.memory) for step in steps if step.layer.is_given for top in step.tops}

    def settle_all() -> None:
        settle()
        for loss in losses:
            loss()

    for _ in range(count):
        runner.forget()
        if not runner.has_recorded:
            # Who names a layer whose numbers are none looks at what is let go.
            settle()
            for step in steps:
                step.let_go(given)
        if 0 < runner.passes <= SCATTERING:
            give_back_freed_memory()
        runner.passes += 1
        # Backward only asks what forward has asked before.
        with asking.later(mode.current_store()) as questions:
            loss = _both(net, settle_all)
            if loss is not None and questions is not None:
                losses.append(_later(net, questions.ask(loss), check))
                continue
            settle()
            losses.append(_forward(net, questions, check))
            with runner.letting_go():
                net._backward(len(net.layers) - 1, 0)
    return lambda: sum(loss() for loss in losses) / count


def _both(net: Net, settle: Callable[[], object]) -> Loss | None:
    """Run forward and backward as one where a GPU may record that; None where nothing has run."""
    store, inside = mode.current_store(), net.inside
    is_seen = net.debug_info or inside.callbacks.heed_forward or inside.callbacks.heed_backward
    if store is None or is_seen or not inside.runner.may_record(store):
        return None
    with computing, Working(), NamingSource(net.source), mode.gpu_arithmetic():
        return inside.runner.both(store, settle)


def _forward(
    net: Net, questions: asking.Questions | None, check: Callable[[float], object]
) -> Callable[[], float]:
    part = net._forward(0, len(net.layers) - 1)
    if questions is None:
        loss = float(part)
        check(loss)
        return lambda: loss
    return _later(net, questions.ask(part), check)


def _later(
    net: Net, wait: Callable[[], float], check: Callable[[float], object]
) -> Callable[[], float]:
    """Return what waits for a pass's loss, and has it checked, when it is first called."""

    @functools.cache
    def known() -> float:
        with NamingSource(net.source):
            loss = wait()
        check(loss)
        return loss

    return known
