"""What a layer's class says of it: its parameter message, and a forward of its own."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

import pytest
from google.protobuf.message import Message
from typing_extensions import NoDefault, get_original_bases

import caffe
from caffe.layers.layer import Layer, register
from caffe.layers.registry import create, registry
from caffe.proto.caffe_pb2 import LayerParameter, PowerParameter
from fuzz import layers as cases

BUILT_IN = sorted(
    {cls for cls in registry().values() if cls.__module__.startswith("caffe.layers.")},
    key=lambda cls: cls.__qualname__,
)


def declared_messages(cls: type) -> tuple[type[Message], ...]:
    """The classes that the nearest ``Layer[...]`` among the bases gives `param`, or none."""
    for parent in cls.__mro__:
        for base in get_original_bases(parent) if "__orig_bases__" in vars(parent) else ():
            for given in get_args(base):
                if isinstance(given, TypeVar):
                    given = getattr(given, "__default__", NoDefault)
                found = get_args(given) or (given,)
                if all(isinstance(each, type) and issubclass(each, Message) for each in found):
                    return found
    return ()


@pytest.mark.parametrize("cls", BUILT_IN, ids=lambda cls: cls.__qualname__)
def test_a_layer_declares_the_message_that_it_reads(cls: type[Layer]) -> None:
    declared = declared_messages(cls)
    if cls.message is None:
        assert declared == ()
    else:
        assert type(getattr(LayerParameter(), cls.message)) in declared


@pytest.mark.parametrize(
    ("layer", "before", "now", "refusal"),
    [
        ('"Scale" scale_param { axis: 0 bias_term: true }', [(4, 2), (4,)], [(5, 2), (5,)], "bias"),
        # By broadcasting there would be an answer, of a shape that the top has not.
        ('"Scale" scale_param { axis: 0 bias_term: true }', [(4, 2), (4,)], [(1, 2), (1,)], "bias"),
        ('"Softmax" softmax_param { axis: 2 }', [(2, 3, 4)], [(2, 3)], "axis"),
        ('"PReLU"', [(2, 3)], [(3,)], "channel"),
        ('"Local" local_param { num_output: 1 kernel_size: 2 }', [(1, 2, 3, 3)], [(1, 1, 3, 3)],
         "channels"),
        ('"BatchNorm"', [(3,)], [()], "axes"),
        ('"MultiStageMeanfield" multi_stage_meanfield_param { num_iterations: 2 theta_alpha: 3 '
         'theta_beta: 1 theta_gamma: 1 }', [(1, 2, 3, 2)] * 2 + [(1, 3, 3, 2)],
         [(1, 3, 3, 2)] * 3, "classes"),
        ('"CTCLoss"', [(4, 2, 3), (4, 2), (4, 2)], [(4, 2, 3), (4, 2), (4, 2, 2)], "labels"),
        ('"CTCLoss"', [(4, 2, 3), (2,), (2,), (4, 2)], [(4, 2, 3), (2,), (3,), (4, 2)], "lengths"),
    ],
)  # fmt: skip
def test_bottoms_of_shapes_that_a_layer_was_not_made_for_are_refused(
    layer: str, before: list[tuple[int, ...]], now: list[tuple[int, ...]], refusal: str
) -> None:
    names = [f"b{i}" for i in range(len(before))]
    heads = "".join(cases.given(*item) for item in zip(names, before, strict=True))
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    net = caffe.Net(f'{heads} layer {{ name: "l" type: {layer} {bottoms} top: "t" }}', caffe.TEST)
    for name, shape in zip(names, now, strict=True):
        net.blobs[name].reshape(*shape)
    with pytest.raises(caffe.CaffeError, match=refusal) as caught:
        net.forward()
    # The layer's own words, and not those of what computes it.
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, caffe.CaffeError)


@pytest.mark.usefixtures("own_layers")
@pytest.mark.parametrize("base", [Layer, Layer[PowerParameter]], ids=["bare", "of a message"])
def test_a_layer_of_a_notebook_needs_no_more_than_a_forward(base: Any) -> None:
    @register("OfANotebook")
    class OfANotebook(base):
        message = "power_param"

        def forward(self, x):  # type: ignore[no-untyped-def]
            return x + self.param.shift

    net = caffe.Net(
        'input: "x" input_shape { dim: 2 }'
        'layer { name: "y" type: "OfANotebook" bottom: "x" top: "y" power_param { shift: 3 } }',
        caffe.TEST,
    )
    net.blobs["x"].data[:] = 1, 2
    assert net.forward()["y"].tolist() == [4, 5]


@pytest.mark.usefixtures("own_layers")
def test_a_layer_without_a_forward_is_named() -> None:
    @register("Unfinished")
    class Unfinished(Layer):
        pass

    layer = create(LayerParameter(name="half", type="Unfinished"))
    with pytest.raises(NotImplementedError, match=r"'half'.*Unfinished.*no forward"):
        layer.forward()
