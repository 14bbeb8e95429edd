"""Local response normalisation across channels as one kernel of a GPU, and its gradient as one.

A thread has some channels of a place, and loads those around them too: each number is read from the
GPU's memory once, and most of the arithmetic is done once. PyTorch's operations go over the numbers
a dozen times. It is computed in float32.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..pytorch import torch
from . import kernel, windows
from .kernel import Kernel

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor

THREADS, SPAN = 128, 8
"""How many threads a program has, and how many channels each of them."""

MOST = 33
"""How many channels may be added up, which are written one by one."""

USUAL = 0.75
"""The exponent for which two roots cost less than a power."""


def takes(x: Tensor, size: int) -> bool:
    """Tell whether the kernels can have a tensor, see `caffe.gpu.kernel.takes`."""
    return size <= MOST and windows.fits(x) and kernel.takes(x, _is_right)


def _is_right(device: torch.device) -> bool:
    ones = torch.ones(1, 4, 1, 1, dtype=torch.float32, device=device)
    numbers = 1, 1.0, USUAL, 1.0
    found = torch.cat([forward(ones, *numbers), backward(ones, ones, *numbers)])
    expected = 2**-USUAL * torch.tensor([1.0, 0.25], device=device)
    return bool((found - expected[:, None, None, None]).abs().amax() < 1e-6)


def forward(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Return x * (k + alpha / size * sum of x**2 over `size` channels) ** -beta.

    Parameters
    ----------
    x : Tensor
        N x C x H x W, channels first or last.
    size : int
        How many channels are added up, around each.
    alpha, beta, k : float
        As above.
    """
    x = _dense(x)
    top = torch.empty_like(x)
    _launch(_forward, (x, top), size, alpha, beta, k)
    return top


