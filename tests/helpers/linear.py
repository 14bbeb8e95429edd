"""A solver whose gradients are known beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.text import parse_text
from caffe.solver import Solver, get_solver

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" PARAM
        inner_product_param { num_output: 2 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }
"""


def trained(
    settings: str, param: str = "", steps: int = 5
) -> tuple[Solver, NDArray[np.float32], list[NDArray[np.float64]]]:
    """Return a solver of a loss that is linear in its one parameter, which `y` has.

    Parameters
    ----------
    settings : str
        What the solver's text says beside the net.
    param : str
        What the layer's text says of its parameter.
    steps : int
        How many gradients to prepare.

    Returns
    -------
    solver, data, diffs
        The parameter's first values, and the gradient of each step; step i feeds what makes it.
    """
    text = f"net_param {{ {NET.replace('PARAM', param)} }} random_seed: 3 {settings}"
    solver = get_solver(parse_text(text, SolverParameter()))
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(steps, 2, 3)).astype(np.float32)

    def feed() -> None:
        solver.net.blobs["x"].data[...] = inputs[min(solver.iter, steps - 1)]

    solver.add_callback(feed, lambda: None)
    diffs = [np.tile(x.astype(np.float64).sum(0), (2, 1)) for x in inputs]
    return solver, solver.net.params["y"][0].data.copy(), diffs
