"""What a step takes from each parameter: clipping, decay, rates, and the method's rule."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..logs import say
from ..memory.stores import Store
from ..net.parameters import Learnable
from ..proto.caffe_pb2 import SolverParameter
from ..pytorch import torch
from .local_rates import LocalRates
from .methods import SGD, Method

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class _Place:
    """Where a parameter's values lie, in `flat`, and what is remembered of it."""

    flat: Tensor
    data: Tensor
    history: list[Tensor]


@dataclass
class _Parameter:
    """One parameter at one step."""

    number: int
    entry: Learnable
    place: _Place
    diff: Tensor

    @property
    def data(self) -> Tensor:
        """Its values."""
        return self.place.data

    @property
    def history(self) -> list[Tensor]:
        """What is remembered of it."""
        return self.place.history


class Update:
    """Changes parameters by their gradients.

    Parameters
    ----------
    param : SolverParameter
        What the solver's text says.
    method : Method
        The rule.
    learnable : sequence of Learnable
        What is trained.

    Attributes
    ----------
    history : list of Tensor
        What the method remembers: its first array of each parameter, then its second of each.
    local : LocalRates
        Rates of each parameter's own.
    """

    def __init__(
        self, param: SolverParameter, method: Method, learnable: Sequence[Learnable]
    ) -> None:
        self._param, self._method, self._learnable = param, method, learnable
        self.history = [
            torch.zeros(entry.blob.shape, dtype=torch.float32)
            for _ in method.remembers
            for entry in learnable
        ]
        self.local = LocalRates(param, len(learnable))
        self._moved: set[int] = set()
        # Without the gradients, which the next step makes anew.
        self._known: dict[int, _Place] = {}
        self._norm: Callable[[], Tensor] | None = None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The history's."""
        return [tuple(array.shape) for array in self.history]

    def restore(self, history: Iterable[Tensor]) -> None:
        """Go on from the history of a snapshot."""
        self.history = list(history)
        self._moved = set(range(len(self._learnable)))
        self._known.clear()

    def apply(self, rate: float, weight_decay: float, step: int, store: Store | None) -> None:
        """Change the parameters; their blobs' `diff` hold afterwards what was taken from `data`.

        Parameters
        ----------
        rate, weight_decay : float
            The step's; each parameter's multipliers come on top.
        step : int
            Which step this is, the first being 1.
        store : Store or None
            Where it is computed; on the CPU where there is none.
        """
        with torch.no_grad():
            if store is not None:
                self._make_zeros(store)
            parameters = list(self._parameters(weight_decay, store))
            self._clip([parameter.diff for parameter in parameters], store)
            if self._is_plain:
                self._apply_plain(parameters, rate, weight_decay)
                return
            # A GPU is asked as seldom as can be; a CPU has the numbers of one in its cache.
            groups = [parameters] if store else [[parameter] for parameter in parameters]
            for group in groups:
                if group:
                    self._apply_to(group, rate, weight_decay, step)

    def _make_zeros(self, store: Store) -> None:
        """Make the zeros of all that change without a gradient at once (BatchNorm's statistics)."""
        still = [self._learnable[number].blob for number in self._moved]
        still = [blob for blob in still if blob.has_no_diff]
        if not still:
            return
        sizes = [blob.count for blob in still]
        zeros = torch.zeros(sum(sizes), dtype=torch.float32, device=store.device)
        for blob, part in zip(still, zeros.split(sizes), strict=True):
            blob.put_diff(part.view(blob.shape), store)

    def _parameters(self, weight_decay: float, store: Store | None) -> list[_Parameter]:
        """Return those that change at all, with their history where the gradients are.

        What is frozen has no gradient, no decay, and a history of zeros. So has a BatchNorm's
        statistic, whose rate is zero, where what a rule remembers has the rate in it.
        """
        found, count = [], len(self._learnable)
        for number, entry in enumerate(self._learnable):
            if number not in self._moved:
                is_still = not entry.lr_mult and self._method.remembers_by_rate
                is_still |= not weight_decay * entry.decay_mult
                if entry.blob.has_no_diff and is_still:
                    continue
                self._moved.add(number)
            diff, flat = entry.blob.mutable_diff(store), entry.blob.memory.mutable(store)
            known = self._known.get(number)
            if known is None or known.flat is not flat:
                for slot in range(number, len(self.history), count):
                    self.history[slot] = self.history[slot].to(flat.device)
                data = flat[: entry.blob.count].view(entry.blob.shape)
                known = self._known[number] = _Place(flat, data, self.history[number::count])
            found.append(_Parameter(number, entry, known, diff))
        return found

    def _clip(self, diffs: list[Tensor], store: Store | None) -> None:
        limit = self._param.clip_gradients
        if limit < 0 or not diffs:
            return
        norm = torch.stack(torch._foreach_norm(diffs)).double().norm()
        if store is not None:
            # Multiplying by 1 spares a question.
            torch._foreach_mul_(diffs, (limit / norm).clamp(max=1).float())
            self._norm = store.fetch(norm)
        else:
            if norm > limit:
                torch._foreach_mul_(diffs, limit / float(norm))
            self._norm = lambda: norm

    def tell(self) -> None:
        """Say whether the gradients of the last step were clipped."""
        if self._norm is None:
            return
        norm, limit = float(self._norm()), self._param.clip_gradients
        self._norm = None
        if norm > limit:
            say(
                "sgd_solver.cpp:99",
                f"Gradient clipping: scaling down gradients (L2 norm {norm:g} > {limit:g}) by "
                f"scale factor {limit / norm:g}",
            )

    @property
    def _is_plain(self) -> bool:
        """Whether PyTorch's fused SGD, one pass over the memory, has the whole rule.

        Without a momentum it keeps no history.
        """
        param = self._param
        return (
            type(self._method) is SGD
            and self._method.momentum != 0
            and not self._method.decoupled
            and not param.larc
            and not param.local_lr_auto
            and param.regularization_type == "L2"
        )

    def _apply_plain(
        self, parameters: Sequence[_Parameter], rate: float, weight_decay: float
    ) -> None:
        """Caffe's history has the rate in it: PyTorch's rate is 1, the gradient's scale ours."""
        from torch.optim.sgd import sgd

        alike: dict[tuple[float, float], list[_Parameter]] = defaultdict(list)
        for parameter in parameters:
            entry = parameter.entry
            alike[rate * entry.lr_mult, weight_decay * entry.decay_mult].append(parameter)
        for (own, decay), group in alike.items():
            histories = [parameter.history[0] for parameter in group]
            divisor = self._param.iter_size / own if own else math.inf
            sgd(
                [parameter.data for parameter in group],
                [parameter.diff for parameter in group],
                list(histories),
                fused=True,
                # To copy a number to a GPU would be to wait for it.
                grad_scale=histories[0].new_full((), divisor),
                weight_decay=decay * own,
                momentum=self._method.momentum,
                lr=1.0,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
            for parameter, history in zip(group, histories, strict=True):
                parameter.entry.blob.defer_diff(history.clone)

    def _apply_to(
        self, parameters: Sequence[_Parameter], rate: float, weight_decay: float, step: int
    ) -> None:
        param, method = self._param, self._method
        data = [parameter.data for parameter in parameters]
        diffs = [parameter.diff for parameter in parameters]
        if param.iter_size > 1:
            torch._foreach_div_(diffs, param.iter_size)
        rates = [self._rate_before_decay(parameter, rate) for parameter in parameters]
        decays = [weight_decay * parameter.entry.decay_mult for parameter in parameters]
        if any(decays) and not method.decoupled:
            self._add_decay(diffs, data, decays)
        if param.local_lr_auto:
            for i, parameter in enumerate(parameters):
                if parameter.entry.lr_mult > 0:
                    rates[i] = self.local.after_decay(rate, parameter.data, parameter.diff)
        slots = zip(*(parameter.history for parameter in parameters), strict=True)
        histories = [list(arrays) for arrays in slots]
        method.update(diffs, histories, rates, step)
        if any(decays) and method.decoupled:
            both = [decay * own for decay, own in zip(decays, rates, strict=True)]
            self._add_decay(diffs, data, both)
        torch._foreach_sub_(data, diffs)

    def _rate_before_decay(self, parameter: _Parameter, rate: float) -> float:
        """Return a parameter's rate, as far as it does not depend on its decay."""
        entry, momentum = parameter.entry, self._method.momentum
        if not self._param.larc or entry.lr_mult <= 0:
            return rate * entry.lr_mult
        history = parameter.history[0]
        return self.local.before_decay(
            parameter.number, rate, parameter.data, parameter.diff, history, momentum
        )

    def _add_decay(self, diffs: list[Tensor], data: list[Tensor], decays: list[float]) -> None:
        """Add so many times the gradient of what weight decay adds to the loss."""
        is_square = self._param.regularization_type == "L2"
        slopes = torch._foreach_mul(data if is_square else torch._foreach_sign(data), decays)
        torch._foreach_add_(diffs, slopes)
