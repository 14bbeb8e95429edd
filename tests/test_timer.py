"""The stopwatch."""

from __future__ import annotations

import time

import pytest

import caffe
from tests.helpers.second_store import CountingStore, use_store


@pytest.mark.parametrize("is_on_second_store", [False, True])
def test_it_measures_milliseconds_and_keeps_them(is_on_second_store: bool) -> None:
    if is_on_second_store:
        use_store(CountingStore())
    timer = caffe.Timer()
    try:
        timer.start()
        time.sleep(0.01)
        timer.stop()
    finally:
        caffe.set_mode_cpu()
    assert 10 <= timer.ms < 1000
    first = timer.ms
    time.sleep(0.002)
    assert timer.ms == first
