"""Fields that the schema does not know: written back as they were."""

from __future__ import annotations

import pytest

from caffe.errors import CaffeWarning
from caffe.proto import caffe_pb2
from caffe.proto.text import format_text, parse_text


def rewritten(text: str) -> str:
    with pytest.warns(CaffeWarning, match="has no field"):
        return format_text(parse_text(text, caffe_pb2.NetParameter()))


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x85", "\r"])
def test_characters_that_may_end_a_line_stay_in_strings(odd: str) -> None:
    text = f'layer {{ name: "a" forks_note: "one{odd}two" block {{\n  x: "{odd}"\n}} }}'
    once = rewritten(text)
    assert f'forks_note: "one{odd}two"' in once
    assert f'x: "{odd}"' in once
    assert rewritten(once) == once


def test_lines_keep_how_far_they_stand_in() -> None:
    text = 'layer {\n        odd {\n            a: 1\n\n          b: 2\n        }\n  name: "a"\n}\n'
    wanted = 'layer {\n  name: "a"\n  odd {\n      a: 1\n\n    b: 2\n  }\n}\n'
    assert rewritten(text) == wanted
    assert rewritten(wanted) == wanted


def test_what_is_read_again_is_the_same_message() -> None:
    text = "layers {\n    odd {\n        a: 1\n      b: 2\n  }\n}\n"
    with pytest.warns(CaffeWarning, match="has no field"):
        net = parse_text(text, caffe_pb2.NetParameter())
    with pytest.warns(CaffeWarning, match="has no field"):
        assert parse_text(format_text(net), caffe_pb2.NetParameter()) == net
