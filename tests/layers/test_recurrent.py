"""RNN, LSTM and LSTMUnit: what the golden cases do not cover."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import caffe
from caffe.layers.layer import Layer, as_tensors
from caffe.layers.recurrent import Recurrent
from caffe.layers.registry import create
from caffe.proto.caffe_pb2 import LayerParameter
from tests.helpers.gradient import check_gradient
from tests.helpers.running import lone_layer

T, N, INPUTS, OUTPUTS = 3, 2, 4, 5
STATES = {"RNN": 1, "LSTM": 2}


def settings(layer_type: str, text: str = "") -> str:
    return (
        f'type: "{layer_type}" recurrent_param {{ num_output: {OUTPUTS} '
        f'weight_filler {{ type: "uniform" min: -1 }} {text} }}'
    )


def make(
    layer_type: str, shapes: list[tuple[int, ...]], text: str = "", tops: int = 1
) -> tuple[Recurrent, list[Tensor]]:
    """A layer of uniform weights in double precision, and its parameters."""
    names = " ".join(f'bottom: "b{i}"' for i in range(len(shapes)))
    names += "".join(f' top: "t{i}"' for i in range(tops))
    layer = lone_layer(f'name: "r" {names} {settings(layer_type, text)}', shapes)
    assert isinstance(layer, Recurrent)
    return layer, [blob.data_tensor().double() for blob in layer.blobs]


def inputs(cont: list[list[float]], static: bool = False, states: int = 0) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    tensors = [numbers(T, N, 2, 2), torch.tensor(cont).double()]
    if static:
        tensors.append(numbers(N, 3))
    return tensors + [numbers(1, N, OUTPUTS) for _ in range(states)]


def shapes_of(tensors: list[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(x.shape) for x in tensors]


BEGIN = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
ON = [[1.0, 1.0]] * T


def by_the_book(
    layer_type: str, tensors: list[Tensor], params: list[Tensor], static: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The states at the start follow the bottoms."""
    x, cont, *rest = (t.numpy() for t in tensors)
    weights = [p.numpy() for p in params]
    extra = rest.pop(0) @ weights.pop(2).T if static else 0
    states = [s[0] for s in rest]
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    outputs = []
    for t in range(T):
        c = cont[t][:, None]
        given = x[t].reshape(N, -1) @ weights[0].T + weights[1] + extra
        given = given + (c * states[0]) @ weights[2].T
        if layer_type == "RNN":
            states = [np.tanh(given)]
            outputs.append(np.tanh(states[0] @ weights[3].T + weights[4]))
        else:
            i, f, o, g = np.split(given, 4, axis=1)
            cell = c * sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
            states = [sigmoid(o) * np.tanh(cell), cell]
            outputs.append(states[0])
    return np.stack(outputs), states


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("layer_type", ["RNN", "LSTM"])
def test_by_the_book_with_exposed_states(layer_type: str, static: bool) -> None:
    count = STATES[layer_type]
    tensors = inputs(BEGIN, static, count)
    layer, params = make(layer_type, shapes_of(tensors), "expose_hidden: true", 1 + count)
    expected, ends = by_the_book(layer_type, tensors, params, static)
    results = layer.forward(*tensors, *params)
    np.testing.assert_allclose(results[0], expected, rtol=1e-9)
    for found, end in zip(results[1:], ends, strict=True):
        np.testing.assert_allclose(found[0], end, rtol=1e-9)
    assert layer.top_shapes(*shapes_of(tensors)) == [tuple(r.shape) for r in results]


@pytest.mark.parametrize("layer_type", ["RNN", "LSTM"])
def test_parameters_in_caffes_order_and_shape(layer_type: str) -> None:
    _, params = make(layer_type, shapes_of(inputs(ON, static=True)))
    rows = OUTPUTS if layer_type == "RNN" else 4 * OUTPUTS
    expected = [(rows, INPUTS), (rows,), (rows, 3), (rows, OUTPUTS)]
    if layer_type == "RNN":
        expected += [(OUTPUTS, OUTPUTS), (OUTPUTS,)]
    assert shapes_of(params) == expected


