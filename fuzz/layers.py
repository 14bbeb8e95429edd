"""One layer by chance: its type, settings over their whole range, and bottoms that may suit it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

Shape = tuple[int, ...]

NUMBERS = (0, 1, -1, 0.5, 2, -0.3, 6, 20, 0.001)
"""What numbers of all kinds are drawn from as often as from a continuous range."""


@dataclass(frozen=True)
class LayerCase:
    """One layer.

    Attributes
    ----------
    type : str
        As the text says it.
    settings : str
        The parameter message, as text.
    shapes : tuple of shape
        The bottoms'.
    tops : int
        How many tops it has.
    in_place : bool
        Whether its top is its bottom.
    """

    type: str
    settings: str
    shapes: tuple[Shape, ...]
    tops: int = 1
    in_place: bool = False

    def text(self, name: str, bottoms: list[str], tops: list[str]) -> str:
        """Return the layer as a net's text has it, under a name, between these blobs."""
        blobs = [f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in tops]
        return f'layer {{ name: "{name}" type: "{self.type}" {" ".join(blobs)} {self.settings} }}\n'

    def net(self) -> str:
        """Return a net of this layer alone, "layer": inputs b0, b1, ... and tops t0, t1, ..."""
        bottoms = [f"b{i}" for i in range(len(self.shapes))]
        tops = bottoms[:1] if self.in_place else [f"t{i}" for i in range(self.tops)]
        heads = (given(name, shape) for name, shape in zip(bottoms, self.shapes, strict=True))
        return "".join(heads) + self.text("layer", bottoms, tops)


