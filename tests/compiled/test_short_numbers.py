"""Kernels of bfloat16 numbers: what they read is summed up in float32, and rounded once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, local_response_norm, max_pool2d, pad

from caffe.compiled import laying, llvm
from caffe.compiled.average_pooling import AveragePooling
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.convolving import Convolving, Windows
from caffe.compiled.depthwise import Depthwise
from caffe.compiled.dots import Dots
from caffe.compiled.max_pooling import MaxPooling
from caffe.compiled.normalizing import Normalizing
from caffe.compiled.pointwise import How, Pointwise
from caffe.compiled.products import Products
from caffe.compiled.rows import Pictures
from caffe.compiled.softmax import softmax
from caffe.compiled.tiles import FromOtherForm, ToOtherForm
from caffe.layers import winograd
from tests.helpers.kernels import FINISHES, Inside, finished, lying, pictures, rows

pytestmark = pytest.mark.skipif(
    not llvm.has_short_numbers(), reason="no kernels of short numbers can be compiled here"
)

ROUNDED = 2.0**-8
"""By how much of the largest one results differ that are rounded once."""


def short(*shape: int) -> Tensor:
    """Random float32 numbers that are short ones, too."""
    return torch.randn(shape).bfloat16().float()


def as_planes(x: Tensor) -> Tensor:
    """Pictures that lie channels last as PyTorch has them."""
    return x.double().permute(0, 3, 1, 2)


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize("count", [1, 14, 49])
@pytest.mark.parametrize("inputs", [1, 2, 17, 64])
@pytest.mark.usefixtures("threads")
def test_rows_times_weights(count: int, inputs: int, finish: Finish) -> None:
    finish = Finish(finish.slope, finish.least, finish.most, has_added=count == 14)
    x = rows(2, count, inputs, short=True)
    for outputs in (1, 16, 33, 100):
        weights, bias = short(2, outputs, inputs), torch.randn(2, outputs)
        added = rows(count, outputs, short=True) if finish.has_added else None
        found = Inside(count, outputs, matrices=2, short=True)
        products = Products(weights, bias, finish, count, short=True)
        products.job(lying(x), found.rows, added=None if added is None else lying(added)).run()
        sums = x.double() @ weights.double().transpose(1, 2) + bias.double()[:, None]
        found.assert_equal(finished(sums, finish, added), ROUNDED)


def test_what_lies_beside_an_odd_row_is_no_part_of_it() -> None:
    whole = torch.full((5, 4), torch.nan, dtype=torch.bfloat16)
    x = whole[:, :3]
    x[...] = torch.randn(5, 3)
    weights, bias = short(1, 20, 3), torch.randn(1, 20)
    found = Inside(5, 20, short=True)
    products = Products(weights, bias, PLAIN, 5, short=True)
    products.job(lying(x), found.rows).run()
    found.assert_equal((x.double() @ weights[0].double().T) + bias.double(), ROUNDED)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5)])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("inputs", [1, 3, 16])
@pytest.mark.parametrize("is_planes", [False, True])
@pytest.mark.usefixtures("threads")
def test_convolutions(kernel: tuple[int, int], step: int, inputs: int, is_planes: bool) -> None:
    x = pictures(2, 9, 7, inputs, short=True)
    for outputs in (4, 16, 33):
        weights, bias = short(outputs, inputs, *kernel), torch.randn(outputs)
        padding = (0, 0) if is_planes else (1, 1)
        wanted = conv2d(as_planes(x), weights.double(), bias.double(), step, padding)
        windows = Windows(kernel, (step, step), padding, (1, 1), tuple(wanted.shape[2:]))
        found = Inside(*wanted.permute(0, 2, 3, 1).shape, short=True)
        place, plane = Pictures.of(lying(x), (9, 7)), 0
        if is_planes:
            plane = 63
            planes = pad(x.permute(0, 3, 1, 2).flatten(), (0, 1))
            place = Pictures(planes.data_ptr(), (9, 7), 1, 7, inputs * plane, bytes=2)
        convolving = Convolving(weights, bias, windows, PLAIN, 2, plane, short=True)
        convolving.job(place, found.rows).run()
        found.assert_equal(wanted.permute(0, 2, 3, 1), ROUNDED)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("inputs", [8, 24, 64])
def test_few_rows(count: int, inputs: int) -> None:
    x, weights, bias = rows(count, inputs, short=True), short(12, inputs), torch.randn(12)
    found = Inside(count, 12, short=True)
    dots = Dots(weights, bias, Finish(slope=0.0), short=True)
    dots.job(lying(x), found.rows, count).run()
    sums = x.double() @ weights.double().T + bias.double()
    found.assert_equal(sums.relu(), ROUNDED)


@pytest.mark.parametrize("channels", [4, 8, 48])
@pytest.mark.parametrize("step", [1, 2])
def test_what_is_done_to_each_channel(channels: int, step: int) -> None:
    x = pictures(2, 8, 8, channels, short=True)
    windows = Windows((3, 3), (step, step), (1, 1), (1, 1), (8 // step, 8 // step))
    shape = (2, 8 // step, 8 // step, channels)
    weights, bias = torch.randn(channels, 1, 3, 3), torch.randn(channels)

    found = Inside(*shape, short=True)
    depthwise = Depthwise(weights, bias, windows, PLAIN, short=True)
    depthwise.job(lying(x), (8, 8), 2, found.rows).run()
    wanted = conv2d(as_planes(x), weights.double(), bias.double(), step, 1, groups=channels)
    found.assert_equal(wanted.permute(0, 2, 3, 1), ROUNDED)

    most = MaxPooling((3, 3), (step, step), (1, 1), channels, short=True)
    most.job(lying(x), (8, 8), 2, found.rows, windows.results).run()
    wanted = max_pool2d(as_planes(x), 3, step, 1)
    found.assert_equal(wanted.permute(0, 2, 3, 1), 0)

    shares = torch.full((64 // step**2,), 1 / 9)
    average = AveragePooling(windows, shares, channels, short=True)
    average.job(lying(x), (8, 8), 2, found.rows).run()
    wanted = avg_pool2d(as_planes(x), 3, step, 1)
    found.assert_equal(wanted.permute(0, 2, 3, 1), ROUNDED)


def test_the_largest_of_no_numbers_is_finite() -> None:
    x = torch.full((1, 3, 3, 16), torch.nan, dtype=torch.bfloat16)
    found = Inside(1, 1, 1, 16, short=True)
    most = MaxPooling((3, 3), (1, 1), (0, 0), 16, short=True)
    most.job(lying(x), (3, 3), 1, found.rows, (1, 1)).run()
    assert (found.place == torch.finfo(torch.bfloat16).min).all()


@pytest.mark.parametrize("channels", [4, 8, 48])
def test_each_pixel_by_itself(channels: int) -> None:
    x, other = rows(30, channels, short=True), rows(30, channels, short=True)
    factor, summand = torch.randn(channels), torch.randn(channels)
    found = Inside(30, channels, short=True)

    how = How(is_affine=True, other="sum", finish=Finish(slope=0.5))
    pointwise = Pointwise(how, channels, factor, summand, short=True)
    pointwise.job(lying(x), found.rows, 30, lying(other)).run()
    sums = x.double() * factor.double() + summand.double() + other.double()
    found.assert_equal(torch.where(sums < 0, sums / 2, sums), ROUNDED)

    pointwise = Pointwise(How(has_slopes=True), channels, factor, short=True)
    pointwise.job(lying(x), found.rows, 30).run()
    found.assert_equal(torch.where(x < 0, x.double() * factor.double(), x.double()), ROUNDED)

    Normalizing(5, 0.3, 1.0, channels, short=True).job(lying(x), found.rows, 30).run()
    found.assert_equal(
        local_response_norm(x.double()[..., None], 5, 0.3, 0.75, 1.0)[..., 0], ROUNDED
    )

    softmax(lying(x), found.rows, 30, channels).run()
    found.assert_equal(x.double().softmax(1), 2 * ROUNDED)

    found = Inside(30, channels)
    softmax(lying(x), found.rows, 30, channels).run()
    found.assert_equal(x.double().softmax(1))


@pytest.mark.parametrize("pixels", [1, 20, 70])
def test_planes_and_pixels(pixels: int) -> None:
    planes = torch.randn(2, 5, pixels).bfloat16()
    found = Inside(2 * pixels, 5, short=True)
    laying.to_rows(planes.data_ptr(), found.rows, 2, pixels, 5).run()
    back = torch.zeros_like(planes)
    laying.to_planes(found.rows, back.data_ptr(), 2, pixels, 5).run()
    assert torch.equal(back, planes)
    found.assert_equal(planes.transpose(1, 2).reshape(-1, 5), 0)


@pytest.mark.parametrize("channels", [4, 16, 40])
def test_tiles_of_winograds_algorithm_are_float32(channels: int) -> None:
    x = pictures(2, 8, 8, channels, short=True)
    weight = torch.randn(channels, channels, 3, 3)
    results, _, matrix = winograd.matrices(2, 3)
    tiles = torch.empty(2 * 16, 16, channels)
    to = ToOtherForm(matrix, 2, channels, short=True)
    to.job(lying(x), (8, 8), (4, 4), (1, 1), 0, tiles).run()
    weights, biases = winograd.in_other_form(weight.double(), torch.zeros(channels).double(), 2)
    made = (torch.einsum("tpc,pdc->tpd", tiles, weights.float()) + biases.float()).contiguous()
    found = Inside(2, 8, 8, channels, short=True)
    back = FromOtherForm(results, channels, short=True)
    back.job(made, (4, 4), 0, found.rows, (8, 8)).run()
    wanted = conv2d(as_planes(x), weight.double(), padding=1)
    found.assert_equal(wanted.permute(0, 2, 3, 1), ROUNDED)
