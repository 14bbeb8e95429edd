"""What all tests of imported nets share."""

from tests.export.conftest import _single_thread

__all__ = ["_single_thread"]
