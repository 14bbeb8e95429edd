"""Pictures of nets for people: what is one node, what is drawn once, and the command."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import caffe
from caffe.errors import CaffeError
from caffe.proto.files import parse_net
from caffe.structure.diagram import Repeat, diagram, draw_outline, find_repeats, parts_of
from caffe.structure.outline import Outline, outline
from caffe.zoo import nets
from tests.helpers.nets import NET

pytest.importorskip("pydot")


BLOCK = """
layer {{ name: "{n}/a" type: "Convolution" bottom: "{b}" top: "{n}/a"
        convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}
layer {{ name: "{n}/b" type: "Convolution" bottom: "{n}/a" top: "{n}/b"
        convolution_param {{ num_output: 4 kernel_size: 1 }} }}
layer {{ name: "{n}" type: "Eltwise" bottom: "{n}/b" bottom: "{b}" top: "{n}" }}
"""

INPUT = """layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 4 dim: 9 dim: 9 } } }"""


def outlined(text: str, phase: int = caffe.TEST) -> Outline:
    return outline(parse_net(text), phase)


def blocks(count: int) -> str:
    names = ["data", *(f"res{i}" for i in range(count))]
    parts = [BLOCK.format(n=n, b=b) for b, n in pairwise(names)]
    return INPUT + "".join(parts)


def drawn(found: Outline, **options: Any) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """The nodes' labels by the layers' names, and the edges between these."""
    graph = diagram(found, **options)
    nodes = {}
    todo = [graph]
    while todo:
        one = todo.pop()
        nodes.update({node.get_name(): node.get("label") for node in one.get_nodes()})
        todo += one.get_subgraphs()
    names = {key: label.split("<b>")[1].split("</b>")[0] for key, label in nodes.items()}
    edges = {(names[e.get_source()], names[e.get_destination()]) for e in graph.get_edges()}
    return {names[key]: label for key, label in nodes.items()}, edges


def test_what_runs_on_a_layers_output_stands_in_its_node() -> None:
    labels, edges = drawn(outlined(NET))
    assert set(labels) == {"data", "conv", "left", "sigmoid", "right", "sum"}
    assert "+ BatchNorm, Scale, ReLU" in labels["conv"]
    # The sigmoid is one of two that read the ReLU's output, so it has a node of its own.
    assert edges == {
        ("data", "conv"),
        ("conv", "left"),
        ("conv", "sigmoid"),
        ("sigmoid", "right"),
        ("left", "sum"),
        ("right", "sum"),
    }


def test_nodes_tell_type_parameters_and_shape() -> None:
    labels, _ = drawn(outlined(NET))
    assert "Convolution 3 x 3, stride 2, pad 1<" in labels["conv"]
    assert ">7 x 5 x 5<" in labels["conv"]
    assert "AVE Pooling 3 x 3<" in labels["left"]
    assert ">1 x 3 x 9 x 9<" in labels["data"]
    assert "Eltwise SUM" in labels["sum"]
    assert "Dropout" not in labels["sum"]
    assert "+ Dropout" in drawn(outlined(NET, caffe.TRAIN))[0]["sum"]


def test_repeated_blocks_are_drawn_once() -> None:
    found = outlined(blocks(5))
    parts = parts_of(found)
    assert find_repeats(parts) == [Repeat(1, 3, 5)]
    labels, edges = drawn(found)
    assert set(labels) == {"data", "res0/a", "res0/b", "res0"}
    assert ("data", "res0") in edges
    text = diagram(found).to_string()
    assert "5 times" in text
    assert "res4" in text
    everything, _ = drawn(found, fold=False)
    assert len(everything) == 16


def test_blocks_that_differ_or_are_read_from_afar_are_not_folded() -> None:
    text = blocks(3).replace("kernel_size: 1 }", "kernel_size: 3 pad: 1 }", 1)
    assert find_repeats(parts_of(outlined(text))) == [Repeat(4, 3, 2)]
    afar = blocks(3) + 'layer { name: "z" type: "TanH" bottom: "res0" top: "z" }'
    assert find_repeats(parts_of(outlined(afar))) == [Repeat(4, 3, 2)]
    # Shapes that are not known make nothing equal.
    unknown = blocks(2).replace("shape { dim: 1 dim: 4 dim: 9 dim: 9 }", "")
    assert find_repeats(parts_of(outlined(unknown))) == [Repeat(1, 3, 2)]
    other = unknown.replace("num_output: 4 kernel_size: 1", "num_output: 9 kernel_size: 1", 1)
    assert find_repeats(parts_of(outlined(other))) == []
    inside = blocks(3) + 'layer { name: "z" type: "TanH" bottom: "res0/a" top: "z" }'
    assert find_repeats(parts_of(outlined(inside))) == [Repeat(4, 3, 2)]


def test_resnet_152_folds_to_its_stages() -> None:
    found = outline(nets.resnet152(), caffe.TEST)
    repeats = find_repeats(parts_of(found))
    assert [(repeat.length, repeat.times) for repeat in repeats] == [
        (4, 2),
        (4, 7),
        (4, 35),
        (4, 2),
    ]
    labels, _ = drawn(found)
    assert len(labels) < 50
    assert "35 times" in diagram(found).to_string()


def test_googlenets_modules_stand_in_frames() -> None:
    text = diagram(outline(nets.googlenet(), caffe.TEST)).to_string()
    assert text.count("subgraph") == 9
    assert 'label="inception_4c"' in text
    assert "_split" not in text


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<")]
)
def test_the_file_name_says_the_format(tmp_path: Path, ending: str, start: bytes) -> None:
    path = tmp_path / f"net.{ending}"
    draw_outline(outlined(NET), path)
    assert path.read_bytes().startswith(start)
    if ending == "png":
        picture = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
        assert picture.height > picture.width > 150
        assert len(picture.getcolors(picture.width * picture.height) or ()) > 20
    if ending == "svg":
        assert b"small &lt;net&gt;" in path.read_bytes()


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaffeError, match="'UP'"):
        diagram(outlined(NET), "UP")
    with pytest.raises(CaffeError, match=r"'tga'.*png, svg, pdf"):
        draw_outline(outlined(NET), tmp_path / "net.tga")
