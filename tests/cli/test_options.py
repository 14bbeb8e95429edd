"""How commands read the values of their options."""

from __future__ import annotations

import pytest
import typer

from caffe.cli.options import numbers, whole_numbers


@pytest.mark.parametrize("text", ["104,117.5,-3", " 104 , 117.5, -3", "104x117.5x-3"])
def test_numbers_stand_with_commas_or_an_x_between(text: str) -> None:
    assert numbers(text, "--mean") == [104, 117.5, -3]


@pytest.mark.parametrize("text", ["", "1,,2", "1;2", "red", "1,2,"])
def test_what_are_no_numbers_is_refused(text: str) -> None:
    for parse in (numbers, whole_numbers):
        with pytest.raises(typer.BadParameter, match=r"--mean takes .*numbers with commas"):
            parse(text, "--mean")


def test_whole_numbers_have_no_signs_and_nothing_behind_a_point() -> None:
    assert whole_numbers("2,1 x 0", "--channel-swap") == [2, 1, 0]
    for text in ("2,-1", "2,1.5", "1_0"):
        with pytest.raises(typer.BadParameter, match="whole numbers"):
            whole_numbers(text, "--channel-swap")


def test_how_many_there_must_be_is_told() -> None:
    assert numbers("3,4", "--size", 2) == [3, 4]
    with pytest.raises(typer.BadParameter, match="--size takes 2 numbers"):
        numbers("3", "--size", 2)
