"""A layer that computes in a way of its own is run as it says, by whatever engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import caffe
from caffe.engine.plan.operation import operation
from caffe.layers.inner_product import InnerProduct
from caffe.layers.layer import Layer, as_tensors, register
from caffe.layers.promises import OWN_PROMISES, PROMISES
from caffe.layers.registry import registry
from caffe.layers.rules import Rules
from caffe.layers.translation import openvino

ENGINES = ["layerwise", "torch", "auto", "openvino"]
SPATIAL = (2, 6, 8, 8)
FORWARDS = 8

# Each layer type that runs on its own with such a text: its settings, and its bottoms' shapes.
FILLED = "weight_filler { type: 'msra' } bias_filler { type: 'gaussian' }"
CASES: dict[str, tuple[str, list[tuple[int, ...]]]] = {
    "AbsVal": ("", [SPATIAL]),
    "Add": ("", [SPATIAL, SPATIAL]),
    "Axpy": ("", [(2, 6), SPATIAL, SPATIAL]),
    "BN": ("", [SPATIAL]),
    "BNLL": ("", [SPATIAL]),
    "BatchNorm": ("", [SPATIAL]),
    "Bias": ("bias_param { filler { type: 'gaussian' } }", [SPATIAL]),
    "Clip": ("clip_param { min: -0.5 max: 0.7 }", [SPATIAL]),
    "Concat": ("", [SPATIAL, SPATIAL]),
    "Convolution": (f"convolution_param {{ num_output: 4 kernel_size: 3 {FILLED} }}", [SPATIAL]),
    "ConvolutionDepthwise": (f"convolution_param {{ kernel_size: 3 {FILLED} }}", [SPATIAL]),
    "Crop": ("crop_param { axis: 2 offset: 1 }", [SPATIAL, (2, 6, 4, 4)]),
    "Deconvolution": (f"convolution_param {{ num_output: 4 kernel_size: 3 {FILLED} }}", [SPATIAL]),
    "Dropout": ("", [SPATIAL]),
    "ELU": ("", [SPATIAL]),
    "Eltwise": ("", [SPATIAL, SPATIAL]),
    "Exp": ("", [SPATIAL]),
    "Flatten": ("", [SPATIAL]),
    "HardSigmoid": ("", [SPATIAL]),
    "HardSwish": ("", [SPATIAL]),
    "InnerProduct": (f"inner_product_param {{ num_output: 5 {FILLED} }}", [SPATIAL]),
    "LRN": ("", [SPATIAL]),
    "MVN": ("", [SPATIAL]),
    "Mish": ("", [SPATIAL]),
    "Mul": ("", [SPATIAL, SPATIAL]),
    "Normalize": ("norm_param { scale_filler { type: 'constant' value: 3 } }", [SPATIAL]),
    "PReLU": ("", [SPATIAL]),
    "Permute": ("permute_param { order: 0 order: 2 }", [SPATIAL]),
    "Pooling": ("pooling_param { kernel_size: 3 stride: 2 }", [SPATIAL]),
    "Power": ("power_param { scale: 2 shift: -1 }", [SPATIAL]),
    "ReLU": ("", [SPATIAL]),
    "ReLU6": ("", [SPATIAL]),
    "Reduction": ("reduction_param { axis: 1 }", [SPATIAL]),
    "Reshape": ("reshape_param { shape { dim: 0 dim: -1 } }", [SPATIAL]),
    "Scale": ("scale_param { filler { type: 'gaussian' } bias_term: true }", [SPATIAL]),
    "ShuffleChannel": ("shuffle_channel_param { group: 3 }", [SPATIAL]),
    "Sigmoid": ("", [SPATIAL]),
    "Slice": ("slice_param { slice_point: 2 }", [SPATIAL]),
    "Softmax": ("", [SPATIAL]),
    "SpatialDropout": ("", [SPATIAL]),
    "Split": ("", [SPATIAL]),
    "Swish": ("", [SPATIAL]),
    "TanH": ("", [SPATIAL]),
    "Threshold": ("", [SPATIAL]),
    "Tile": ("tile_param { axis: 1 tiles: 2 }", [SPATIAL]),
}


@pytest.fixture(autouse=True)
def _as_it_was(own_layers: None) -> Iterator[None]:
    caffe.set_random_seed(3)
    yield
    caffe.set_engine("auto")


def own_layer(
    base: type[Layer], forward: Callable[..., Any], name: str = "Own", **said: Any
) -> type[Layer]:
    """A registered subclass with another forward."""
    return register(name)(type(name, (base,), {"forward": forward, **said}))


def text(kind: str, settings: str, shapes: list[tuple[int, ...]], tops: int = 1) -> str:
    """A net of a Power layer, the layer in question, and a ReLU in place on its first top."""
    lines = []
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {n}" for n in shape)
        lines.append(
            f"layer {{ name: 'in{i}' type: 'Input' top: 'in{i}' "
            f"input_param {{ shape {{ {dims} }} }} }}"
            f"layer {{ name: 'b{i}' type: 'Power' bottom: 'in{i}' top: 'b{i}' "
            "power_param { scale: 0.5 } }"
        )
    bottoms = " ".join(f"bottom: 'b{i}'" for i in range(len(shapes)))
    names = " ".join(f"top: 't{i}'" for i in range(tops))
    lines.append(f"layer {{ name: 'own' type: '{kind}' {bottoms} {names} {settings} }}")
    lines.append("layer { name: 'relu' type: 'ReLU' bottom: 't0' top: 't0' }")
    return "\n".join(lines)


def doubled_case(kind: str, **said: Any) -> tuple[caffe.Net, caffe.Net]:
    """The net of a layer as it is, and that of a subclass that doubles what it gives."""
    settings, shapes = CASES[kind]
    base = registry()[kind]

    def forward(self: Layer, *inputs: torch.Tensor) -> list[torch.Tensor]:
        return [2 * top for top in as_tensors(base.forward(self, *inputs))]

    own_layer(base, forward, **said)
    tops = 2 if kind == "Slice" else 1
    plain = caffe.Net(text(kind, settings, shapes, tops), caffe.TEST)
    doubled = caffe.Net(text("Own", settings, shapes, tops), caffe.TEST)
    doubled.share_with(plain)
    for name in plain.params:
        if kind in ("BatchNorm", "BN"):
            for blob, value in zip(plain.params[name], (0.5, 2.0, 2.0, 1.5), strict=False):
                blob.data[...] = value
    return plain, doubled


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("said", [{}, {"is_pure": True}], ids=["unknown", "pure"])
@pytest.mark.parametrize("kind", CASES)
def test_a_subclass_with_another_forward_gives_what_it_computes(
    kind: str, said: dict[str, bool], engine: str
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    plain, doubled = doubled_case(kind, **said)
    rng = np.random.default_rng(0)
    caffe.set_engine("layerwise")
    for name in plain.inputs:
        values = rng.normal(size=plain.blobs[name].shape)
        plain.blobs[name].data[...] = doubled.blobs[name].data[...] = values
    expected = {name: 2 * values for name, values in plain.forward().items()}
    caffe.set_engine(engine)
    for _ in range(FORWARDS):
        found = doubled.forward()
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-5 * abs(values).max())
    for name in doubled.inputs:
        halved = doubled.blobs[name.replace("in", "b")].data
        np.testing.assert_allclose(halved, doubled.blobs[name].data / 2, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(registry()))
def test_a_subclass_with_another_forward_promises_nothing(kind: str) -> None:
    base = registry()[kind]
    own = type("Own", (base,), {"forward": lambda self, *inputs: inputs})
    assert own.computes_as is own
    assert all(vars(own)[name] is vars(Layer)[name] for name in PROMISES)
    assert not any(getattr(own, name) for name in OWN_PROMISES)
    assert own not in openvino.kinds()
    assert own not in operation.kinds()
    alike = type("Alike", (base,), {"family": "loss", "backward": lambda self, *given: []})
    assert alike.computes_as is base.computes_as


def test_the_cases_are_those_that_an_engine_knows() -> None:
    told = {
        name
        for name, kind in registry().items()
        if kind.computes_as in openvino.kinds()
        or kind.fresh_tops
        or kind.takes_short_numbers
        or kind.shares
    }
    alike = {"DepthwiseConvolution", "NormalizeBBox", "PriorBox", "Deconvolution3D"}
    assert told <= CASES.keys() | alike


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_that_returns_its_bottom_leaves_its_siblings_alone(engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")

    @register("Bias")
    class Same(Layer):
        is_pure = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    net = caffe.Net(text("Bias", "", [(1, 4)]), caffe.TEST)
    caffe.set_engine(engine)
    values = np.array([[-4.0, -2, 2, 4]])
    for _ in range(FORWARDS):
        assert net.forward(in0=values)["t0"].tolist() == [[0, 0, 1, 2]]
        assert net.blobs["b0"].data.tolist() == [[-2, -1, 1, 2]]


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_a_layer_that_draws_numbers_shows_those_that_the_next_one_saw(engine: str) -> None:
    @register("Noise")
    class Noise(Layer):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.randn_like(x)

    net = caffe.Net(
        text("Noise", "", [(64, 128)])
        + "layer { name: 'twice' type: 'Power' bottom: 't0' top: 'twice' "
        "power_param { scale: 2 } }",
        caffe.TEST,
    )
    caffe.set_engine(engine)
    for _ in range(FORWARDS):
        twice = net.forward(in0=np.zeros((64, 128)))["twice"]
        np.testing.assert_allclose(2 * net.blobs["t0"].data, twice)


@pytest.mark.parametrize("whose", ["layer", "class"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["InnerProduct", "Dropout", "Scale", "Pooling"])
def test_a_forward_that_somebody_replaces_counts(
    kind: str, engine: str, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    settings, shapes = CASES[kind]
    plain, patched = (caffe.Net(text(kind, settings, shapes), caffe.TEST) for _ in range(2))
    patched.share_with(plain)
    values = np.random.default_rng(0).normal(size=shapes[0])
    expected = 2 * plain.forward(in0=values)["t0"]
    layer = patched.layer_dict["own"]
    forward = type(layer).forward
    if whose == "class":
        monkeypatch.setattr(type(layer), "forward", lambda self, *xs: 2 * forward(self, *xs))
    else:
        layer.forward = lambda *xs: 2 * forward(layer, *xs)
    caffe.set_engine(engine)
    for _ in range(FORWARDS):
        found = patched.forward(in0=values)["t0"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["InnerProduct", "Flatten", "Split", "Pooling"])
def test_a_forward_replaced_between_two_forwards_counts_from_then_on(
    kind: str, engine: str
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    settings, shapes = CASES[kind]
    net = caffe.Net(text(kind, settings, shapes), caffe.TEST)
    caffe.set_engine(engine)
    values = np.random.default_rng(0).normal(size=shapes[0])
    once = [net.forward(in0=values)["t0"].copy() for _ in range(FORWARDS)][-1]
    layer = net.layer_dict["own"]
    layer.forward = lambda *xs: [2 * y for y in as_tensors(type(layer).forward(layer, *xs))]
    for _ in range(FORWARDS):
        found = net.forward(in0=values)["t0"]
        np.testing.assert_allclose(found, 2 * once, atol=1e-5 * abs(once).max())
        np.testing.assert_allclose(net.blobs["b0"].data, values / 2, atol=1e-6)
    del layer.forward
    np.testing.assert_allclose(net.forward(in0=values)["t0"], once, atol=1e-5 * abs(once).max())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ReLU", "relu_param { relu6: true }"),
        ("Dropout", "dropout_param { sample_weights_test: true }"),
        ("BatchNorm", "batch_norm_param { scale_bias: true }"),
        ("Pooling", "pooling_param { kernel_size: 3 pad_l: 1 }"),
        ("InnerProduct", "inner_product_param { num_output: 3 normalize: true }"),
    ],
)
def test_the_fields_of_forks_do_not_put_another_class_in_the_place_of_ones_own(
    kind: str, settings: str
) -> None:
    own = own_layer(registry()[kind], lambda self, x, *params: 3 * x)
    net = caffe.Net(text("Own", settings, [(2, 3, 8, 8)]), caffe.TEST)
    assert type(net.layer_dict["own"]) is own


@pytest.mark.parametrize("engine", ENGINES)
def test_a_method_that_a_layer_is_given_for_itself_counts(engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")

    @register("Shifted")
    class Shifted(registry()["Scale"]):  # type: ignore[misc]
        def __init__(self, layer_param: Any) -> None:
            super().__init__(layer_param)
            aligned = self.aligned
            self.aligned = lambda operand, x: aligned(operand, x) + 1

    head = "weight_filler { type: 'xavier' }"
    net = caffe.Net(
        "layer { name: 'in' type: 'Input' top: 'in' input_param { shape { dim: 1 dim: 3 dim: 5 "
        "dim: 5 } } } layer { name: 'c' type: 'Convolution' bottom: 'in' top: 'c' "
        f"convolution_param {{ num_output: 4 kernel_size: 3 {head} }} }} "
        "layer { name: 's' type: 'Shifted' bottom: 'c' top: 'c' }",
        caffe.TEST,
    )
    data = np.random.default_rng(0).normal(size=(1, 3, 5, 5))
    caffe.set_engine("layerwise")
    expected = net.forward(**{"in": data})["c"].copy()
    caffe.set_engine(engine)
    for _ in range(FORWARDS):
        found = net.forward(**{"in": data})["c"]
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_may_give_numbers_of_double_precision(engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")

    @register("Double")
    class Double(Layer):
        is_pure = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.double().contiguous(memory_format=torch.channels_last)

    net = caffe.Net(
        text("Double", "", [(2, 8, 4, 4)]).rpartition("\n")[0]
        + "layer { name: 'pool' type: 'Pooling' bottom: 't0' top: 'pool' "
        "pooling_param { kernel_size: 2 stride: 2 } }",
        caffe.TEST,
    )
    caffe.set_engine(engine)
    x = np.random.default_rng(0).normal(size=(2, 8, 4, 4))
    for _ in range(FORWARDS):
        net.forward(in0=x)
        expected = net.blobs["t0"].data.reshape(2, 8, 2, 2, 2, 2).max((3, 5))
        np.testing.assert_array_equal(net.blobs["pool"].data, expected)


def test_a_promise_may_stand_in_a_mixin() -> None:
    class Pure:
        is_pure = True

    class Own(Pure, Layer):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    assert Own.is_pure


def test_a_subclass_that_computes_alike_keeps_what_was_said() -> None:
    @register("Named")
    class Named(registry()["InnerProduct"]):  # type: ignore[misc]
        """An InnerProduct by another name."""

    assert Named.computes_as is registry()["InnerProduct"].computes_as
    settings, shapes = CASES["InnerProduct"]
    net = caffe.Net(text("Named", settings, shapes), caffe.TEST)
    caffe.set_engine("torch")
    net.forward()
    assert net.explain()[-2:] == ["product", "joined with 'own'"]


def test_of_two_rules_for_one_layer_the_second_is_refused() -> None:
    rules: Rules[Callable[..., int]] = Rules("number")
    rules.rule(registry()["ReLU"])(lambda layer: 1)
    with pytest.raises(ValueError, match="there is a number for ReLU already"):
        rules.rule(registry()["ReLU"])(lambda layer: 2)


def test_a_missing_rule_names_layer_and_type() -> None:
    rules: Rules[Callable[..., int]] = Rules("number")
    rules.rule(registry()["ReLU"], unless=lambda layer: "too small")(lambda layer: 1)
    net = caffe.Net(text("Sigmoid", "", [(1, 4)]), caffe.TEST)
    _, _, sigmoid, relu = net.layers
    with pytest.raises(caffe.NetError, match=r"layer 'own' \(Sigmoid\): no number is known"):
        rules.get(sigmoid)
    with pytest.raises(caffe.NetError, match=r"layer 'relu' \(ReLU\): too small"):
        rules.get(relu)


@pytest.mark.usefixtures("own_layers")
def test_a_gradient_that_is_written_down_is_not_inherited_by_another_forward() -> None:
    @register("Halved")
    class Halved(InnerProduct):
        def forward(self, x: Tensor, *params: Tensor) -> Tensor:
            return super().forward(x, *params) / 2

    @register("Named")
    class Named(InnerProduct):
        family = "loss"

    assert Halved.backward is Layer.backward
    assert Named.backward is InnerProduct.backward
    found = {}
    for kind in ("InnerProduct", "Halved"):
        net = caffe.Net(
            f"""force_backward: true
            layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: [2, 3] }} }} }}
            layer {{ name: "y" type: "{kind}" bottom: "x" top: "y"
                    inner_product_param {{ num_output: 2 }} }}""",
            caffe.TRAIN,
        )
        net.params["y"][0].data[...] = np.arange(6).reshape(2, 3)
        net.forward(x=np.ones((2, 3)))
        net.backward(y=np.ones((2, 2)))
        found[kind] = net.blobs["x"].diff.copy()
    np.testing.assert_allclose(found["Halved"] * 2, found["InnerProduct"])