def backward(diff: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Return the gradient by `x` of what `forward` returns, from that by its result."""
    x = _dense(x)
    diff = diff.contiguous(
        memory_format=torch.contiguous_format if x.is_contiguous() else torch.channels_last
    )
    gradient = torch.empty_like(x)
    _launch(_backward, (x, diff, gradient), size, alpha, beta, k)
    return gradient


def _dense(x: Tensor) -> Tensor:
    """The tensor with its places beside each other, or all channels of a place."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def _launch(
    which: Kernel, tensors: tuple[Tensor, ...], size: int, alpha: float, beta: float, k: float
) -> None:
    number, channels, height, width = tensors[0].shape
    places = height * width
    is_last = tensors[0].is_contiguous(memory_format=torch.channels_last)
    vector = windows.vector_of(tensors[0], channels) if is_last else 1
    # Kernels take fours and eights apart.
    vector = vector if vector > 2 else 1
    threads = places * -(-channels // SPAN)
    which.launch(
        number * -(-threads // THREADS),
        *tensors,
        channels // vector,
        places,
        alpha / size,
        beta,
        k,
        half=size // 2,
        is_usual=beta == USUAL,
        is_last=is_last,
        vector=vector,
        span=SPAN,
        threads=THREADS,
        num_warps=THREADS // 32,
    )


# Triton's, see `caffe.gpu.kernel`.


@Kernel
def _place(
    vectors: tl.tensor, places: tl.tensor, is_last: tl.constexpr, vector: tl.constexpr,
    span: tl.constexpr, threads: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Where this program's picture begins, and each thread's channel and place."""
    channels = vectors * vector
    spans = (channels + span - 1) // span
    programs = ((spans * places + threads - 1) // threads).to(tl.uint32)
    program = tl.program_id(0).to(tl.uint32)
    one = (program % programs).to(tl.int32) * threads + tl.arange(0, threads)
    picture = (program // programs).to(tl.int64) * places * vectors * vector
    if is_last:
        return picture, one % spans * span, one // spans
    else:
        return picture, one // places * span, one % places


@Kernel
def _apart(values: tl.tensor, vector: tl.constexpr) -> tl.tensor:
    """threads x vector numbers as so many tensors of threads: they stay where they are."""
    threads: tl.constexpr = values.shape[0]
    if vector == 1:
        return (tl.reshape(values, [threads]),)
    elif vector == 4:
        even, odd = tl.split(tl.reshape(values, [threads, 2, 2]))
        zero, two = tl.split(even)
        one, three = tl.split(odd)
        return zero, one, two, three
    else:
        even, odd = tl.split(tl.reshape(values, [threads, 2, 2, 2]))
        quarter0, quarter2 = tl.split(even)
        quarter1, quarter3 = tl.split(odd)
        zero, four = tl.split(quarter0)
        one, five = tl.split(quarter1)
        two, six = tl.split(quarter2)
        three, seven = tl.split(quarter3)
        return zero, one, two, three, four, five, six, seven


@Kernel
def _together(
    values: tl.tensor, first: tl.constexpr, vector: tl.constexpr, threads: tl.constexpr
) -> tl.tensor:
    """What `_apart` takes apart, of a tuple's members from one on."""
    if vector == 1:
        return tl.reshape(values[first], [threads, 1])
    elif vector == 4:
        even = tl.join(values[first], values[first + 2])
        odd = tl.join(values[first + 1], values[first + 3])
        return tl.reshape(tl.join(even, odd), [threads, 4])
    else:
        quarter0 = tl.join(values[first], values[first + 4])
        quarter1 = tl.join(values[first + 1], values[first + 5])
        quarter2 = tl.join(values[first + 2], values[first + 6])
        quarter3 = tl.join(values[first + 3], values[first + 7])
        even, odd = tl.join(quarter0, quarter2), tl.join(quarter1, quarter3)
        return tl.reshape(tl.join(even, odd), [threads, 8])


@Kernel
def _loaded(
    x: tl.tensor, channel: tl.tensor, place: tl.tensor, vectors: tl.tensor, places: tl.tensor,
    around: tl.constexpr, is_last: tl.constexpr, vector: tl.constexpr, span: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Each thread's channels as a tuple, with `around` vectors before and behind: zeros outside."""
    values: tl.tuple = ()
    for i in tl.static_range(-around, span // vector + around):
        at, is_there = _at(channel + i * vector, place, vectors, places, is_last, vector)
        value = tl.load(x + at, mask=is_there, other=0.0).to(tl.float32)
        values = values + _apart(value, vector)
    return values


@Kernel
def _at(
    channel: tl.tensor, place: tl.tensor, vectors: tl.tensor, places: tl.tensor,
    is_last: tl.constexpr, vector: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Where each thread's vector that begins with a channel is, and whether there is one."""
    channels = vectors * vector
    is_there = (channel >= 0) & (channel < channels) & (place >= 0) & (place < places)
    at = place * channels + channel if is_last else channel * places + place
    return at[:, None] + tl.arange(0, vector)[None, :], is_there[:, None]


@Kernel
def _base(
    values: tl.tensor, middle: tl.constexpr, half: tl.constexpr, share: tl.tensor, k: tl.tensor
) -> tl.tensor:
    """k + alpha / n * sum of x**2 over n channels around a tuple's member."""
    total = values[middle - half] * values[middle - half]
    for i in tl.static_range(1, 2 * half + 1):
        total += values[middle - half + i] * values[middle - half + i]
    return k + share * total


@Kernel
def _powers(base: tl.tensor, beta: tl.tensor, is_usual: tl.constexpr) -> tl.tensor:
    """base ** -beta and 1 / base."""
    if is_usual:
        root = tl.rsqrt(base)
        return root * tl.sqrt(root), root * root
    else:
        return tl.exp2(-beta * tl.log2(base)), 1 / base


@Kernel
def _store(
    results: tl.tensor, top: tl.tensor, channel: tl.tensor, place: tl.tensor, vectors: tl.tensor,
    places: tl.tensor, is_last: tl.constexpr, vector: tl.constexpr, span: tl.constexpr,
) -> None:  # fmt: skip
    for i in tl.static_range(0, span, vector):
        at, is_there = _at(channel + i, place, vectors, places, is_last, vector)
        value = _together(results, i, vector, channel.shape[0])
        tl.store(top + at, value.to(top.dtype.element_ty), mask=is_there)


@partial(Kernel, unspecialized=("vectors", "places"))
def _forward(
    x: tl.tensor, top: tl.tensor, vectors: tl.tensor, places: tl.tensor, share: tl.tensor,
    beta: tl.tensor, k: tl.tensor, half: tl.constexpr, is_usual: tl.constexpr,
    is_last: tl.constexpr, vector: tl.constexpr, span: tl.constexpr, threads: tl.constexpr,
) -> None:  # fmt: skip
    picture, channel, place = _place(vectors, places, is_last, vector, span, threads)
    around: tl.constexpr = (half + vector - 1) // vector
    values = _loaded(x + picture, channel, place, vectors, places, around, is_last, vector, span)
    results: tl.tuple = ()
    for i in tl.static_range(span):
        base = _base(values, around * vector + i, half, share, k)
        factor, _ = _powers(base, beta, is_usual)
        results = results + (values[around * vector + i] * factor,)
    _store(results, top + picture, channel, place, vectors, places, is_last, vector, span)


@partial(Kernel, unspecialized=("vectors", "places"))
def _backward(
    x: tl.tensor, diff: tl.tensor, gradient: tl.tensor, vectors: tl.tensor, places: tl.tensor,
    share: tl.tensor, beta: tl.tensor, k: tl.tensor, half: tl.constexpr, is_usual: tl.constexpr,
    is_last: tl.constexpr, vector: tl.constexpr, span: tl.constexpr, threads: tl.constexpr,
) -> None:  # fmt: skip
    picture, channel, place = _place(vectors, places, is_last, vector, span, threads)
    near: tl.constexpr = (half + vector - 1) // vector
    far: tl.constexpr = (2 * half + vector - 1) // vector
    values = _loaded(x + picture, channel, place, vectors, places, far, is_last, vector, span)
    errors = _loaded(diff + picture, channel, place, vectors, places, near, is_last, vector, span)
    # With s the base: by x[j], d[j] s[j]^-b - 2 a b / n x[j] sum of (d x s^(-b - 1)) nearby.
    direct: tl.tuple = ()
    ratios: tl.tuple = ()
    for i in tl.static_range(-half, span + half):
        base = _base(values, far * vector + i, half, share, k)
        factor, inverse = _powers(base, beta, is_usual)
        error = errors[near * vector + i] * factor
        ratio = error * values[far * vector + i] * inverse
        is_there = (channel + i >= 0) & (channel + i < vectors * vector)
        ratios = ratios + (tl.where(is_there, ratio, 0.0),)
        if i >= 0 and i < span:
            direct = direct + (error,)
    results: tl.tuple = ()
    for i in tl.static_range(span):
        nearby = ratios[i]
        for j in tl.static_range(1, 2 * half + 1):
            nearby += ratios[i + j]
        value = values[far * vector + i]
        results = results + (direct[i] - 2 * share * beta * value * nearby,)
    _store(results, gradient + picture, channel, place, vectors, places, is_last, vector, span)
