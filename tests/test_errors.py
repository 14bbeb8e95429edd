"""What errors say beside what is wrong."""

from __future__ import annotations

import pytest

from caffe.errors import MissingExtraError, did_you_mean, require


def test_the_names_most_like_a_mistyped_one_are_asked_for() -> None:
    known = ["conv1", "conv2", "fc"]
    assert did_you_mean("convv1", known, most=1) == "did you mean 'conv1'?"
    assert did_you_mean("convv1", known) == "did you mean 'conv1' or 'conv2'?"


def test_where_none_is_like_it_the_other_text_stands() -> None:
    assert did_you_mean("pool", ["fc"]) == ""
    assert did_you_mean("pool", ["fc"], "there is fc") == "there is fc"


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    with pytest.raises(MissingExtraError, match=r"needed for wishes.*recaffe\[dreams\]"):
        require("no_such_package", "dreams", "wishes")
