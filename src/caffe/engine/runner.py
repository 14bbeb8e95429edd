"""What runs next when a net runs as a whole: prepared plans, and single layers between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import groupby, repeat, takewhile
from operator import attrgetter, contains, is_not
from typing import Any

from .. import mode
from ..memory.blob import Blob, Shape
from ..memory.stores import Store
from ..phases import TEST
from ..processes import in_forked_child
from ..pytorch import torch
from ..threads import compute_alone
from . import layerwise
from .joined import Joined, joined
from .plan.plan import Plan, blobs_of
from .plan.settings import Settings
from .regained import Regained, can_be_repeated, is_worth_it, written_first
from .steps import Loss, Step, sum_of
from .whole_step import WholeSteps, can_be_recorded

# PyTorch's threads are its parent's; where it asks for more than one it waits for them for ever.
in_forked_child(compute_alone)

_FORWARD = attrgetter("forward")

WORTH_GIVING_BACK = 2**28
"""From how many bytes on, by which a net of smaller blobs needs less, a GPU's are given back."""

SELDOM = 10.0
"""Not more often than once in so many seconds."""


class Runner:
    """Runs all layers of a net, one after the other.

    Layers that are pure run by prepared plans, as many as follow each other by one. A layer that is
    not (one that remembers something, whose tops' shapes depend on values, that works on blobs
    itself, or of whose forward nothing is known) runs by itself between two plans. So do layers
    that need gradients: of a net that is trained only what is frozen is planned. One of the phase
    TEST that has a loss is planned as a whole until somebody asks for gradients.

    Parameters
    ----------
    steps : sequence of Step
        All of the net's, set up.

    Attributes
    ----------
    passes : int
        How many of a training there have been.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self.passes = 0
        self._members = [vars(step.layer) for step in steps]
        self._kinds = list({type(step.layer) for step in steps})
        self._forwards = [kind.members["forward"] for kind in self._kinds]
        self._replaced: list[int] = []
        self._goes_back = any(map(_may_go_back_from_now_on, steps))
        self._lets_go = self._is_looked_at = False
        self._regained: Regained | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: the steps; its plans are made anew."""
        return {"steps": self._steps}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Runner.__init__(self, state["steps"])

    def _heed_replaced(self) -> None:
        """Part the layers anew where somebody has replaced a forward since."""
        if (
            self._replaced
            or any(map(contains, self._members, repeat("forward")))
            or any(map(is_not, map(_FORWARD, self._kinds), self._forwards))
        ):
            replaced = [i for i, step in enumerate(self._steps) if step.layer.is_patched]
            if replaced != self._replaced:
                self._replaced = replaced
                self._part_anew()

    def _part_anew(self) -> None:
        for name in ("_parts", "_ahead", "_whole"):
            self.__dict__.pop(name, None)

    @cached_property
    def _parts(self) -> list[_Single | _Planned]:
        """The layers parted into what is planned and what is not, once something is to run."""
        steps = self._steps
        trains = self._trains and self._goes_back
        parts: list[_Single | _Planned] = []
        for is_planned, group in groupby(steps, lambda step: self._may_plan(step)):
            part = list(group)
            # In training a plan pays for layers that are frozen, not for labels on their way.
            if not is_planned or (trains and not any(step.layer.blobs for step in part)):
                parts.append(_Single(part, trains))
                continue
            mine = {id(step) for step in part}
            read_elsewhere = [b for step in steps if id(step) not in mine for b in step.bottoms]
            # Behind a layer that gives other shapes each time plans would be made in vain.
            is_patient = bool(parts) and not trains
            parts.append(_Planned(part, read_elsewhere, is_patient))
        return parts

    @cached_property
    def has_gradients(self) -> bool:
        """Whether the backward pass visits any layer."""
        return any(step.need_backward for step in self._steps)

    @cached_property
    def _trains(self) -> bool:
        return self.has_gradients or any(step.layer.phase != TEST for step in self._steps)

    def _may_plan(self, step: Step) -> bool:
        return _is_plannable(step) and not (step.need_backward and self._goes_back)

    @property
    def plans(self) -> list[Plan]:
        """The plans that have been made, in running order."""
        return [p.plan for p in self._parts if isinstance(p, _Planned) and p.plan is not None]

    def forward(self, store: Store | None) -> Loss:
        """Run all layers; return the loss.

        Parameters
        ----------
        store : Store or None
            Where to compute; on the CPU where there is none.
        """
        self._heed_replaced()
        settings = self._settings(store)
        if settings.engine == "layerwise":
            return layerwise.forward(self._steps, store)
        with torch.no_grad():
            return sum_of(part.forward(settings) for part in self._parts)

    def _settings(self, store: Store | None) -> Settings:
        settings = Settings.current(store)
        if settings.engine == "layerwise" or not self._trains:
            return settings
        # What is chosen by its time would make two trainings differ.
        engine = "torch" if settings.engine == "auto" else settings.engine
        return replace(settings, engine=engine, tries=False)

    def goes_back(self) -> None:
        """Run layers that need gradients so that these can be had, from the next forward on."""
        if not self._goes_back:
            self._goes_back = True
            self._part_anew()

    @cached_property
    def _ahead(self) -> list[_Single | _Planned]:
        """The first parts, as many as follow each other without a gradient."""
        return list(takewhile(lambda part: not part.needs_gradients, self._parts))

    @cached_property
    def _whole(self) -> WholeSteps | None:
        """What records forward and backward; None where these layers cannot be."""
        rest = self._parts[len(self._ahead) :]
        has_loss = any(any(step.loss_weights) for part in self._ahead for step in part.steps)
        if has_loss or any(isinstance(part, _Planned) for part in rest):
            return None
        steps = [step for part in rest for step in part.steps]
        return WholeSteps(steps, Runner) if can_be_recorded(steps) else None

    def may_record(self, store: Store | None) -> bool:
        """Tell whether forward and backward may be recorded, so that `both` can run them."""
        self._heed_replaced()
        is_replaced = any(map(contains, self._members, repeat("backward")))
        if store is None or is_replaced or mode.engine() == "layerwise":
            return False
        return self._whole is not None and not self._whole.is_given_up

    @property
    def has_recorded(self) -> bool:
        """Whether forward and backward are recorded."""
        whole = vars(self).get("_whole")
        return whole is not None and whole.is_recorded

    def both(self, store: Store, settle: Callable[[], object]) -> Loss:
        """Run forward and backward, with nobody to look in between; return the loss.

        Parameters
        ----------
        store : Store
            Where to compute.
        settle : callable
            Called once the sources have run: what was computed before is overwritten from then on.
        """
        self.goes_back()
        whole = self._whole
        assert whole is not None
        for step in self._steps:
            step.is_recorded = True
        settings = self._settings(store)
        with torch.no_grad():
            for part in self._ahead:
                if isinstance(part, _Planned):
                    settle()
                part.forward(settings)
            for step in whole.sources:
                step.forward(store)
            loss = whole.run(store, settle)
            if loss is not None:
                return loss
            loss = sum_of(unit.forward(store) for unit in self._units_behind_sources())
        with self.letting_go():
            self.backward(store)
        return loss

    def _units_behind_sources(self) -> list[Step | Joined]:
        rest = self._parts[len(self._ahead) :]
        units = [unit for part in rest if isinstance(part, _Single) for unit in part.running]
        return [unit for unit in units if unit.steps[0].bottoms]

    def backward(self, store: Store | None) -> None:
        """Run all gradients, last layer first."""
        self._heed_replaced()
        if mode.engine() == "layerwise":
            layerwise.backward(self._steps, store)
            return
        self.forget()
        may_let_go = self._lets_go and not self._is_looked_at and is_worth_it(self._steps)
        if may_let_go and can_be_repeated(self._steps):
            self._regained = Regained(self._steps, store, Runner)
        with torch.no_grad():
            for part in reversed(self._parts):
                part.backward(store, self._regained)

    @contextmanager
    def letting_go(self) -> Iterator[None]:
        """Let gradients by blobs go, inside, as soon as no layer needs them.

        Whoever looks at one gets what it was, by a second forward and backward, see `Regained`;
        from then on this net's are kept.
        """
        self._lets_go = True
        try:
            yield
        finally:
            self._lets_go = False

    def forget(self) -> None:
        """Know no more of how to have the last step's gradients; the blobs' memories may."""
        if self._regained is not None:
            self._is_looked_at |= self._regained.is_looked_at
            self._regained = None

    def explain(self) -> list[str]:
        """Say of each layer, in running order, what ran it at the last forward, and why."""
        if mode.engine() == "layerwise":
            return ["layer by layer"] * len(self._steps)
        reasons = [reason for part in self._parts for reason in part.explain()]
        if not self.has_recorded:
            return reasons
        behind = sum(len(part.steps) for part in self._ahead)
        return [
            "recorded with all that is trained" if i >= behind and step.bottoms else reason
            for i, (step, reason) in enumerate(zip(self._steps, reasons, strict=True))
        ]


