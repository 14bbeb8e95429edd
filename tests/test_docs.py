"""The generated pages are current, and the README's commands exist."""

from __future__ import annotations

import subprocess
import sys

from .conftest import REPOSITORY


def test_the_table_of_layers_is_current() -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs" / "make_layers.py", "--check"], check=True)


def test_the_makefile_has_the_readmes_commands() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command}" in readme
        assert f"\n{command}:" in makefile


def test_the_layer_of_the_guide_works() -> None:
    guide = (REPOSITORY / "docs" / "adding-a-layer.md").read_text(encoding="utf-8")
    code = guide.split("```python\n")[1].split("```")[0]
    program = (
        "from __future__ import annotations\n"
        "import torch, caffe, numpy as np\n"
        "import torch.nn.functional as F\n"
        "from torch import Tensor\n"
        "from caffe.layers.layer import Layer, register\n" + code + "\n"
        'net = caffe.Net(\'layer { name: "x" type: "Input" top: "x" input_param { shape'
        ' { dim: 1 } } } layer { name: "m" type: "Softsign" bottom: "x" top: "x" }\', caffe.TEST)\n'
        "assert abs(float(net.forward(x=np.ones(1))['x'][0]) - 0.5) < 1e-5\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
