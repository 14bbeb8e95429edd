"""What pytest hands to the tests of kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.helpers import kernels


@pytest.fixture(autouse=True)
def the_same_numbers() -> None:
    torch.manual_seed(1)


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many threads PyTorch has in a test."""
    with kernels.threads(request.param):
        yield request.param