def _may_go_back_from_now_on(step: Step) -> bool:
    """Whether gradients are to be expected, or need what a plan does not keep."""
    keeps = step.need_backward and step.layer.keeps_bottom and step.is_in_place
    return step.layer.phase != TEST or keeps or step.is_recorded


def _is_plannable(step: Step) -> bool:
    layer = step.layer
    return layer.is_pure and not layer.is_patched and not (layer.on_blobs and step.bottoms)


class _Single:
    """Layers that run one by one, or in training by two."""

    def __init__(self, steps: Sequence[Step], trains: bool) -> None:
        self.steps = steps
        self.running = joined(steps) if trains else steps
        self.needs_gradients = any(step.need_backward for step in steps)

    def forward(self, settings: Settings) -> Loss:
        return sum_of(step.forward(settings.store) for step in self.running)

    def backward(self, store: Store | None, regained: Regained | None) -> None:
        done = repeat([]) if regained is None else written_first(self.running)
        for unit, blobs in reversed(list(zip(self.running, done, strict=False))):
            if unit.need_backward:
                unit.backward(store)
                if regained is not None:
                    regained.let_go(blobs)

    def explain(self) -> Iterator[str]:
        for step in self.steps:
            layer = step.layer
            if layer.is_patched:
                yield "by itself: its forward has been replaced"
            elif layer.phase != TEST or step.need_backward:
                yield "by itself: the net needs gradients, or runs at TRAIN"
            elif layer.on_blobs:
                yield "by itself: it works on blobs"
            else:
                yield "by itself: equal inputs may give other tops, or nobody says they do not"


