"""Cases of layers that engines have no form of their own for: what they promise is tried."""

from __future__ import annotations

from random import Random

from .layers import FILLER, LayerCase, Shape, draw_shape, flag, maker, number, some


@maker("Silence")
def _silence(rng: Random, shape: Shape) -> LayerCase:
    return LayerCase("", "", (shape,), tops=0)


@maker("Mish", "HardSwish")
def _plain(rng: Random, shape: Shape) -> LayerCase:
    return LayerCase("", "", (shape,))


@maker("HardSigmoid")
def _hard_sigmoid(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, alpha=number(rng), beta=number(rng))
    return LayerCase("", f"hard_sigmoid_param {{ {fields} }}", (shape,))


@maker("Exp")
def _exp(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, base=rng.choice((-1, 2, 0.5, 10)), scale=rng.choice((1, -0.5)), shift=0.3)
    return LayerCase("", f"exp_param {{ {fields} }}", (shape,), in_place=flag(rng))


@maker("Log")
def _log(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, base=rng.choice((-1, 2, 0.5)), scale=number(rng), shift=number(rng))
    return LayerCase("", f"log_param {{ {fields} }}", (shape,), in_place=flag(rng))


@maker("Reduction")
def _reduction(rng: Random, shape: Shape) -> LayerCase:
    fields = some(
        rng,
        operation=rng.choice(("SUM", "ASUM", "SUMSQ", "MEAN")),
        axis=rng.randrange(-len(shape), len(shape)),
        coeff=number(rng),
    )
    return LayerCase("", f"reduction_param {{ {fields} }}", (shape,))


@maker("Tile")
def _tile(rng: Random, shape: Shape) -> LayerCase:
    axis = rng.randrange(-len(shape), len(shape))
    return LayerCase("", f"tile_param {{ axis: {axis} tiles: {rng.randint(1, 3)} }}", (shape,))


@maker("Im2col")
def _im2col(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, stride=rng.randint(1, 3), pad=rng.randint(0, 2), dilation=rng.randint(1, 2))
    settings = f"convolution_param {{ kernel_size: {rng.randint(1, 3)} {fields} }}"
    return LayerCase("", settings, (shape,))


@maker("SPP")
def _spp(rng: Random, shape: Shape) -> LayerCase:
    shape = shape if len(shape) == 4 else draw_shape(rng, 4)
    fields = some(rng, pool=rng.choice(("MAX", "AVE")))
    settings = f"spp_param {{ pyramid_height: {rng.randint(1, 3)} {fields} }}"
    return LayerCase("", settings, (shape,))


@maker("Reorg")
def _reorg(rng: Random, shape: Shape) -> LayerCase:
    stride = rng.choice((1, 2, 3))
    if flag(rng):
        shape = (shape[0], stride**2 * rng.randint(1, 2), stride, stride * rng.randint(1, 3))
    settings = f"reorg_param {{ stride: {stride} {some(rng, reverse=flag(rng))} }}"
    return LayerCase("", settings, (shape,))


@maker("Reverse")
def _reverse(rng: Random, shape: Shape) -> LayerCase:
    settings = f"reverse_param {{ {some(rng, axis=rng.randrange(len(shape)))} }}"
    return LayerCase("", settings, (shape,))


@maker("Transpose")
def _transpose(rng: Random, shape: Shape) -> LayerCase:
    order = " ".join(f"dim: {axis}" for axis in rng.sample(range(len(shape)), len(shape)))
    return LayerCase("", f"transpose_param {{ {order} }}", (shape,))


@maker("Interp")
def _interp(rng: Random, shape: Shape) -> LayerCase:
    fields = rng.choice(
        (
            f"height: {rng.randint(1, 9)} width: {rng.randint(1, 9)}",
            f"zoom_factor: {rng.randint(1, 3)}",
            f"shrink_factor: {rng.randint(1, 3)}",
        )
    )
    return LayerCase("", f"interp_param {{ {fields} }}", (shape,))


@maker("Crop")
def _crop(rng: Random, shape: Shape) -> LayerCase:
    axis = rng.randrange(len(shape))
    like = tuple(n if i < axis else rng.randint(1, n) for i, n in enumerate(shape))
    offset = rng.choice((0, min(n - m for n, m in zip(shape[axis:], like[axis:], strict=True))))
    return LayerCase("", f"crop_param {{ axis: {axis} offset: {offset} }}", (shape, like))


@maker("Add")
def _add(rng: Random, shape: Shape) -> LayerCase:
    other = tuple(rng.choice((n, n, 1)) for n in shape[rng.randrange(len(shape)) :])
    return LayerCase("", "", (shape, other))


@maker("Mul")
def _mul(rng: Random, shape: Shape) -> LayerCase:
    if flag(rng):
        return LayerCase("", "", _add(rng, shape).shapes)
    return LayerCase("", f"mul_param {{ mul_shape: {rng.choice((1, shape[-1]))} }}", (shape,))


@maker("LSTM", "RNN")
def _recurrent(rng: Random, shape: Shape) -> LayerCase:
    shape = shape if len(shape) > 2 else draw_shape(rng, 3)
    fields = f"num_output: {rng.randint(1, 4)} weight_filler {FILLER} bias_filler {FILLER}"
    return LayerCase("", f"recurrent_param {{ {fields} }}", (shape, shape[:2]))
