"""The generated pages are current, and the README's commands exist."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import caffe
from tests.helpers.places import REPOSITORY


def test_the_table_of_layers_is_current() -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs" / "make_layers.py", "--check"], check=True)


def test_the_table_of_what_goes_out_is_current() -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs" / "make_interop.py", "--check"], check=True)


def test_the_mean_beside_the_package_is_made_of_the_published_means() -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs" / "make_mean.py", "--check"], check=True)


def test_the_table_of_pycaffes_names_is_current() -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs" / "make_pycaffe.py", "--check"], check=True)


def test_the_makefile_has_the_readmes_commands() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command}" in readme
        assert f"\n{command}:" in makefile


def test_the_architectures_guide_names_what_is_there() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("## I want to change ...\n")[1].split("\n## ")[0]
    named = re.findall(r"`([\w/]+(?:/|\.py|\.proto|\.toml))`", table)
    assert len(named) > 40
    for path in named:
        places = (REPOSITORY / path, REPOSITORY / "src" / "caffe" / path)
        assert any(place.exists() for place in places), path


def test_the_layer_of_the_guide_works() -> None:
    guide = (REPOSITORY / "docs" / "adding-a-layer.md").read_text(encoding="utf-8")
    code, rule = (part.split("```")[0] for part in guide.split("```python\n")[1:3])
    engines = ["torch", *(["openvino"] if find_spec("openvino") else [])]
    program = (
        "from __future__ import annotations\n"
        "import torch, caffe, numpy as np\n"
        "import torch.nn.functional as F\n"
        "from torch import Tensor\n"
        "from caffe.layers.layer import Layer, register\n"
        "from caffe.layers.translation import Graph, Value, openvino\n" + code + "\n" + rule + "\n"
        'net = caffe.Net(\'layer { name: "x" type: "Input" top: "x" input_param { shape'
        ' { dim: 1 } } } layer { name: "m" type: "Softsign" bottom: "x" top: "x" }\', caffe.TEST)\n'
        f"for engine in {engines}:\n"
        "    caffe.set_engine(engine)\n"
        "    assert abs(float(net.forward(x=np.ones(1))['x'][0]) - 0.5) < 1e-5\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.usefixtures("own_layers")
def test_the_examples_of_the_docstrings_are_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    attempted = 0
    for module in pkgutil.walk_packages(caffe.__path__, "caffe."):
        # Importing it would run the command.
        if module.name == "caffe.__main__":
            continue
        results = doctest.testmod(
            importlib.import_module(module.name),
            extraglobs={"caffe": caffe, "np": np},
            optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
        )
        assert not results.failed, module.name
        attempted += results.attempted
    assert attempted > 0
