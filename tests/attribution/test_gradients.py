"""Integrated gradients."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.attribution import integrated_gradients_map
from tests.attribution.test_kept import small_net


def test_what_the_pixels_add_is_the_difference_of_the_scores() -> None:
    net = small_net()
    picture = net.blobs["data"].data.copy()
    net.forward()
    score = float(net.blobs["fc"].data[0, 1])
    net.forward(data=np.zeros_like(picture))
    zero = float(net.blobs["fc"].data[0, 1])
    net.blobs["data"].data[...] = picture
    told: list[tuple[int, int]] = []
    found = integrated_gradients_map(net, 1, steps=64, progress=lambda *at: told.append(at))
    assert found.shape == (8, 8)
    assert found.sum() == pytest.approx(score - zero, rel=0.02)
    assert told[-1] == (64, 64)
    assert np.array_equal(net.blobs["data"].data, picture)


@pytest.mark.parametrize("steps", [0, True, 1.5])
def test_steps_are_a_whole_number(steps: object) -> None:
    with pytest.raises(caffe.CaffeError, match="steps"):
        integrated_gradients_map(small_net(), 1, steps=steps)  # type: ignore[arg-type]
