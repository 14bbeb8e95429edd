"""The old forms of nets and solvers, and what the original's log says of files in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..logs import caution, say

_UPGRADE = "Attempting to upgrade input file specified using deprecated"
_SUCCESS = "Successfully upgraded file specified using deprecated"
_FUTURE = "Note that future Caffe releases will only support"


@dataclass(frozen=True)
class OldForm:
    """An old form.

    Attributes
    ----------
    lines : tuple of int
        Where the original's source tells what follows.
    attempt, success : str
        What is told before and behind the upgrade; the file's name stands behind the first.
    note : str
        A warning for its users, where there is one.
    """

    lines: tuple[int, ...]
    attempt: str
    success: str
    note: str = ""

    def tell_attempt(self, source: str) -> None:
        """Tell that a file is about to be upgraded."""
        say(f"upgrade_proto.cpp:{self.lines[0]}", f"{self.attempt}: {source}")

    def tell_success(self) -> None:
        """Tell that it was."""
        say(f"upgrade_proto.cpp:{self.lines[1]}", self.success)
        if self.note:
            caution(f"upgrade_proto.cpp:{self.lines[2]}", self.note)


V0 = OldForm(
    (28, 36, 39),
    f"{_UPGRADE} V0LayerParameter",
    f"{_SUCCESS} V0LayerParameter",
    "Note that future Caffe releases will not support V0NetParameter; use "
    "./build/tools/upgrade_net_proto_text for prototxt and ./build/tools/upgrade_net_proto_binary "
    "for model weights upgrade this and any other net protos to the new format.",
)
TRANSFORMATIONS = OldForm(
    (46, 49, 51),
    f"{_UPGRADE} transformation parameters",
    f"{_SUCCESS} data transformation parameters.",
    f"{_FUTURE} transform_param messages for transformation fields.",
)
V1 = OldForm((55, 63), f"{_UPGRADE} V1LayerParameter", f"{_SUCCESS} V1LayerParameter")
INPUTS = OldForm(
    (69, 72, 74),
    f"{_UPGRADE} input fields",
    f"{_SUCCESS} input fields.",
    f"{_FUTURE} input layers and not input fields.",
)
BATCH_NORMS = OldForm(
    (79, 82),
    "Attempting to upgrade batch norm layers using deprecated params",
    "Successfully upgraded batch norm layers using deprecated params.",
)
SOLVER_TYPE = OldForm(
    (1084, 1091, 1093),
    f"{_UPGRADE} 'solver_type' field (enum)'",
    f"{_SUCCESS} 'solver_type' field (enum) to 'type' field (string).",
    f"{_FUTURE} 'type' field (string) for a solver's type.",
)
NET_FORMS = (V0, TRANSFORMATIONS, V1, INPUTS, BATCH_NORMS)
"""Those of nets, in the order in which they are upgraded."""


@contextmanager
def upgrading(form: OldForm, source: str | None) -> Iterator[None]:
    """Tell of an upgrade before and behind it; of what came from no file nothing is told."""
    if source is not None:
        form.tell_attempt(source)
    yield
    if source is not None:
        form.tell_success()
