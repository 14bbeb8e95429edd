"""Boxes and their names drawn into pictures."""

from __future__ import annotations

import numpy as np

from caffe.io.annotate import Mark, color_of, draw_marks


def test_boxes_and_texts_are_drawn_within_the_picture() -> None:
    marks = [
        Mark((-20, -20, 60, 50), "at the corner 0.98", 1),
        Mark((150, 90, 400, 300), "past the other corner 0.91", 2),
        Mark((70, 40, 71, 41), "small", 3),
    ]
    black, white = (
        np.asarray(draw_marks(np.full((120, 200, 3), value, np.float32), marks)) for value in (0, 1)
    )
    assert black.shape == (120, 200, 3)
    for group in (1, 2, 3):
        color = np.array(color_of(group))
        for drawn in (black, white):
            rows, columns = np.nonzero((drawn == color).all(2))
            assert len(rows) > 100, "the text's ground is not there"
            assert columns.min() >= 0
            assert rows.max() < 120
    # What is written is the same on both grounds.
    assert (black == white).all(2).mean() > 0.1
    assert np.unique([color_of(i) for i in range(20)], axis=0).shape == (20, 3)


def test_texts_of_boxes_in_one_place_do_not_cover_each_other() -> None:
    box = (40, 60, 160, 140)
    marks = [Mark(box, f"thing {i}", i) for i in range(3)]
    drawn = np.asarray(draw_marks(np.zeros((200, 240, 3)), marks))
    # The first one's colour is on the line around the box too.
    areas = [((drawn == color_of(i)).all(2)).sum() for i in range(3)]
    assert min(areas) > 0.4 * max(areas)
