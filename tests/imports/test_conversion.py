"""Graphs as wholes: what is known is computed, branches are chosen, functions written out."""

from __future__ import annotations

import numpy as np
import pytest

from caffe import CaffeError, imports
from tests.helpers.onnx_cases import cases
from tests.helpers.onnx_models import check, model, numbers, one, types

onnx = pytest.importorskip("onnx")


def node(*arguments: object, **attributes: object) -> object:
    return onnx.helper.make_node(*arguments, **attributes)


def branch(name: str, kind: str) -> object:
    info = onnx.helper.make_tensor_value_info(f"{name}_out", onnx.TensorProto.FLOAT, None)
    return onnx.helper.make_graph([node(kind, ["x"], [f"{name}_out"])], name, [], [info])


def test_a_branch_that_is_known_is_taken() -> None:
    arms = {"then_branch": branch("then", "Relu"), "else_branch": branch("else", "Sigmoid")}
    for known, kind in ((True, "ReLU"), (False, "Sigmoid")):
        choice = node("If", ["c"], ["y"], **arms)
        made = check(model([choice], {"x": [2, 3]}, ["y"], {"c": np.asarray(known)}))
        assert types(made) == [kind]
    greater = node("Greater", ["x", "zero"], ["c"])
    proto = model([greater, node("If", ["c"], ["y"], **arms)], {"x": [1]}, ["y"],
                  {"zero": np.asarray(0, np.float32)})  # fmt: skip
    with pytest.raises(CaffeError, match="operator Greater"):
        imports.load(proto)


def test_loops_are_refused() -> None:
    body = onnx.helper.make_graph([], "body", [], [])
    loop = node("Loop", ["", "", "x"], ["y"], name="again", body=body)
    with pytest.raises(CaffeError, match=r"'again' \(Loop\): control flow"):
        imports.load(model([loop], {"x": [1]}, ["y"]))


def test_functions_are_written_out() -> None:
    helper = onnx.helper
    opsets = [helper.make_opsetid("", 20)]
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], opsets
    )
    proto = model([helper.make_node("Twice", ["x"], ["y"], domain="own")], {"x": [2, 3]}, ["y"])
    proto.opset_import.append(helper.make_opsetid("own", 1))
    with pytest.raises(CaffeError, match="operators of 'own'"):
        imports.load(proto)
    proto.functions.append(function)
    assert types(check(proto)) == ["Eltwise"]


def test_numbers_that_are_known_are_computed() -> None:
    chain = [
        node("Constant", [], ["c"], value_float=2.0),
        node("Mul", ["c", "c"], ["d"]),
        node("Sin", ["d"], ["e"]),
        node("Mul", ["x", "e"], ["y"]),
        node("Sin", ["x"], ["unused"]),
    ]
    made = check(model(chain, {"x": [2, 3]}, ["y"]))
    assert types(made) == ["Power"]


def test_known_numbers_are_computed_as_of_the_models_version() -> None:
    chain = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "first"], ["n"]),
        node("Unsqueeze", ["n"], ["n1"], axes=[0]),
        node("Concat", ["n1", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    arrays = {"first": np.asarray(0), "rest": np.asarray([-1])}
    assert types(check(model(chain, {"x": [2, 3, 4]}, ["y"], arrays, 11))) == ["Flatten"]


def test_quantized_models_and_outputs_that_are_known() -> None:
    proto = one("DequantizeLinear", (2, 3), arrays=[np.asarray(1, np.float32)])
    with pytest.raises(CaffeError, match="quantized model"):
        imports.load(proto)
    proto = model([node("Shape", ["x"], ["y"])], {"x": [2, 3]}, ["y"])
    with pytest.raises(CaffeError, match="always the same"):
        imports.load(proto)


def test_old_operators_and_inputs_that_are_no_floats() -> None:
    with pytest.raises(CaffeError, match="of version 8, older than 9"):
        imports.load(one("Relu", (1,), opset=8))
    proto = one("Relu", (1,))
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.BOOL
    with pytest.raises(CaffeError, match=r"no tensor of numbers \(BOOL\)"):
        imports.load(proto)
    proto.graph.input[0].type.tensor_type.elem_type = 56
    with pytest.raises(CaffeError, match="a kind that is unknown"):
        imports.load(proto)


def test_short_and_long_floats() -> None:
    for kind in (np.float16, np.float64):
        proto = one("Add", (2, 3), arrays=[numbers(3).astype(kind)])
        made = imports.load(proto)
        assert made.weights["y0"][0].dtype == np.float32


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    imports.load(one("Relu", (1,)), progress=lambda done, whole: told.append((done, whole)))
    assert told == [(1, 1)]


@pytest.mark.parametrize("target", imports.TARGETS)
def test_every_operator_for_every_target(target: str) -> None:
    from caffe.imports.conversion import rules

    found = cases()
    assert set(found) == set(rules()), "an operator has no case: tests/helpers/onnx_cases.py"
    for kind, proto in found.items():
        refusal = ""
        try:
            made = imports.load(proto, target=target)
        except CaffeError as error:
            refusal = str(error)
        if refusal:
            assert f"({kind})" in refusal
            assert "no layer" in refusal or "has Permute" in refusal
            continue
        assert {layer.type for layer in made.text.layer} <= imports.TARGETS[target].layers
        # Roots and logarithms of what is negative are no numbers, and places no floats.
        if kind not in ("Sqrt", "Log", "ArgMax"):
            evaluator = "reference" if kind == "Swish" else "runtime"
            check(proto, target, evaluator, 2e-5 if kind == "Erf" else 1e-5)
