"""Layers that go through time steps: RNN, LSTM, and the LSTM's single step LSTMUnit."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import RecurrentParameter
from ..pytorch import F, torch
from .layer import Layer, Parameter, register

if TYPE_CHECKING:
    from torch import Tensor


@functools.cache
def _forget_gate() -> Any:
    """Make the function of x and cont: f = cont * sigmoid(x), with Caffe's gradient f * (1 - f)."""

    class ForgetGate(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, cont: Tensor) -> Tensor:
            gate = cont * torch.sigmoid(x)
            ctx.save_for_backward(gate)
            return gate

        @staticmethod
        def backward(ctx: Any, diff: Tensor) -> tuple[Tensor, None]:
            (gate,) = ctx.saved_tensors
            return diff * gate * (1 - gate), None

    return ForgetGate.apply


def lstm_unit(cell: Tensor, gates: Tensor, cont: Tensor) -> tuple[Tensor, Tensor]:
    """Compute one step of an LSTM.

    Parameters
    ----------
    cell : Tensor
        The cells before, (N, H).
    gates : Tensor
        (N, 4 H): what goes into the input, forget and output gates and the new values.
    cont : Tensor
        (N, 1): 0 where a sequence begins, and the cells before count nothing; else 1.

    Returns
    -------
    cell, hidden : Tensor
        (N, H) each: the cells and what the output gate shows of them.
    """
    i, f, o, g = gates.chunk(4, dim=-1)
    forget: Tensor = _forget_gate()(f, cont)
    cell = forget * cell + torch.sigmoid(i) * torch.tanh(g)
    return cell, torch.sigmoid(o) * torch.tanh(cell)


@register("LSTMUnit")
class LSTMUnit(Layer):
    """c = f c' + i g, h = o tanh(c): one step of an LSTM (Hochreiter and Schmidhuber, 1997).

    i, f and o are the sigmoids, g the tanh of the quarters of the second bottom; f is
    multiplied by the third bottom, which is 0 where a sequence begins and else 1.
    """

    family = "product"
    bottoms = 3
    tops = 2
    no_gradient_for = frozenset({2})

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        cell, gates, cont = bottoms
        if len(cell) != 3 or cell[0] != 1:
            raise ShapeError(f"the cells must have the shape (1, N, H), not {cell}")
        if gates != (1, cell[1], 4 * cell[2]):
            raise ShapeError(
                f"cells of shape {cell} need gates of shape {(1, cell[1], 4 * cell[2])}, "
                f"not {gates}"
            )
        if cont != (1, cell[1]):
            raise ShapeError(
                f"the continuation markers must have the shape {(1, cell[1])}, not {cont}"
            )
        return [cell, cell]

    def forward(self, cell: Tensor, gates: Tensor, cont: Tensor) -> tuple[Tensor, Tensor]:
        return lstm_unit(cell, gates, cont[:, :, None])


