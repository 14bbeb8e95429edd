"""A product with a learned matrix, and the activation behind it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ... import onednn
from ...layers.asking import are_finite
from ...layers.inner_product import InnerProduct
from ...pytorch import F, torch
from .builder import Builder
from .fused import Fused
from .operation import Values, operation

if TYPE_CHECKING:
    from torch import Tensor


class InnerProductOperation(Fused):
    """A product, and the activation.

    One row is multiplied with the weights as they lie: reading them takes all the time there is.
    For several rows they are packed, once they have stayed the same for a whole run and nobody
    holds them; packing costs several runs, so it must not be done for each.
    """

    how = "product"
    _packed: Tensor | None = None
    _copies: list[Tensor] | None = None
    _seen: list[int] | None = None

    def refresh(self) -> bool:
        seen = [blob.memory.version for blob in self.params]
        is_held = self.is_held
        may_pack = self._is_packed and self.is_worth_packing and self._rows > 1
        if seen == self._seen and not is_held and may_pack:
            self._reorder()
            self.has_raw_params = False
            return False
        if seen != self._seen:
            self.has_odd_params = self._store is None and not all(
                are_finite(blob.data_tensor()) for blob in self.params
            )
        self._seen = seen
        self.has_raw_params = self._dtype == torch.float32
        self.pack()
        return is_held or may_pack

    def _reorder(self) -> None:
        weight, *rest = (blob.data_tensor() for blob in self.params)
        self._copies = [values.to(self._dtype, copy=True) for values in rest]
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(self._dtype), self._rows)

    def pack(self) -> None:
        self._packed = self._copies = None
        if not self.has_raw_params:
            self._copies = [blob.data_tensor(self._store).to(self._dtype) for blob in self.params]

    def release(self) -> None:
        self._packed = self._copies = None

    @property
    def _rows(self) -> int:
        inputs: int = self._layer.inputs
        return math.prod(self.read_shapes[0]) // inputs

    def run(self, values: Values) -> None:
        x = self.bottom(values, self._dtype).reshape(-1, self._layer.inputs).contiguous()
        params = self._copies or [blob.data_tensor(self._store) for blob in self.params]
        if self._packed is not None:
            params = [self._packed, *(self._copies or ())]
        weight, bias = params[0], params[1] if len(params) > 1 else None
        if self._is_packed:
            y = onednn.packed_product()(x, weight, bias, "none", [], "")
        else:
            y = F.linear(x, weight, bias)
        # Not by oneDNN, whose maxima make 0 of NaN; the results are few.
        values[self.writes[0]] = self._activate(y).view(self.shapes[0])


@operation.rule(
    InnerProduct,
    unless=lambda layer, *_: "its weights are transposed" if layer.param.transpose else None,
)
def _inner_product(builder: Builder, number: int) -> InnerProductOperation:
    followers = builder.join(number, fold=False)
    return InnerProductOperation(builder.steps[number], followers, builder.settings)