class _Planned:
    """Layers that follow each other and run by one plan, made anew where blobs have changed."""

    needs_gradients = False

    def __init__(
        self, steps: Sequence[Step], read_elsewhere: Sequence[Blob], is_patient: bool
    ) -> None:
        self.steps = steps
        self._read_elsewhere = read_elsewhere
        self._is_patient = is_patient
        self._blobs = blobs_of(steps)
        self._sources = [step for step in steps if step.layer.on_blobs]
        self._computing = [step for step in steps if not step.layer.on_blobs]
        self._losses = [step for step in steps if any(step.loss_weights)]
        self._shapes: list[Shape] | None = None
        self._given_back_at = -SELDOM
        self.plan: Plan | None = None

    def forward(self, settings: Settings) -> Loss:
        for step in self._sources:
            step.forward(settings.store)
        need_before = 0
        if self.plan is None or not self.plan.fits(self._blobs, settings):
            for step in self.steps:
                step.follow()
            if self._is_patient and not self._has_settled():
                self.plan = None
                loss = sum_of(step.loss(settings.store) for step in self._sources)
                return loss + layerwise.forward(self._computing, settings.store)
            # The old one's memory goes before the new one's comes.
            if self.plan is not None:
                need_before, self.plan = self.plan.need, None
            read_elsewhere = {id(blob.memory) for blob in self._read_elsewhere}
            self.plan = Plan(self.steps, read_elsewhere, settings)
        self.plan.run()
        if need_before and settings.store is not None:
            self._give_back(need_before, settings.store)
        return sum_of(step.loss(settings.store) for step in self._losses)

    def backward(self, store: Store | None, regained: Regained | None) -> None:
        """Nothing that is planned has gradients."""

    def _give_back(self, before: int, store: Store) -> None:
        """Give back a store's memory after a run that needed less of it than those before.

        Only from then on nothing depends on the older plan. Where shapes go up and down it is kept
        for the next large ones most of the time: to have it again takes longer than a run.
        """
        assert self.plan is not None
        now = time.monotonic()
        is_much = before - self.plan.need >= WORTH_GIVING_BACK
        if is_much and now - self._given_back_at >= SELDOM:
            self._given_back_at = now
            store.give_back()

    def _has_settled(self) -> bool:
        """Whether the blobs have the shapes that they had the last time this was asked."""
        before, self._shapes = self._shapes, [blob.shape for blob in self._blobs]
        return self._shapes == before

    def explain(self) -> list[str]:
        if self.plan is None:
            return ["layer by layer: shapes change from run to run"] * len(self.steps)
        return self.plan.explain()