class Recurrent(Layer[RecurrentParameter]):
    """A net unrolled over T time steps of N streams.

    Bottoms: x (T, N, ...); cont (T, N), 0 where a sequence begins and 1 where it goes on;
    perhaps a static input (N, ...) that every step gets. With `expose_hidden` the states at
    the start (1, N, num_output) follow, and those at the end are tops. Otherwise each forward
    starts with the states that the last one ended with, in the beginning zeros. Gradients do
    not leave the T steps.
    """

    message = "recurrent_param"
    family = "product"
    bottoms = (2, 5)
    tops = (1, 3)
    no_gradient_for = frozenset({1})
    ignores_propagate_down = True
    is_pure = False

    states: ClassVar[int]
    """How many states a step hands to the next."""

    blob_names: ClassVar[tuple[str, ...]]
    """How `debug_info` calls a step's states and, where it is no state, its output."""

    _static: bool
    _steps: int
    _sizes: list[int]

    def setup(self, *bottoms: Shape) -> None:
        if not self.param.num_output:
            raise NetError("recurrent_param.num_output must be above 0")
        exposed = self.states if self.param.expose_hidden else 0
        if not 0 <= len(bottoms) - 2 - exposed <= 1:
            raise NetError(
                f"{self.type} takes {2 + exposed} or {3 + exposed} bottoms "
                f"({'with' if exposed else 'without'} expose_hidden), but {len(bottoms)} are given"
            )
        if len(self.layer_param.top) != 1 + exposed:
            raise NetError(
                f"{self.type} has {1 + exposed} top(s) ({'with' if exposed else 'without'} "
                f"expose_hidden), but {len(self.layer_param.top)} are given"
            )
        self._static = len(bottoms) - 2 - exposed == 1
        self.no_gradient_for = frozenset({1, *range(2 + self._static, len(bottoms))})
        self._check(*bottoms)
        self._steps = bottoms[0][0]
        self._sizes = self._input_sizes(*bottoms)
        self._memory = [torch.zeros(0, dtype=torch.float32) for _ in range(self.states)]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        self._check(*bottoms)
        if bottoms[0][0] != self._steps:
            raise ShapeError(
                f"the number of time steps is fixed at {self._steps} when the net is made, "
                f"but x now has the shape {bottoms[0]}"
            )
        if self._input_sizes(*bottoms) != self._sizes:
            raise ShapeError(
                f"the parameters are made for {self._sizes} numbers per item, but the inputs "
                f"now have {self._input_sizes(*bottoms)}"
            )
        state = (1, bottoms[0][1], self.param.num_output)
        exposed = self.states if self.param.expose_hidden else 0
        return [(self._steps, *state[1:]), *[state] * exposed]

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        # What the static input gives is computed once for all steps.
        matrices = [blob.count for blob in self.blobs if len(blob.shape) == 2]
        static = matrices.pop(1) if self._static else 0
        return bottoms[0][1] * (self._steps * sum(matrices) + static)

    def _check(self, *bottoms: Shape) -> None:
        x, cont = bottoms[:2]
        if len(x) < 3 or not x[0]:
            raise ShapeError(f"x must have the shape (time steps, streams, ...), not {x}")
        if cont != x[:2]:
            raise ShapeError(
                f"x of shape {x} needs continuation markers of shape {x[:2]}, not {cont}"
            )
        if self._static and (len(bottoms[2]) < 2 or bottoms[2][0] != x[1]):
            raise ShapeError(
                f"the static input must have the shape ({x[1]}, ...), not {bottoms[2]}"
            )
        state = (1, x[1], self.param.num_output)
        for given in bottoms[2 + self._static :]:
            if given != state:
                raise ShapeError(
                    f"the states at the start must have the shape {state}, not {given}"
                )

    def _input_sizes(self, *bottoms: Shape) -> list[int]:
        sizes = [math.prod(bottoms[0][2:])]
        return [*sizes, math.prod(bottoms[2][1:])] if self._static else sizes

    def _weights(self, outputs: int) -> list[Parameter]:
        """The parameters for x, its bias, and those for the static input and the state before."""
        weight, bias = self.param.weight_filler, self.param.bias_filler
        inputs = [Parameter((outputs, size), weight) for size in self._sizes]
        state = Parameter((outputs, self.param.num_output), weight)
        return [inputs[0], Parameter((outputs,), bias), *inputs[1:], state]

    def clear_states(self) -> None:
        """Let the next forward start with zeros, as the first did (Caffe's Reset)."""
        for memory in self._memory:
            memory.zero_()

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        x, cont, *others = inputs
        static = others.pop(0) if self._static else None
        if self.param.expose_hidden:
            starts, params = others[: self.states], others[self.states :]
        else:
            starts, params = self._last_states(x), others
        states = self._starts = [start.detach()[0].clone() for start in starts]
        weight, bias, *params = params
        fixed = F.linear(static.flatten(1), params.pop(0)) if static is not None else None
        given = F.linear(x.flatten(2), weight, bias)
        outputs = []
        for step in range(self._steps):
            inputs_now = given[step] if fixed is None else given[step] + fixed
            output, states = self.step(inputs_now, cont[step][:, None], states, params)
            outputs.append(output)
            if self.param.debug_info and not self.runs_again:
                self._report(step + 1, states, output)
        if not self.param.expose_hidden:
            self._keep(states)
            return [torch.stack(outputs)]
        return [torch.stack(outputs), *[state.detach()[None] for state in states]]

    def step(
        self, given: Tensor, cont: Tensor, states: list[Tensor], params: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute one time step.

        Parameters
        ----------
        given : Tensor
            What x and the static input contribute, (N, outputs).
        cont : Tensor
            (N, 1).
        states : list of Tensor
            Those of the step before, (N, num_output) each.
        params : sequence of Tensor
            The parameters behind those for the inputs.

        Returns
        -------
        output : Tensor
            (N, num_output).
        states : list of Tensor
            For the step that follows.
        """
        raise NotImplementedError

    backward_uses_record = True

    def backward(
        self,
        diffs: Sequence[Tensor],
        tops: Sequence[Tensor],
        inputs: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        # Where forward is run again, it must start where the real one did and leave no trace.
        memory = self._memory
        self._memory = [start.flatten().clone() for start in self._starts]
        try:
            return super().backward(diffs, tops, inputs, needs)
        finally:
            self._memory = memory

    def state(self) -> dict[str, Any]:
        # Copies: each forward writes into the memory that there is.
        return {"memory": [memory.cpu().numpy().copy() for memory in self._memory]}

    def restore(self, state: dict[str, Any]) -> None:
        self._memory = [torch.from_numpy(np.array(memory)) for memory in state["memory"]]

    def _last_states(self, x: Tensor) -> list[Tensor]:
        shape = (1, x.shape[1], self.param.num_output)
        count = math.prod(shape)
        if torch.compiler.is_compiling():
            # Whoever records this (torch.export) begins with zeros, and keeps nothing.
            return [x.new_zeros(shape) for _ in self._memory]
        # Like a blob's memory: it is kept while it is large enough for other batch sizes.
        for i, memory in enumerate(self._memory):
            if memory.numel() < count:
                self._memory[i] = x.new_zeros(count)
        self._memory = [memory.to(x) for memory in self._memory]
        return [memory[:count].view(shape) for memory in self._memory]

    def _keep(self, states: Sequence[Tensor]) -> None:
        if torch.compiler.is_compiling():
            return
        for memory, state in zip(self._memory, states, strict=True):
            memory[: state.numel()] = state.detach().flatten()

    def _report(self, step: int, states: Sequence[Tensor], output: Tensor) -> None:
        for name, values in zip(self.blob_names, (*states, output), strict=False):
            mean = float(values.abs().mean()) if values.numel() else 0.0
            blob = f"step {step}, blob {name}_{step}"
            print(f"    [Forward] Layer {self.name}, {blob} data: {mean:.6g}", file=sys.stderr)


@register("RNN")
class RNN(Recurrent):
    """h_t = tanh(W_xh x_t + b_h + W_hh cont_t h_(t-1)), top_t = tanh(W_ho h_t + b_o).

    Parameters: W_xh, b_h, W_xh_static (if there is a static input), W_hh, W_ho, b_o.
    """

    states = 1
    blob_names = ("h", "o")

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        count = self.param.num_output
        return [
            *self._weights(count),
            Parameter((count, count), self.param.weight_filler),
            Parameter((count,), self.param.bias_filler),
        ]

    def step(
        self, given: Tensor, cont: Tensor, states: list[Tensor], params: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        w_hh, w_ho, b_o = params
        hidden = torch.tanh(F.linear(cont * states[0], w_hh) + given)
        return torch.tanh(F.linear(hidden, w_ho, b_o)), [hidden]


@register("LSTM")
class LSTM(Recurrent):
    """The steps of `LSTMUnit`, the gates being W_xc x_t + b_c + W_hc cont_t h_(t-1).

    Parameters: W_xc, b_c, W_xc_static (if there is a static input), W_hc; each has the rows of
    the input, forget and output gates and of the new values, in this order. States: h, c.
    """

    states = 2
    blob_names = ("h", "c")

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return self._weights(4 * self.param.num_output)

    def step(
        self, given: Tensor, cont: Tensor, states: list[Tensor], params: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        hidden, cell = states
        gates = F.linear(cont * hidden, params[0]) + given
        cell, hidden = lstm_unit(cell, gates, cont)
        return hidden, [hidden, cell]