def given(name: str, shape: Shape) -> str:
    """Return an Input layer whose blob has its name."""
    dims = " ".join(f"dim: {n}" for n in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


Make = Callable[[Random, Shape], LayerCase]
"""Given chance and the first bottom's shape, makes a case of one type."""

MAKERS: dict[str, Make] = {}
"""By type: what makes a case of it."""


def _made(make: Make, name: str, rng: Random, shape: Shape) -> LayerCase:
    return replace(make(rng, shape), type=name)


def maker(*types: str) -> Callable[[Make], Make]:
    """Enter what makes cases of these types."""

    def enter(make: Make) -> Make:
        for name in types:
            MAKERS[name] = partial(_made, make, name)
        return make

    return enter


def draw(rng: Random, kind: str, shape: Shape | None = None) -> LayerCase:
    """Return a case of a type; the layer may still refuse what was drawn.

    Parameters
    ----------
    rng : Random
        Where chance comes from.
    kind : str
        The layer's type.
    shape : shape, optional
        The first bottom's; by chance where it is left out.
    """
    if shape is None:
        shape = draw_shape(rng, rng.choice((4, 4, 4, 4, 2, 3, 5, 1)))
    return MAKERS[kind](rng, shape)


def draw_shape(rng: Random, axes: int) -> Shape:
    """Return a small shape of so many axes; an axis of one number is frequent."""
    return tuple(rng.choice((1, 2, 3, 4, 6, 7, 9 if axes < 5 else 5)) for _ in range(axes))


def number(rng: Random) -> float:
    """Return a number: one that a formula may treat as a case of its own, or any."""
    return rng.choice(NUMBERS) if rng.random() < 0.5 else round(rng.gauss(0, 2), 3)


def some(rng: Random, **fields: object) -> str:
    """Return a message's text with each of these fields, or not; a list is a repeated field."""
    said = []
    for name, value in fields.items():
        if rng.random() < 0.6:
            values = value if isinstance(value, list) else [value]
            said += [f"{name}: {str(v).lower() if isinstance(v, bool) else v}" for v in values]
    return " ".join(said)


def flag(rng: Random) -> bool:
    """Return yes or no."""
    return rng.random() < 0.5


FILLER = "{ type: 'gaussian' std: 1 }"


# Number by number.


@maker("Sigmoid", "TanH", "AbsVal", "BNLL", "ReLU6")
def _plain(rng: Random, shape: Shape) -> LayerCase:
    return LayerCase("", "", (shape,), in_place=flag(rng))


@maker("ReLU")
def _relu(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, negative_slope=number(rng))
    if rng.random() < 0.4:
        fields += " " + some(rng, relu6=flag(rng), maximum=number(rng), minimum=number(rng))
    return LayerCase("", f"relu_param {{ {fields} }}", (shape,), in_place=flag(rng))


@maker("PReLU")
def _prelu(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, channel_shared=flag(rng))
    settings = f"prelu_param {{ {fields} filler {FILLER} }}"
    return LayerCase("", settings, (shape,), in_place=flag(rng))


@maker("ELU")
def _elu(rng: Random, shape: Shape) -> LayerCase:
    return LayerCase("", f"elu_param {{ {some(rng, alpha=number(rng))} }}", (shape,))


@maker("Clip")
def _clip(rng: Random, shape: Shape) -> LayerCase:
    settings = f"clip_param {{ min: {number(rng)} max: {number(rng)} }}"
    return LayerCase("", settings, (shape,), in_place=flag(rng))


@maker("Power")
def _power(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, power=number(rng), scale=number(rng), shift=number(rng))
    return LayerCase("", f"power_param {{ {fields} }}", (shape,), in_place=flag(rng))


@maker("Dropout")
def _dropout(rng: Random, shape: Shape) -> LayerCase:
    settings = f"dropout_param {{ {some(rng, dropout_ratio=round(rng.random(), 2))} }}"
    return LayerCase("", settings, (shape,), in_place=flag(rng))


@maker("Swish")
def _swish(rng: Random, shape: Shape) -> LayerCase:
    return LayerCase("", f"swish_param {{ {some(rng, beta=number(rng))} }}", (shape,))


# Windows.


def _each(rng: Random, name: str, values: list[int], short: str | None) -> str:
    """Say one size for each axis: once for all, by axis, or by height and width."""
    form = rng.random()
    if form < 0.5 or not values:
        return f"{name}: {values[0] if values else 1}"
    if form < 0.75 and short is not None and len(values) == 2:
        return f"{short}_h: {values[0]} {short}_w: {values[1]}"
    return " ".join(f"{name}: {value}" for value in values)


def _windows(rng: Random, axes: int, forks: bool) -> str:
    sizes = {
        ("kernel_size", "kernel"): (1, 1, 2, 3, 3, 5),
        ("stride", "stride"): (1, 1, 1, 2, 3, 7),
        ("pad", "pad"): (0, 0, 0, 1, 2, 3),
        ("dilation", None): (1, 1, 1, 1, 2, 3),
    }
    left_out = rng.random() < 0.3 and forks and axes == 2
    said = [
        _each(rng, name, [rng.choice(among) for _ in range(axes)], short)
        for (name, short), among in sizes.items()
        if name == "kernel_size" or (rng.random() < 0.7 and not (left_out and name == "pad"))
    ]
    if left_out:
        among = [f"pad_{side}: {rng.choice((0, 1, 2, 4))}" for side in "lrtb"]
        said += rng.sample(among, rng.randint(1, 4)) if flag(rng) else ["pad_type: 1"]
    return " ".join(said)


def _kernels(rng: Random, shape: Shape, forks: bool, depthwise: bool = False) -> LayerCase:
    if len(shape) != 4 and flag(rng):
        shape = draw_shape(rng, 4)
    axis = rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 2, -3, 0)) if len(shape) > 3 else rng.choice((1, 0))
    axis = axis if -len(shape) <= axis < len(shape) else 0
    axes = len(shape) - axis % len(shape) - 1
    channels = shape[axis]
    group = rng.choice([g for g in range(1, channels + 1) if channels % g == 0])
    settings = _windows(rng, axes, forks) + f" weight_filler {FILLER} bias_filler {FILLER}"
    if depthwise:
        settings += some(rng, num_output=channels * rng.randint(1, 2))
    else:
        group = 1 if flag(rng) else group
        settings += f" num_output: {group * rng.randint(1, 5)}"
        settings += f" group: {group}" if group > 1 else ""
    if axis != 1:
        settings += f" axis: {axis}"
    settings += " bias_term: false" if rng.random() < 0.3 else ""
    count = 2 if rng.random() < 0.1 else 1
    return LayerCase("", f"convolution_param {{ {settings} }}", (shape,) * count, count)


