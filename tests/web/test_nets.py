"""Nets that are sent to be looked at: shown, not run, and no file that they name is opened."""

from __future__ import annotations

import builtins
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

import caffe
from caffe.proto.caffe_pb2 import LayerParameter
from caffe.web.nets import HARMLESS, MOST_LAYERS, SentNet, read_net, structure
from tests.helpers.serving import SMALL_NET, Site, serving, small_offer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving([small_offer(tmp_path_factory.mktemp("net"))]) as site:
        yield site


def send(site: Site, path: str, net: bytes, weights: bytes | None = None, **query: Any) -> Any:
    parts = {"net": net} | ({} if weights is None else {"weights": weights})
    body = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\n%s\r\n'
        % (name.encode(), content)
        for name, content in parts.items()
    )
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    return site.ask(path, body + b"--edge--\r\n", headers, **query)


def test_layers_shapes_weights_and_diagram_of_a_net_are_shown(site: Site, tmp_path: Path) -> None:
    small_offer(tmp_path)
    weights = (tmp_path / "small.caffemodel").read_bytes()
    answer = send(site, "/nets", SMALL_NET.encode(), weights).json
    assert [layer["name"] for layer in answer["layers"]] == ["data", "conv", "relu", "fc", "prob"]
    conv = answer["layers"][1]
    assert (conv["shapes"], conv["parameter_shapes"]) == ([[1, 4, 6, 6]], [[4, 3, 3, 3], [4]])
    assert answer["weights"] == 2
    found = send(site, "/nets/filters", SMALL_NET.encode(), weights, layer="fc", blob=1).json
    net = caffe.Net(tmp_path / "small.prototxt", caffe.TEST, weights=tmp_path / "small.caffemodel")
    assert found["values"] == pytest.approx(net.params["fc"][1].data.tolist())
    refused = send(site, "/nets/filters", SMALL_NET.encode(), weights, layer="relu")
    assert refused.code == "no_filters"
    pytest.importorskip("pydot", reason="pydot lays out diagrams")
    graph = send(site, "/nets/graph", SMALL_NET.encode()).json
    assert [node["layers"] for node in graph["nodes"]] == [
        ["data"],
        ["conv", "relu"],
        ["fc"],
        ["prob"],
    ]
    assert len(graph["edges"]) == 3
    assert site.ask("/models/small/graph").json["nodes"] == graph["nodes"]


@pytest.mark.parametrize(
    ("net", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"layer {", 400, "bad_net"),
        (b"\x89PNG\r\n", 400, "bad_net"),
        (b'net: "train.prototxt" base_lr: 0.1', 400, "bad_net"),
        (b'name: "nothing"', 400, "bad_net"),
        (b"#" * (3 << 20), 413, "too_large"),
        (b'layer { type: "ReLU" bottom: "a" top: "a" }\n' * (MOST_LAYERS + 1), 413, "too_large"),
    ],
)
def test_what_is_no_net_is_refused(site: Site, net: bytes, status: int, code: str) -> None:
    answer = send(site, "/nets", net)
    assert (answer.status, answer.code) == (status, code)


def test_damaged_weights_and_what_is_no_form_are_refused(site: Site) -> None:
    assert send(site, "/nets", SMALL_NET.encode(), b"\x00damaged").code == "bad_net"
    assert site.ask("/nets", SMALL_NET.encode()).code == "bad_form"


STRANGERS = """
layer { name: "d" type: "Data" top: "d" top: "l" data_param { source: "SECRET" batch_size: 2 } }
layer { name: "i" type: "ImageData" top: "e" top: "m" image_data_param { source: "SECRET" } }
layer { name: "h" type: "HDF5Data" top: "f" hdf5_data_param { source: "SECRET" batch_size: 1 } }
layer { name: "w" type: "WindowData" top: "g" top: "n" window_data_param { source: "SECRET" } }
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } }
  transform_param { mean_file: "SECRET" } }
layer { name: "y" type: "DummyData" top: "y" dummy_data_param { shape { dim: 1 } } }
layer { name: "loss" type: "InfogainLoss" bottom: "x" bottom: "y" top: "loss"
  infogain_loss_param { source: "SECRET" } }
layer { name: "p" type: "Python" bottom: "x" top: "p"
  python_param { module: "strangers_layer" layer: "Layer" param_str: "SECRET" } }
layer { name: "out" type: "HDF5Output" bottom: "x" hdf5_output_param { file_name: "SECRET" } }
"""


def test_no_file_that_a_net_names_is_opened_and_no_module_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    ran: list[str] = []

    class Layer(caffe.Layer):
        def setup(self, bottom: Any, top: Any) -> None:
            ran.append(self.param_str)

        def reshape(self, bottom: Any, top: Any) -> None:
            top[0].reshape(1)

    # Not even a module that the server's own net has imported.
    module = type(sys)("strangers_layer")
    module.Layer = Layer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "strangers_layer", module)
    opened: list[str] = []
    original = builtins.open

    def noted(file: Any, *args: Any, **options: Any) -> Any:
        opened.append(str(file))
        return original(file, *args, **options)

    monkeypatch.setattr(builtins, "open", noted)
    text = STRANGERS.replace("SECRET", str(secret))
    found = structure(read_net(SentNet(text.encode())))
    assert len(found["layers"]) == 9
    assert not [name for name in opened if "secret" in name]
    assert ran == []
    assert str(secret) not in str(found["notes"])
    assert not secret.exists()


def test_every_text_of_a_layer_that_is_left_names_no_file() -> None:
    """A field that is added to the schema is taken out, unless it is said to be harmless."""
    seen: set[str] = set()
    left: set[str] = set()

    def look(descriptor: Descriptor) -> None:
        if descriptor.full_name in seen:
            return
        seen.add(descriptor.full_name)
        for field in descriptor.fields:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                look(field.message_type)
            elif field.type == FieldDescriptor.TYPE_STRING and field.name in HARMLESS:
                left.add(f"{descriptor.name}.{field.name}")

    for field in LayerParameter.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            look(field.message_type)
    assert not [name for name in left if "file" in name.lower() or "source" in name.lower()]
    assert {"ParamSpec.name", "NetStateRule.stage"} <= left


def test_huge_shapes_take_no_memory() -> None:
    text = """layer { name: "x" type: "Input" top: "x"
      input_param { shape { dim: 1 dim: 3 dim: 20000 dim: 20000 } } }
    layer { name: "c" type: "Convolution" bottom: "x" top: "c"
      convolution_param { num_output: 5 kernel_size: 99 } }
    layer { name: "f" type: "InnerProduct" bottom: "x" top: "f"
      inner_product_param { num_output: 1 } }"""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = structure(read_net(SentNet(text.encode())))
    assert found["layers"][1]["shapes"] == [[1, 5, 19902, 19902]]
    assert found["layers"][2]["parameters"] == 3 * 20000**2 + 1
    # KiB: each of these blobs would take gigabytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
