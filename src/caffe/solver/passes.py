"""Forward and backward of a step of training, and the loss that they come to."""

from __future__ import annotations

from collections.abc import Callable

from .. import mode
from ..layers import asking
from ..memory.allocation import give_back_freed_memory
from ..net.construction import NamingSource
from ..net.net import Net

SCATTERING = 2
"""How many passes leave what lasts (gradients, momentum, libraries' own) amid what goes, so that
others' arrays no longer fit there: a third of ResNet-50's memory would lie idle."""


def add_gradients(net: Net, count: int, check: Callable[[float], object]) -> Callable[[], float]:
    """Run a net forward and backward some times; its gradients add up.

    Parameters
    ----------
    net : Net
        Whose data layers go on from pass to pass.
    count : int
        How many times.
    check : callable
        Is given each pass's loss; on the CPU before the pass's gradients are computed.

    Returns
    -------
    callable
        Returns the mean loss; a GPU is waited for until it knows that, and no longer.
    """
    losses = []
    runner = net.inside.runner
    for _ in range(count):
        runner.forget()
        for step in net.inside.steps:
            step.let_go()
        if 0 < runner.passes <= SCATTERING:
            give_back_freed_memory()
        runner.passes += 1
        # Backward only asks what forward has asked before.
        with asking.later(mode.current_store()) as questions:
            losses.append(_forward(net, questions, check))
            with runner.letting_go():
                net._backward(len(net.layers) - 1, 0)
    return lambda: sum(loss() for loss in losses) / count


def _forward(
    net: Net, questions: asking.Questions | None, check: Callable[[float], object]
) -> Callable[[], float]:
    part = net._forward(0, len(net.layers) - 1)
    if questions is None:
        loss = float(part)
        check(loss)
        return lambda: loss
    wait = questions.ask(part)

    def known() -> float:
        with NamingSource(net.source):
            loss = wait()
        check(loss)
        return loss

    return known