@pytest.mark.parametrize("layer_type", ["RNN", "LSTM"])
def test_the_state_is_carried_to_the_next_forward_until_cleared(layer_type: str) -> None:
    count = STATES[layer_type]
    tensors = inputs(ON)
    layer, params = make(layer_type, shapes_of(tensors))
    zeros = [torch.zeros(1, N, OUTPUTS).double()] * count
    first, ends = by_the_book(layer_type, [*tensors, *zeros], params, False)
    np.testing.assert_allclose(layer.forward(*tensors, *params)[0], first, rtol=1e-9)
    again = [*tensors, *[torch.from_numpy(end)[None] for end in ends]]
    second, _ = by_the_book(layer_type, again, params, False)
    np.testing.assert_allclose(layer.forward(*tensors, *params)[0], second, rtol=1e-9)
    layer.clear_states()
    np.testing.assert_allclose(layer.forward(*tensors, *params)[0], first, rtol=1e-9)
    starting = inputs([[0.0, 0.0], *ON[1:]])
    restarted = layer.forward(*starting, *params)[0]
    np.testing.assert_allclose(restarted, first, rtol=1e-9)


@pytest.mark.parametrize("layer_type", ["RNN", "LSTM"])
def test_a_state_that_was_taken_stays_as_it_was(layer_type: str) -> None:
    tensors = inputs(ON)
    layer, params = make(layer_type, shapes_of(tensors))
    layer.forward(*tensors, *params)
    taken = layer.state()
    second = as_tensors(layer.forward(*tensors, *params))[0]
    layer.restore(taken)
    torch.testing.assert_close(as_tensors(layer.forward(*tensors, *params))[0], second)


def test_backward_starts_where_forward_did_and_leaves_the_state_alone() -> None:
    tensors = inputs(ON)
    layer, params = make("LSTM", shapes_of(tensors))
    other, _ = make("LSTM", shapes_of(tensors))
    given = [*tensors, *params]
    for _ in range(2):
        tops = as_tensors(layer.forward(*given))
        other.forward(*given)
    needs = [True, False, *[True] * len(params)]
    diffs = [torch.ones_like(tops[0])]
    first = layer.backward(diffs, tops, given, needs)
    second = layer.backward(diffs, tops, given, needs)
    torch.testing.assert_close(first[0], second[0])
    torch.testing.assert_close(layer.forward(*given)[0], other.forward(*given)[0])


def test_another_number_of_streams() -> None:
    tensors = inputs(ON)
    layer, params = make("LSTM", shapes_of(tensors))
    layer.forward(*tensors, *params)
    more = [torch.cat([x, x], 1) for x in tensors]
    assert layer.top_shapes(*shapes_of(more)) == [(T, 2 * N, OUTPUTS)]
    assert layer.forward(*more, *params)[0].shape == (T, 2 * N, OUTPUTS)
    with pytest.raises(caffe.ShapeError, match="time steps is fixed at 3"):
        layer.top_shapes((T + 1, N, 4), (T + 1, N))
    with pytest.raises(caffe.ShapeError, match="made for"):
        layer.top_shapes((T, N, 7), (T, N))


@pytest.mark.parametrize("layer_type", ["RNN", "LSTM"])
def test_gradient_agrees_with_finite_differences(layer_type: str) -> None:
    count = STATES[layer_type]
    bottoms = [x.numpy() for x in inputs(BEGIN, True, count)]
    names = "".join(f'bottom: "b{i}" ' for i in range(len(bottoms)))
    names += "".join(f'top: "t{i}" ' for i in range(1 + count))
    # States that are handed out have no gradient.
    check_gradient(
        names + settings(layer_type, "expose_hidden: true"),
        bottoms,
        check_bottoms=[0, 2],
        weighted_tops=[0],
    )


def lstm_unit(*shapes: tuple[int, ...]) -> Layer:
    return lone_layer(LayerParameter(name="u", type="LSTMUnit"), shapes)


def test_lstm_unit_gradient() -> None:
    rng = np.random.default_rng(0)
    bottoms = [rng.normal(size=(1, 3, 2)), rng.normal(size=(1, 3, 8)), np.array([[1.0, 0, 1]])]
    check_gradient('type: "LSTMUnit"', bottoms, check_bottoms=[0, 1])


