"""Videos are read as pictures and written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from caffe.errors import CaffeError, ImageError, ShapeError
from caffe.io.videos import is_video, open_video, write_video

pytest.importorskip("av", reason="needs the extra 'video'")


def pictures(count: int = 5, size: tuple[int, int] = (48, 64)) -> Iterator[np.ndarray]:
    for number in range(count):
        picture = np.full((*size, 3), 30, np.uint8)
        picture[:, : 8 * (number + 1)] = 220, 20, 20
        yield picture


def write(path: Path, size: tuple[int, int] = (48, 64)) -> Path:
    with write_video(str(path), Fraction(10)) as put:
        for picture in pictures(size=size):
            put(picture)
    return path


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_what_is_written_can_be_read(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a{ending}")
    with open_video(str(path)) as video:
        assert video.rate == 10
        assert not video.is_live
        read = list(video.frames)
    assert len(read) == 5
    for found, wanted in zip(read, pictures(), strict=True):
        assert found.shape == wanted.shape
        # The codec loses something, but not the picture.
        assert np.abs(found.astype(float) - wanted).mean() < 12


def test_an_odd_last_row_and_column_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", (49, 65))
    with open_video(str(path)) as video:
        assert next(video.frames).shape == (48, 64, 3)


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with write_video(str(tmp_path / "a.mp4")) as put:
            put(next(pictures()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("no video at all")
    with pytest.raises(ImageError, match=r"a\.mp4: the video cannot be read"):
        open_video(str(text)).__enter__()
    with pytest.raises(ImageError, match="no such file"):
        open_video(str(tmp_path / "absent.mp4")).__enter__()
    with pytest.raises(ImageError, match=r"no such camera|cannot be read"):
        open_video("camera:97").__enter__()


def test_pictures_of_another_size_and_names_of_no_form_are_refused(tmp_path: Path) -> None:
    with write_video(str(tmp_path / "a.mp4")) as put:
        put(next(pictures()))
        with pytest.raises(ShapeError, match="32 x 24, the first of 64 x 48"):
            put(next(pictures(size=(24, 32))))
    with pytest.raises(CaffeError, match=r"end in \.mp4"), write_video("a.gif"):
        pass


def test_videos_are_told_from_pictures() -> None:
    assert is_video("a.MP4")
    assert is_video("camera")
    assert is_video("camera:1")
    assert not is_video("camera.png")
    assert not is_video("folder")
