"""Training and testing, by number and by name."""

from __future__ import annotations

import pytest

import caffe
from caffe.phases import check_phase
from caffe.proto import caffe_pb2


def test_the_numbers_are_those_of_the_schema() -> None:
    assert (caffe.TRAIN, caffe.TEST) == (caffe_pb2.TRAIN, caffe_pb2.TEST)


@pytest.mark.parametrize("given", [caffe.TEST, "TEST", "test", caffe_pb2.TEST, True])
def test_a_phase_is_a_number_or_its_name(given: object) -> None:
    assert check_phase(given) == caffe.TEST


@pytest.mark.parametrize("given", [2, "1", "tests", None])
def test_what_is_no_phase_is_refused(given: object) -> None:
    with pytest.raises(caffe.CaffeError, match=r"caffe\.TRAIN or caffe\.TEST"):
        check_phase(given)
