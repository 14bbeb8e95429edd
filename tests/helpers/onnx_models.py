"""Small ONNX models, run by onnx's own evaluator and, imported, by Recaffe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe import imports
from caffe.imports import Imported

Array = NDArray[Any]


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    arrays: Mapping[str, Array] | None = None,
    opset: int = 20,
) -> Any:
    """Return a model; `arrays` are numbers that are known."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in (arrays or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def numbers(*shape: int, seed: int = 0) -> Array:
    """Return numbers of a normal distribution, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def check(
    proto: Any,
    target: str = "bvlc",
    evaluator: str = "reference",
    tolerance: float = 1e-5,
    **options: Any,
) -> Imported:
    """Import a model and compare what it and the net compute; return what was imported."""
    made = imports.load(proto, target=target, **options)
    shapes = {layer.name: layer.input_param.shape[0].dim for layer in made.text.layer
              if layer.type == "Input"}  # fmt: skip
    given = {name: numbers(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    net = made.to_net()
    found = net.forward(**given)
    for name, wanted in zip(made.outputs, evaluated(proto, given, evaluator), strict=True):
        scale = max(float(np.abs(wanted).max()), 1e-3)
        assert found[name].shape == wanted.shape
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=tolerance * scale)
    # For readers who drop what nobody reads it may stay there.
    rests = set(net.outputs) - set(made.outputs)
    assert not rests or imports.TARGETS[target].drops_rests
    assert set(made.outputs) <= set(net.outputs)
    return made


def evaluated(proto: Any, given: Mapping[str, Array], evaluator: str) -> list[Array]:
    """Return the model's outputs by onnx's evaluator, or by ONNX Runtime ("runtime")."""
    if evaluator == "runtime":
        import onnxruntime

        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return list(session.run(None, dict(given)))
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(proto).run(None, dict(given)))


def one(
    kind: str,
    *shapes: Sequence[int],
    arrays: Sequence[Array | None] = (),
    opset: int = 20,
    outputs: int = 1,
    **attributes: Any,
) -> Any:
    """Return a model of one node, its inputs being blobs of these shapes, then known numbers."""
    from onnx import helper

    given = {f"x{i}": list(shape) for i, shape in enumerate(shapes)}
    known = {f"a{i}": array for i, array in enumerate(arrays) if array is not None}
    names = [*given, *("" if array is None else f"a{i}" for i, array in enumerate(arrays))]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, names, made, name="node", **attributes)
    return model([node], given, made, known, opset)


def types(made: Imported) -> list[str]:
    """Return the layers' types, without the inputs'."""
    return [layer.type for layer in made.text.layer if layer.type != "Input"]