@maker("Convolution")
def _convolution(rng: Random, shape: Shape) -> LayerCase:
    return _kernels(rng, shape, forks=True)


@maker("ConvolutionDepthwise", "DepthwiseConvolution")
def _depthwise(rng: Random, shape: Shape) -> LayerCase:
    return _kernels(rng, shape, forks=True, depthwise=flag(rng))


@maker("Deconvolution")
def _deconvolution(rng: Random, shape: Shape) -> LayerCase:
    return _kernels(rng, shape, forks=False)


@maker("Pooling")
def _pooling(rng: Random, shape: Shape) -> LayerCase:
    shape = shape if len(shape) == 4 else draw_shape(rng, 4)
    fields = f"pool: {rng.choice(('MAX', 'MAX', 'AVE', 'AVE', 'AVE_EXC_PAD', 'STOCHASTIC'))} "
    kernel = [rng.choice((1, 2, 2, 3, 3, 5, 7)) for _ in "hw"]
    form = rng.random()
    if form < 0.15:
        fields += "global_pooling: true"
    else:
        pad = [rng.randint(0, k - 1) for k in kernel]
        stride = [rng.choice((1, 1, 2, 2, 3, 5)) for _ in "hw"]
        if flag(rng):
            kernel, pad, stride = kernel[:1] * 2, pad[:1] * 2, stride[:1] * 2
        same = kernel[0] == kernel[1] and flag(rng)
        fields += (
            f"kernel_size: {kernel[0]}" if same else f"kernel_h: {kernel[0]} kernel_w: {kernel[1]}"
        )
        fields += f" stride_h: {stride[0]} stride_w: {stride[1]} "
        if form < 0.6:
            fields += f"pad_h: {pad[0]} pad_w: {pad[1]} "
        elif form < 0.75:
            fields += some(rng, pad_l=rng.randint(0, 3), pad_t=rng.randint(0, 3), pad_r=1, pad_b=2)
            fields += " "
        elif form < 0.8:
            fields += "pad_type: 1 "
        fields += some(rng, round_mode=rng.choice(("CEIL", "CEIL", "FLOOR")))
        fields += " ceil_mode: false" if rng.random() < 0.2 else ""
    tops = 2 if "MAX" in fields and rng.random() < 0.15 else 1
    return LayerCase("", f"pooling_param {{ {fields} }}", (shape,), tops)


# Normalisation.


@maker("LRN")
def _lrn(rng: Random, shape: Shape) -> LayerCase:
    shape = shape if len(shape) == 4 else draw_shape(rng, 4)
    fields = some(
        rng,
        local_size=rng.choice((1, 3, 5, 7, 15)),
        alpha=abs(number(rng)),
        beta=number(rng),
        k=abs(number(rng)) if rng.random() < 0.8 else number(rng),
        norm_region=rng.choice(("ACROSS_CHANNELS", "ACROSS_CHANNELS", "WITHIN_CHANNEL")),
    )
    return LayerCase("", f"lrn_param {{ {fields} }}", (shape,))


@maker("Normalize")
def _normalize(rng: Random, shape: Shape) -> LayerCase:
    fields = some(
        rng,
        across_spatial=flag(rng),
        channel_shared=flag(rng),
        eps=rng.choice((0, 1e-10, 1e-5, 0.5, 7)),
    )
    return LayerCase("", f"norm_param {{ {fields} scale_filler {FILLER} }}", (shape,))


