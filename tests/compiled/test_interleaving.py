"""Groups' numbers are taken in turns."""

from __future__ import annotations

import pytest

from caffe.compiled import llvm
from caffe.compiled.interleaving import MOST_GROUPS, interleaved
from tests.helpers.kernels import Inside, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


@pytest.mark.parametrize("groups", range(1, MOST_GROUPS + 1))
@pytest.mark.parametrize("columns", [1, 4, 16, 29, 48])
@pytest.mark.parametrize("short", [False, llvm.has_short_numbers()])
@pytest.mark.usefixtures("threads")
def test_groups_in_turns(groups: int, columns: int, short: bool) -> None:
    channels = groups * columns
    x, found = rows(7, channels, short=short), Inside(7, channels, short=short)
    interleaved(lying(x), found.rows, 7, channels, groups).run()
    expected = x.reshape(7, groups, columns).transpose(1, 2).reshape(7, channels)
    found.assert_equal(expected, tolerance=0)