def test_lstm_unit_has_caffes_gradient_where_the_marker_is_a_fraction() -> None:
    cell, gates = torch.ones(1, 1, 1), torch.zeros(1, 1, 4)
    given = [cell, gates, torch.tensor([[0.5]])]
    layer = lstm_unit(*shapes_of(given))
    tops = as_tensors(layer.forward(*given))
    diffs = [torch.ones(1, 1, 1), torch.zeros(1, 1, 1)]
    found = layer.backward(diffs, tops, given, [True, True, False])[1]
    # f = 0.5 * sigmoid(0) = 0.25: 0.25 * 0.75, where the true derivative is 0.125.
    assert found is not None
    assert found.flatten().tolist() == pytest.approx([0, 0.1875, 0, 0.5])


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 3, 2), (1, 3, 6), (1, 3)],
        [(2, 3, 2), (2, 3, 8), (2, 3)],
        [(1, 3, 2), (1, 3, 8), (1, 3, 1)],
        [(1, 3), (1, 3, 8), (1, 3)],
    ],
)
def test_lstm_unit_refuses_other_shapes(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(caffe.ShapeError):
        lstm_unit(*shapes)


@pytest.mark.parametrize(
    ("shapes", "text", "tops", "said"),
    [
        ([(3, 2, 4), (3, 3)], "", 1, "markers of shape"),
        ([(3, 2), (3, 2)], "", 1, "time steps, streams"),
        ([(3, 2, 4), (3, 2), (3, 4)], "", 1, "static input"),
        ([(3, 2, 4), (3, 2)], "", 2, r"1 top\(s\)"),
        ([(3, 2, 4), (3, 2)], "expose_hidden: true", 3, "4 or 5 bottoms"),
        ([(3, 2, 4), (3, 2), (2, 4), (1, 2, 5)], "", 1, "2 or 3 bottoms"),
        (
            [(3, 2, 4), (3, 2), (1, 2, 5), (2, 5)],
            "expose_hidden: true",
            3,
            r"\(1, 2, 5\), not \(2, 5\)",
        ),
    ],
)
def test_bottoms_and_tops_that_do_not_fit(
    shapes: list[tuple[int, ...]], text: str, tops: int, said: str
) -> None:
    with pytest.raises(caffe.CaffeError, match=said):
        make("LSTM", shapes, text, tops)


def test_num_output_is_needed() -> None:
    layer = create(LayerParameter(name="r", type="RNN", top=["y"]))
    with pytest.raises(caffe.NetError, match="num_output"):
        layer.setup((3, 2, 4), (3, 2))


def test_debug_info_tells_about_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    tensors = inputs(ON)
    layer, params = make("RNN", shapes_of(tensors), "debug_info: true")
    with torch.no_grad():
        layer.forward(*tensors, *params)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * T
    assert lines[0].startswith("    [Forward] Layer r, step 1, blob h_1 data: ")


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_x_gets_its_gradient_unasked_but_the_states_at_the_start_never(kind: str) -> None:
    states = range(STATES[kind])
    shapes = {"x": (T, N, INPUTS), "cont": (T, N), **{f"h{i}": (1, N, OUTPUTS) for i in states}}
    net = caffe.Net(
        "".join(
            f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
            + " ".join(f"dim: {n}" for n in shape)
            + " } } }\n"
            for name, shape in shapes.items()
        )
        + f'layer {{ name: "r" type: "{kind}" top: "y" loss_weight: 1 '
        + " ".join(f'bottom: "{name}"' for name in shapes)
        + "".join(f' top: "o{i}" loss_weight: 0' for i in states)
        + f" recurrent_param {{ num_output: {OUTPUTS} expose_hidden: true "
        + 'weight_filler { type: "uniform" min: -1 } } }',
        caffe.TEST,
    )
    for name in shapes:
        net.blobs[name].data[...] = 1
        net.blobs[name].diff[...] = 7
    net.forward()
    net.backward()
    assert (net.blobs["x"].diff != 7).all()
    for name in [n for n in shapes if n != "x"]:
        assert (net.blobs[name].diff == 7).all()
