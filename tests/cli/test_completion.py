"""What a shell is offered at a tab."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe
from caffe.proto.files import read_net
from tests.helpers.command import caffe_command


def offered(line: str) -> list[str]:
    """What bash shows for the last word of a line, as the installed script asks for it."""
    words = line.split(" ")
    environment = {
        "_CAFFE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return caffe_command(env=environment, prog_name="caffe").stdout.split()


def test_commands_are_offered() -> None:
    assert offered("caffe cl") == ["classify"]


@pytest.mark.parametrize("command", ["classify x.png --model", "fetch", "show", "time -m", "diff"])
def test_models_are_offered_by_their_names(command: str) -> None:
    wanted = [name for name in caffe.zoo.names() if name.startswith("squeezenet")]
    assert offered(f"caffe {command} squeezenet") == wanted


def test_layers_and_blobs_are_those_of_the_net_that_is_named(net: Path) -> None:
    layers = [layer.name for layer in read_net(net).layer]
    assert offered(f"caffe look --net {net} --filters {layers[1][:2]}") == [
        name for name in layers if name.startswith(layers[1][:2])
    ]
    assert "fire2/concat" in offered("caffe look -m squeezenet_v1.1 --blob fire2/")
    assert "stem" in offered("caffe look --filters st")


def test_files_and_folders_are_offered_where_a_net_may_be_named(net: Path) -> None:
    (net.parent / "tiny_folder").mkdir()
    (net.parent / "tiny.jpg").touch()
    assert offered(f"caffe show {net.parent}/tiny") == [str(net), f"{net.parent}/tiny_folder/"]


def test_nothing_is_offered_where_the_net_cannot_be_read() -> None:
    assert offered("caffe look --net nowhere.prototxt --filters co") == []
    assert offered("caffe show nowhere/x") == []
