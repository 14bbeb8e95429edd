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


def test_operators_of_a_version_that_nobody_knows_yet() -> None:
    with pytest.raises(CaffeError, match=r"of version 99, .* up to \d+: install a newer onnx"):
        imports.load(one("Relu", (1,), opset=99))


def test_a_model_without_outputs() -> None:
    proto = model([node("Relu", ["x"], ["y"])], {"x": [2, 3]}, [])
    with pytest.raises(CaffeError, match=r"no outputs; name the values .* --outputs"):
        imports.load(proto)
    assert types(imports.load(proto, outputs=["y"])) == ["ReLU"]


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "LRN", "DepthToSpace", "SpaceToDepth"])
def test_attributes_that_are_missing(kind: str) -> None:
    with pytest.raises(CaffeError, match=rf"'node' \({kind}\): its attribute '\w+' is missing"):
        imports.load(one(kind, (1, 4, 6, 6)))


@pytest.mark.parametrize(
    ("proto", "told"),
    [
        (one("Conv", (1, 3, 8, 8), arrays=[np.ones((4, 3, 3, 3), np.int8)]), r"no floats \(int8\)"),
        (one("Conv", (1, 3, 8, 8), arrays=[numbers(4, 5, 3, 3)]), "weights do not fit the shapes"),
        (one("Conv", (1, 3, 8, 8), arrays=[numbers(4, 3, 3, 3)], auto_pad="SOME"), "'SOME'"),
        (one("Transpose", (1, 3, 8, 8), perm=[0, 0, 1, 2]), "is no order of 4 axes"),
        (one("Gather", (1, 3, 8, 8), arrays=[np.asarray([7])], axis=1), "beyond the 3 places"),
        (one("Split", (1, 3), arrays=[np.asarray([1, 2])], outputs=3, axis=1), "output 'y2'"),
        (one("Dropout", (1, 3), outputs=2), "output 'y1' has no form"),
        (one("Relu", (1, 3, 2**31, 2**31)), "input 'x0': a blob of shape"),
        (one("Relu", [1] * 40), "input 'x0': a blob has at most 32 axes"),
    ],
)
def test_what_would_become_another_net_is_refused(proto: object, told: str) -> None:
    with pytest.raises(CaffeError, match=told):
        imports.load(proto)


def test_names_that_stand_twice_and_shapes_that_are_none() -> None:
    for entries in ("input", "initializer"):
        proto = one("Add", (1, 3), arrays=[numbers(3)])
        getattr(proto.graph, entries).append(getattr(proto.graph, entries)[0])
        with pytest.raises(CaffeError, match=r"two (inputs|tensors) are called '[xa]0'"):
            imports.load(proto)
    proto = one("Add", (1, 3), arrays=[numbers(3)])
    proto.graph.node[0].output[0] = proto.graph.output[0].name = "a0"
    with pytest.raises(CaffeError, match="'a0' is made a second time"):
        imports.load(proto)
    proto = one("Add", (1, 3), arrays=[numbers(3)])
    proto.graph.initializer[0].dims[0] = -3
    with pytest.raises(CaffeError, match=r"'a0' is damaged: its shape is \(-3,\)"):
        imports.load(proto)


def test_tensors_of_another_make() -> None:
    proto = one("Relu", (1, 3))
    proto.graph.sparse_initializer.add().values.name = "w"
    with pytest.raises(CaffeError, match="'w' are kept as a sparse tensor"):
        imports.load(proto)
    proto = one("Relu", (1, 3))
    kind = onnx.TensorProto.FLOAT
    proto.graph.input[0].CopyFrom(onnx.helper.make_tensor_sequence_value_info("x0", kind, None))
    with pytest.raises(CaffeError, match=r"no tensor of numbers \(a sequence\)"):
        imports.load(proto)


@pytest.mark.parametrize(
    ("kind", "arrays"),
    [
        ("ConstantOfShape", [np.asarray([50000, 50000])]),
        ("Range", [np.asarray(0), np.asarray(2**40), np.asarray(1)]),
        ("Tile", [numbers(1, 2), np.asarray([50000, 50000])]),
    ],
)
def test_known_numbers_that_would_fill_the_memory(kind: str, arrays: list[np.ndarray]) -> None:
    proto = one(kind, arrays=arrays)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1]))
    proto.graph.node.append(node("Add", ["x", "y0"], ["z"]))
    proto.graph.output[0].name = "z"
    with pytest.raises(CaffeError, match="more than any net has"):
        imports.load(proto)


def test_functions_that_never_end() -> None:
    def own(name: str, *inside: str) -> object:
        chain = ["a", *(f"v{i}" for i in range(len(inside) - 1)), "b"]
        nodes = [
            node(kind, [x], [y], domain="" if kind == "Relu" else "own")
            for kind, x, y in zip(inside, chain, chain[1:], strict=False)
        ]
        opsets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("own", 1)]
        return onnx.helper.make_function("own", name, ["a"], ["b"], nodes, opsets)

    doubling = [own(f"F{i}", f"F{i + 1}", f"F{i + 1}") for i in range(30)]
    for functions, told in (
        ([own("F0", "F0")], "'F0' uses itself"),
        ([*doubling, own("F30", "Relu")], "more than 1000000 nodes"),
    ):
        proto = model([node("F0", ["x"], ["y"], domain="own")], {"x": [2]}, ["y"])
        proto.opset_import.append(onnx.helper.make_opsetid("own", 1))
        proto.functions.extend(functions)
        with pytest.raises(CaffeError, match=told):
            imports.load(proto)


def test_attributes_that_are_none_of_the_operators() -> None:
    with pytest.raises(CaffeError, match=r"'node' \(MaxPool\): .*onnx.checker.check_model"):
        imports.load(one("MaxPool", (1, 4, 6, 6), kernel_shape="abc"))


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
