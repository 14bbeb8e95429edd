"""Pictures to begin with."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from caffe.web import samples


def test_each_is_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    for photographs in (samples.PHOTOGRAPHS, {}):
        monkeypatch.setattr(samples, "PHOTOGRAPHS", photographs)
        samples.titles.cache_clear()
        named = samples.titles()
        assert len(named) >= 3
        for name in named:
            with Image.open(io.BytesIO(samples.content(name))) as picture:
                assert picture.format == "JPEG"
                assert max(picture.size) <= samples.SIZE
                assert len(picture.getcolors(1 << 20)) > 50
    samples.titles.cache_clear()
