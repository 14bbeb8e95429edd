"""Errors that name the layer and its blobs, whatever a layer raises."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import CaffeError, as_caffe_error

if TYPE_CHECKING:
    from .steps import Step


class Blame:
    """Turns whatever is raised inside into an error that names a step's layer and its blobs."""

    __slots__ = ("_step",)

    def __init__(self, step: Step) -> None:
        self._step = step

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Raise the error by its new name."""
        if not isinstance(error, Exception):
            return
        step = self._step
        if step.layer.passes_errors_on and not isinstance(error, CaffeError):
            return
        named = as_caffe_error(error, step.label, step.facts())
        if named is not error:
            raise named from error