@maker("BatchNorm")
def _batch_norm(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, eps=rng.choice((1e-5, 1e-3, 0.1)))
    if rng.random() < 0.4:
        fields += " " + some(
            rng, add_eps_before_sqrt=flag(rng), scale_bias=True, use_global_stats=True
        )
    return LayerCase("", f"batch_norm_param {{ {fields} }}", (shape,), in_place=flag(rng))


@maker("BN")
def _bn(rng: Random, shape: Shape) -> LayerCase:
    fields = rng.choice(("bn_mode: INFERENCE", "frozen: true", "momentum: 0.9 eps: 0.001"))
    return LayerCase("", f"bn_param {{ {fields} }}", (shape,), in_place=flag(rng))


def _along(rng: Random, shape: Shape) -> tuple[str, tuple[Shape, ...]]:
    axis = rng.choice((1, 1, 1, 0, -1, 2, -2))
    axis = axis if -len(shape) <= axis < len(shape) else 0
    count = rng.choice((1, 1, 1, -1, 0, 2, 3))
    count = count if count <= len(shape) - axis % len(shape) else 1
    if rng.random() < 0.25:
        start = axis % len(shape)
        length = max(0, count)
        return f"axis: {axis}", (shape, shape[start : start + length])
    return f"axis: {axis} num_axes: {count} filler {FILLER}", (shape,)


@maker("Scale")
def _scale(rng: Random, shape: Shape) -> LayerCase:
    fields, shapes = _along(rng, shape)
    fields += f" bias_term: {str(flag(rng)).lower()} bias_filler {FILLER}"
    return LayerCase("", f"scale_param {{ {fields} }}", shapes, in_place=flag(rng))


@maker("Bias")
def _bias(rng: Random, shape: Shape) -> LayerCase:
    fields, shapes = _along(rng, shape)
    return LayerCase("", f"bias_param {{ {fields} }}", shapes, in_place=flag(rng))


@maker("Softmax")
def _softmax(rng: Random, shape: Shape) -> LayerCase:
    axis = rng.randrange(-len(shape), len(shape))
    return LayerCase("", f"softmax_param {{ {some(rng, axis=axis)} }}", (shape,))


@maker("MVN")
def _mvn(rng: Random, shape: Shape) -> LayerCase:
    fields = some(rng, normalize_variance=flag(rng), across_channels=flag(rng), eps=0.001)
    return LayerCase("", f"mvn_param {{ {fields} }}", (shape,))


# Products and sums.


@maker("InnerProduct")
def _inner_product(rng: Random, shape: Shape) -> LayerCase:
    axis = rng.randrange(-len(shape), len(shape))
    fields = some(
        rng,
        axis=axis,
        bias_term=flag(rng),
        transpose=flag(rng),
        normalize=rng.random() < 0.2,
    )
    fields += f" num_output: {rng.choice((1, 2, 5, 8))}"
    fields += f" weight_filler {FILLER} bias_filler {FILLER}"
    return LayerCase("", f"inner_product_param {{ {fields} }}", (shape,))


@maker("Eltwise")
def _eltwise(rng: Random, shape: Shape) -> LayerCase:
    operation = rng.choice(("SUM", "SUM", "PROD", "MAX"))
    count = rng.choice((2, 2, 2, 3, 4, 1))
    fields = f"operation: {operation} "
    if operation != "PROD" and flag(rng):
        fields += " ".join(f"coeff: {number(rng)}" for _ in range(count))
    return LayerCase("", f"eltwise_param {{ {fields} }}", (shape,) * count, in_place=flag(rng))


@maker("Axpy")
def _axpy(rng: Random, shape: Shape) -> LayerCase:
    factors = (*shape[:2], *[1] * rng.randint(0, 2))
    return LayerCase("", "", (factors, shape, shape))


