"""Gradients through a forward that autograd has recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.autograd.graph import GradientEdge

Edge: TypeAlias = "Tensor | GradientEdge | None"
"""Where the gradient by a result of a recorded forward goes in; None where nothing needs it."""


def edges_of(results: Sequence[Tensor]) -> list[Edge]:
    """Return where the gradients by results go in; for that the results need not be kept."""
    return [_edge_of(result) if result.requires_grad else None for result in results]


def _edge_of(result: Tensor) -> Edge:
    return result if result.grad_fn is None else torch.autograd.graph.get_gradient_edge(result)


def gradients_through(
    edges: Sequence[Edge], diffs: Sequence[Tensor], leaves: Sequence[Tensor], needs: Sequence[bool]
) -> list[Tensor | None]:
    """Return the gradients by the leaves of a recorded forward; None where one is not needed.

    Parameters
    ----------
    edges : sequence of Tensor or GradientEdge or None
        As `edges_of` returns them.
    diffs : sequence of Tensor
        The gradients by the results.
    leaves : sequence of Tensor
        What was recorded from.
    needs : sequence of bool
        Which leaves' gradients are wanted.
    """
    pairs = [(edge, d) for edge, d in zip(edges, diffs, strict=False) if edge is not None]
    is_wanted = [x.requires_grad and need for x, need in zip(leaves, needs, strict=True)]
    if not pairs or not any(is_wanted):
        return [None] * len(leaves)
    wanted = [leaf for leaf, want in zip(leaves, is_wanted, strict=True) if want]
    outputs, top_diffs = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, top_diffs, allow_unused=True))
    return [next(found) if want else None for want in is_wanted]
