"""For each of ONNX's operators that is imported a model of it, as it mostly stands in nets."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.helpers.onnx_models import Array, numbers, one

PICTURE = (1, 4, 6, 6)


def _whole(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _number(value: float) -> Array:
    return np.asarray(value, np.float32)


def cases() -> dict[str, Any]:
    """Return the models by their operators."""
    alone = {kind: one(kind, PICTURE) for kind in (
        *("Relu", "Sigmoid", "Tanh", "Abs", "Exp", "Softplus", "LeakyRelu", "Elu", "Selu", "Celu"),
        *("HardSigmoid", "HardSwish", "Mish", "Gelu", "Erf", "Softsign", "ThresholdedRelu", "Neg"),
        *("Softmax", "LogSoftmax", "Identity", "Dropout", "GlobalAveragePool", "GlobalMaxPool"),
        *("Flatten", "Sqrt", "Log", "Reciprocal", "LpNormalization"),
    )}  # fmt: skip
    two = {kind: one(kind, PICTURE, PICTURE) for kind in (
        *("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"),
    )}  # fmt: skip
    axes = _whole(2, 3)
    reduced = {kind: one(kind, PICTURE, arrays=[axes]) for kind in (
        *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"),
        "ReduceSumSquare",
    )}  # fmt: skip
    channels = [numbers(4), numbers(4, seed=1)]
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    doubled = [None, _number(1) * np.asarray([1, 1, 2, 2], np.float32)]
    return {
        **alone,
        **two,
        **reduced,
        "ArgMax": one("ArgMax", PICTURE, axis=1),
        "AveragePool": one("AveragePool", PICTURE, **window),
        "BatchNormalization": one(
            "BatchNormalization", PICTURE, arrays=[*channels, numbers(4), np.abs(numbers(4))]
        ),
        "Cast": one("Cast", PICTURE, to=1),
        "CastLike": one("CastLike", PICTURE, arrays=[_number(0)]),
        "Clip": one("Clip", PICTURE, arrays=[_number(0), _number(6)]),
        "Concat": one("Concat", PICTURE, PICTURE, axis=1),
        "Conv": one("Conv", PICTURE, arrays=[numbers(8, 2, 3, 3), numbers(8)], group=2),
        "ConvTranspose": one("ConvTranspose", PICTURE, arrays=[numbers(4, 3, 2, 2)]),
        "DepthToSpace": one("DepthToSpace", PICTURE, blocksize=2, mode="CRD"),
        "Expand": one("Expand", (1, 4, 1, 1), arrays=[_whole(1, 4, 6, 6)]),
        "Gather": one("Gather", PICTURE, arrays=[_whole(2, 0)], axis=1),
        "Gemm": one("Gemm", (2, 4), arrays=[numbers(4, 3), numbers(3)]),
        "GroupNormalization": one(
            "GroupNormalization", PICTURE, arrays=channels, num_groups=2, opset=21
        ),
        "InstanceNormalization": one("InstanceNormalization", PICTURE, arrays=channels),
        "LRN": one("LRN", PICTURE, size=3),
        "LayerNormalization": one("LayerNormalization", (1, 6, 6, 4), arrays=channels),
        "MatMul": one("MatMul", (1, 6, 4), arrays=[numbers(4, 3)]),
        "MaxPool": one("MaxPool", PICTURE, **window),
        "PRelu": one("PRelu", PICTURE, arrays=[numbers(4, 1, 1)]),
        "Pad": one("Pad", PICTURE, arrays=[_whole(0, 0, 1, 1, 0, 0, 2, 2)], mode="reflect"),
        "Pow": one("Pow", PICTURE, arrays=[_number(2)]),
        "Reshape": one("Reshape", PICTURE, arrays=[_whole(1, 2, -1)]),
        "Resize": one("Resize", PICTURE, arrays=doubled, mode="linear"),
        "Slice": one("Slice", PICTURE, arrays=[_whole(1), _whole(3), _whole(1)]),
        "SpaceToDepth": one("SpaceToDepth", PICTURE, blocksize=2),
        "Split": one("Split", PICTURE, outputs=2, axis=1, num_outputs=2),
        "Squeeze": one("Squeeze", (1, 4, 1, 1), arrays=[axes]),
        "Swish": one("Swish", PICTURE, opset=24),
        "Tile": one("Tile", PICTURE, arrays=[_whole(1, 2, 1, 1)]),
        "Transpose": one("Transpose", PICTURE, perm=[0, 2, 3, 1]),
        "Unsqueeze": one("Unsqueeze", (1, 4), arrays=[axes]),
        "Upsample": one("Upsample", PICTURE, arrays=doubled[1:], opset=9),
    }