# Other places for the same numbers.


@maker("Concat")
def _concat(rng: Random, shape: Shape) -> LayerCase:
    axis = rng.randrange(-len(shape), len(shape))
    shapes = [shape]
    for _ in range(rng.randint(0, 3)):
        other = list(shape)
        other[axis] = rng.choice((1, 2, 5))
        shapes.append(tuple(other))
    name = "concat_dim" if axis >= 0 and rng.random() < 0.2 else "axis"
    return LayerCase("", f"concat_param {{ {name}: {axis} }}", tuple(shapes))


@maker("Slice")
def _slice(rng: Random, shape: Shape) -> LayerCase:
    axis = rng.randrange(-len(shape), len(shape))
    length = shape[axis]
    name = "slice_dim" if axis >= 0 and rng.random() < 0.2 else "axis"
    count = rng.choice([n for n in range(1, length + 1) if length % n == 0])
    fields = f"{name}: {axis}"
    if flag(rng):
        count = rng.randint(1, length)
        fields += "".join(
            f" slice_point: {p}" for p in sorted(rng.sample(range(1, length), count - 1))
        )
    return LayerCase("", f"slice_param {{ {fields} }}", (shape,), count)


@maker("Split")
def _split(rng: Random, shape: Shape) -> LayerCase:
    return LayerCase("", "", (shape,), rng.randint(1, 3))


@maker("Permute")
def _permute(rng: Random, shape: Shape) -> LayerCase:
    order = rng.sample(range(len(shape)), rng.randint(0, len(shape)))
    fields = " ".join(f"order: {axis}" for axis in order)
    return LayerCase("", f"permute_param {{ {fields} }}", (shape,))


@maker("ShuffleChannel")
def _shuffle_channel(rng: Random, shape: Shape) -> LayerCase:
    channels = shape[1] if len(shape) > 1 else 1
    group = rng.choice([g for g in range(1, channels + 1) if channels % g == 0])
    return LayerCase("", f"shuffle_channel_param {{ group: {group} }}", (shape,))


@maker("Flatten")
def _flatten(rng: Random, shape: Shape) -> LayerCase:
    first = rng.randrange(len(shape))
    last = rng.randrange(first, len(shape))
    fields = some(rng, axis=first, end_axis=last - len(shape))
    return LayerCase("", f"flatten_param {{ {fields} }}", (shape,))


@maker("Reshape")
def _reshape(rng: Random, shape: Shape) -> LayerCase:
    count = math.prod(shape)
    first = rng.choice([n for n in range(1, count + 1) if count % n == 0])
    dims = rng.choice(([first, -1], [-1, first], [0, -1], [-1], [first, count // first, 1]))
    fields = " ".join(f"dim: {n}" for n in dims)
    return LayerCase("", f"reshape_param {{ shape {{ {fields} }} }}", (shape,))


@maker("PriorBox")
def _prior_box(rng: Random, shape: Shape) -> LayerCase:
    shape = shape if len(shape) == 4 else draw_shape(rng, 4)
    count = rng.randint(1, 3)
    sizes = sorted(rng.sample(range(2, 30), count + 1))
    fields = " ".join(f"min_size: {size}" for size in sizes[:-1])
    if flag(rng):
        fields += "".join(f" max_size: {size}" for size in sizes[1:])
    fields += "".join(f" aspect_ratio: {r}" for r in rng.sample((1, 2, 3, 0.5), rng.randint(0, 3)))
    variances = [0.1, 0.2, 0.3, 0.4][: rng.choice((0, 1, 4))]
    fields += "".join(f" variance: {v}" for v in variances) + " "
    fields += some(
        rng, flip=flag(rng), clip=flag(rng), img_size=40, step=rng.choice((3, 8.5)), offset=0.25
    )
    return LayerCase("", f"prior_box_param {{ {fields} }}", (shape, draw_shape(rng, 4)))
