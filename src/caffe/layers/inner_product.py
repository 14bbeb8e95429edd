"""Products with a learned matrix: fully connected layers and look-up tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import onednn
from ..errors import CaffeError, NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import EmbedParameter, InnerProductParameter, LayerParameter
from ..pytorch import F, torch
from .asking import is_any
from .layer import Layer, Parameter, Tensors, register
from .reach import Reach, all_places
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor

FEW_ROWS = 256
"""Up to how many rows a product with a large matrix is quicker in shares."""

LARGE = 2**20
"""From how many numbers on a matrix is large."""

VERY_LARGE = 2**25
"""From how many numbers on a matrix is very large."""

WORTH = 2**21
"""From how many multiply-adds on a product is given to oneDNN."""

SHARES = (16, 8, 4)
"""In how many shares its outputs are computed: the first that divides them."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return each row of `x` times `weight`, (outputs, inputs), plus `bias`, as F.linear does.

    oneDNN's products are quicker than MKL's, see `onednn`. Where they cannot be had, few rows on
    the CPU are multiplied for some outputs after the other: the library shares one product between
    its threads by rows as well, and several of them so that each thread reads its share of the
    weights once.
    """
    if _is_onednns(x, weight):
        how: tuple[Any, ...] = (weight, bias, "none", [], "")
        found: Tensor = onednn.packed_product()(x.reshape(-1, x.shape[-1]).contiguous(), *how)
        return found.view(*x.shape[:-1], -1)
    shares = _shares(x, weight)
    if shares == 1:
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    parts = weight.unflatten(0, (shares, -1)).transpose(1, 2)
    found = torch.bmm(rows.expand(shares, *rows.shape), parts).transpose(0, 1)
    found = found.reshape(*x.shape[:-1], -1)
    return found if bias is None else found + bias


def _is_onednns(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN computes a product: it has no gradient, and small ones are not worth it.

    Gradients may be wanted by the bias alone, or forward.
    """
    return (
        not torch.is_grad_enabled()
        and _is_plain(x)
        and onednn.multiplies_quicker()
        and math.prod(x.shape[:-1]) * weight.numel() >= WORTH
        # For parts of something larger it has no quick kernel.
        and (weight.is_contiguous() or (weight.t().is_contiguous() and _may_be_turned(weight)))
    )


def _may_be_turned(weight: Tensor) -> bool:
    """Whether weights that lie by inputs are no hindrance; without AVX-512 very large ones are."""
    return weight.numel() < VERY_LARGE or onednn.has_long_vectors()


def _is_plain(x: Tensor) -> bool:
    # Whoever records this (torch.export) leaves the number of rows open; TorchScript has no form
    # for oneDNN's product.
    jit: Any = torch.jit
    is_recorded = torch.compiler.is_compiling() or jit.is_tracing()
    return not is_recorded and x.device.type == "cpu" and x.dtype == torch.float32


def _shares(x: Tensor, weight: Tensor) -> int:
    """Tell in how many shares weights are multiplied; each thread must have one."""
    if not _is_plain(x):
        return 1
    if weight.numel() < LARGE or not 1 < math.prod(x.shape[:-1]) <= FEW_ROWS:
        return 1
    shares = next((n for n in SHARES if len(weight) % n == 0), 1)
    return shares if shares >= torch.get_num_threads() else 1


class Product(Layer[InnerProductParameter]):
    """What InnerProduct and its relatives share: the shapes, and the learned matrix."""

    message = "inner_product_param"
    family = "product"
    trains_unseen = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.num_output < 1:
            raise NetError("num_output must be at least 1")
        self.first_axis = self.axis(self.param.axis, bottoms[0])
        self.inputs = math.prod(bottoms[0][self.first_axis :])

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape = (self.param.num_output, self.inputs)
        wanted = [
            Parameter(shape[::-1] if self.param.transpose else shape, self.param.weight_filler)
        ]
        if self.param.bias_term:
            wanted.append(Parameter((self.param.num_output,), self.param.bias_filler))
        return wanted

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        axis = self.axis(self.param.axis, bottoms[0])
        if math.prod(bottoms[0][axis:]) != self.inputs:
            raise ShapeError(
                f"the bottom's shape {bottoms[0]} gives {math.prod(bottoms[0][axis:])} inputs "
                f"from axis {axis} on, but the weights are for {self.inputs}"
            )
        return [(*bottoms[0][:axis], self.param.num_output)]

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return math.prod(tops[0]) * self.inputs

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return all_places(bottom) if self.first_axis == 1 else None

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        axis = self.param.axis % x.dim()
        flat = x.reshape(*x.shape[:axis], self.inputs)
        return product(flat, weight.t() if self.param.transpose else weight, bias)


@register("InnerProduct")
class InnerProduct(Product):
    """top = weight x + bias, x being all axes from `axis` on as one vector.

    The weight has the shape (num_output, inputs), or the other way round with transpose.
    """

    differences = "normalize of the forks"
    takes_short_numbers = True

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        # As autograd's, but without computing the top once more.
        if type(self).computes_as is not Product or self.is_patched:
            return super().backward(diffs, tops, inputs, needs)
        x, weight = inputs[:2]
        rows, diff = x.reshape(-1, self.inputs), diffs[0].reshape(-1, self.param.num_output)
        is_transposed = self.param.transpose
        found: list[Tensor | None] = [None] * len(inputs)
        if needs[0]:
            found[0] = product(diff, weight if is_transposed else weight.t()).view(x.shape)
        if needs[1]:
            found[1] = product(rows.t(), diff.t()) if is_transposed else product(diff.t(), rows.t())
        if needs[2:] and needs[2]:
            found[2] = diff.sum(0)
        return found

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        return NormalizedProduct if layer_param.inner_product_param.normalize else cls


class NormalizedProduct(Product):
    """An InnerProduct with each output's weights divided by their norm, as forks for faces do."""

    trains_unseen = True

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        unit = F.normalize(weight, dim=0 if self.param.transpose else 1, eps=1e-6)
        return super().forward(x, unit, bias)


@openvino.rule(InnerProduct)
def _inner_product(layer: Product, graph: Graph, x: Value) -> Value:
    (top,) = layer.top_shapes(graph.shape(x))
    rows = graph.shaped(x, (-1, layer.inputs))
    y = graph.ops.matmul(rows, graph.parameter(layer, 0), False, not layer.param.transpose)
    return graph.shaped(graph.biased(y, layer, 0), top)


@register("Embed")
class Embed(Layer[EmbedParameter]):
    """top[..., :] = weight[x[...], :] + bias: a table looked up by whole numbers."""

    message = "embed_param"
    family = "product"
    no_gradient_for = frozenset({0})

    def setup(self, *bottoms: Shape) -> None:
        for name in ("num_output", "input_dim"):
            if getattr(self.param, name) < 1:
                raise NetError(f"{name} must be at least 1")

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        outputs = self.param.num_output
        wanted = [Parameter((self.param.input_dim, outputs), self.param.weight_filler)]
        if self.param.bias_term:
            wanted.append(Parameter((outputs,), self.param.bias_filler))
        return wanted

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return [(*bottoms[0], self.param.num_output)]

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        index = x.detach().to(torch.int64)
        wrong = (index < 0) | (index >= self.param.input_dim)
        if is_any(wrong):
            place = tuple(int(i) for i in wrong.nonzero()[0])
            raise CaffeError(
                f"bottom 0 holds {float(x[place]):g} at {list(place)}, but the table has the rows "
                f"0 to {self.param.input_dim - 1}"
            )
        y = F.embedding(index, weight)
        return y if bias is None else y + bias
