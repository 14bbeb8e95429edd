"""What caffe.io has of scikit-image and SciPy."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import caffe


def test_resize_is_scikit_images() -> None:
    transform = pytest.importorskip("skimage.transform")
    image = np.random.default_rng(0).random((6, 8, 3)).astype(np.float32)
    for settings in ({}, {"order": 0, "mode": "edge", "anti_aliasing": False}):
        small = caffe.io.resize(image, (3, 4), **settings)  # type: ignore[arg-type]
        assert np.array_equal(small, transform.resize(image, (3, 4), **settings))


def test_zoom_is_scipys() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    image = np.random.default_rng(0).random((6, 8))
    assert np.array_equal(caffe.io.zoom(image, (2, 0.5)), ndimage.zoom(image, (2, 0.5)))
    assert caffe.io.zoom(image, 2, order=1, grid_mode=True, mode="grid-constant").shape == (12, 16)


def test_scikit_image_is_reached_with_its_io() -> None:
    pytest.importorskip("skimage.io")
    assert callable(caffe.io.skimage.io.imread)
    assert callable(caffe.io.skimage.img_as_float)


@pytest.mark.parametrize(
    "use",
    [
        lambda: caffe.io.skimage,
        lambda: caffe.io.resize(np.ones((2, 2)), (1, 1)),
        lambda: caffe.io.zoom(np.ones((2, 2)), 2),
    ],
)
def test_where_they_are_missing_the_extra_is_named(use, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("skimage", "skimage.io", "skimage.transform", "scipy", "scipy.ndimage"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"caffe\.io\.\w+.*\[demo\]"):
        use()
