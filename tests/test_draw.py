"""caffe.draw: pictures of nets."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import caffe
import caffe.draw
from caffe.errors import CaffeError, MissingExtraError
from caffe.proto.files import parse_net

pytest.importorskip("pydot")

NET = parse_net("""
name: "small \\"net\\""
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 9 } }
        include { phase: TEST } }
layer { name: "data" type: "DummyData" top: "data" include { phase: TRAIN } }
layer { name: "conv/1:<a>" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 3 }
        convolution_param { num_output: 7 kernel_h: 3 kernel_w: 5 stride: 2 group: 1 dilation: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss"
        include { phase: TRAIN } }
""")


def text(**options: object) -> str:
    return caffe.draw.draw_net(NET, "LR", "dot", **options).decode()  # type: ignore[arg-type]


def graph_of(net_text: str, phase: int | None = None) -> tuple[set[str], set[tuple[str, str]]]:
    """Labels of the nodes and, by these labels, the edges."""
    graph = caffe.draw.get_pydot_graph(parse_net(net_text), "TB", phase=phase)
    names: dict[Any, str] = {}
    for node in graph.get_nodes():
        label = node.get("label")
        names[node.get_name()] = (
            label.split("<b>")[1].split("</b>")[0] if "<b>" in label else f"[{label[1:-1]}]"
        )
    edges = {(names[e.get_source()], names[e.get_destination()]) for e in graph.get_edges()}
    return set(names.values()), edges


def relu(name: str, bottom: str, top: str) -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" }}\n'


def test_a_png_is_a_picture() -> None:
    picture = Image.open(io.BytesIO(caffe.draw.draw_net(NET, "TB")))
    assert picture.format == "PNG"
    assert picture.height > picture.width > 100


def test_rankdir_turns_the_picture() -> None:
    picture = Image.open(io.BytesIO(caffe.draw.draw_net(NET, "LR")))
    assert picture.width > picture.height


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<")]
)
def test_the_file_name_says_the_format(tmp_path: Path, ending: str, start: bytes) -> None:
    path = tmp_path / f"net.v2.{ending}"
    caffe.draw.draw_net_to_file(NET, path)
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_layers_are_told_with_their_parameters() -> None:
    shown = text()
    for fact in ("kernel 3 x 5", "stride 2", "dilation 2", "AVE Pooling", "1 x 3 x 8 x 9"):
        assert f">{fact}<" in shown
    assert '" 7 "' in shown
    assert "lr mult" not in shown


def test_learning_rate_multipliers_are_told_on_demand() -> None:
    assert "lr mult 3, 1" in text(display_lrm=True)


def test_odd_names_survive() -> None:
    svg = caffe.draw.draw_net(NET, "LR", "svg").decode()
    assert "conv/1:&lt;a&gt;" in svg


def test_only_the_layers_of_the_phase_are_drawn() -> None:
    assert "DummyData" not in text(phase=caffe.TEST)
    assert "SoftmaxWithLoss" not in text(phase=caffe.TEST)
    assert ">Input<" not in text(phase=caffe.TRAIN)
    assert "SoftmaxWithLoss" in text(phase=caffe.TRAIN)
    assert all(kind in text() for kind in ("DummyData", "SoftmaxWithLoss", ">Input<"))


def test_layers_in_place_stand_before_their_blob() -> None:
    nodes, edges = graph_of(
        relu("a", "x", "y") + relu("b", "y", "y") + relu("c", "y", "y") + relu("d", "y", "z")
    )
    assert nodes == {"a", "b", "c", "d", "[x]", "[y]", "[z]"}
    assert edges == {
        ("[x]", "a"),
        ("a", "b"),
        ("b", "c"),
        ("c", "[y]"),
        ("[y]", "d"),
        ("d", "[z]"),
    }


def test_a_blob_read_before_it_is_overwritten_keeps_a_node_of_its_own() -> None:
    _, edges = graph_of(relu("a", "x", "y") + relu("early", "y", "z") + relu("b", "y", "y"))
    assert {("a", "[y]"), ("[y]", "early"), ("[y]", "b"), ("b", "[y]")} <= edges


def test_old_nets_are_drawn_like_new_ones() -> None:
    old = """input: "x" input_dim: 1 input_dim: 1 input_dim: 2 input_dim: 2
             layers { name: "a" type: RELU bottom: "x" top: "y" }"""
    message = caffe.proto.caffe_pb2.NetParameter()
    caffe.proto.text.parse_text(old, message)
    shown = caffe.draw.draw_net(message, "LR", "dot").decode()
    assert ">ReLU<" in shown
    assert ">1 x 1 x 2 x 2<" in shown


def test_unknown_formats_and_directions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaffeError, match=r"'tga'.*png, svg, pdf"):
        caffe.draw.draw_net_to_file(NET, tmp_path / "net.tga")
    with pytest.raises(CaffeError, match="no picture format"):
        caffe.draw.draw_net_to_file(NET, tmp_path / "net")
    with pytest.raises(CaffeError, match="'UP'"):
        caffe.draw.draw_net(NET, "UP")
    assert not list(tmp_path.iterdir())


def test_without_graphviz_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match=r"\[draw\]"):
        caffe.draw.draw_net(NET, "LR")


def test_real_nets_are_drawn(shared: Path) -> None:
    for name in ("bvlc_googlenet/train_val", "bvlc_reference_caffenet/train_val"):
        path = shared / "models" / "bvlc_caffe" / "models" / f"{name}.prototxt"
        net = caffe.proto.files.read_net(path)
        assert caffe.draw.draw_net(net, "TB", "svg", phase=caffe.TRAIN).endswith(b"</svg>\n")
