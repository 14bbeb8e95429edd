"""Loops of jobs in a thread each: all of them run, as often as they should, in their order."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.code import Code
from caffe.compiled.lanes import Loop, advancing, in_lanes
from caffe.compiled.llvm import Job, Kernel, Program

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


def adding() -> Kernel:
    """A kernel that makes of some numbers twice as much and one, from the `first` on."""
    code = Code(["array", "first", "count", "bytes"], 4)
    with code.shared(code.given["count"]) as i:
        number = code.add(code.given["first"], i)
        place = code.add(code.given["array"], code.multiply(number, code.given["bytes"]))
        code.store(code.plus(code.scaled(code.load(place), 2.0), code.constant(1.0)), place)
    return Kernel(code.text)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_loops_run_in_their_order(lanes: int) -> None:
    kernel, array = adding(), torch.zeros(lanes, 6, 4)

    def job(lane: int, first: int, count: int) -> Job:
        return kernel.job(array[lane].data_ptr(), first, count, 16)

    def loops(lane: int) -> list[Loop]:
        moving = job(lane, 0, 2)
        return [Loop([moving, advancing(moving, 1, 2)], 3), Loop([job(lane, 1, 1)], 1 + lane)]

    Program([in_lanes([loops(lane) for lane in range(lanes)])]).run()
    for lane in range(lanes):
        expected = torch.ones(6, 4)
        expected[1] = 2 ** (2 + lane) - 1
        assert torch.equal(array[lane], expected)


def test_a_lane_may_have_nothing_to_do() -> None:
    kernel, array = adding(), torch.zeros(4, 4)
    lanes = [[], [Loop([kernel.job(array.data_ptr(), 0, 4, 16)])], [Loop([], 3)]]
    in_lanes(lanes).run()
    assert torch.equal(array, torch.ones(4, 4))
    in_lanes([]).run()
