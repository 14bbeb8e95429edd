"""Who reads imported nets."""

from __future__ import annotations

import pytest

from caffe import CaffeError
from caffe.imports import TARGETS
from caffe.layers.layer import registry


def test_every_layer_of_every_target_is_one() -> None:
    for target in TARGETS.values():
        assert target.layers <= set(registry()), target.name


def test_a_layer_that_a_target_has_not_is_refused_with_those_that_have() -> None:
    with pytest.raises(CaffeError, match=r"the original Caffe has no layer Permute; .*opencv"):
        TARGETS["bvlc"].check("Permute", {})
