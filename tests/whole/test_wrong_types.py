"""Public functions that are given something of another type say so, in an error of ours."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
import caffe.coord_map
import caffe.draw
import caffe.vis
import caffe.zoo
from caffe import attribution, detect
from caffe.errors import ArgumentError, CaffeError
from caffe.proto import caffe_pb2, files, text
from caffe.structure import compare, diagram, outline, summary

NET = """layer { name: "i" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "r" type: "InnerProduct" bottom: "d" top: "r" inner_product_param { num_output: 2 } }
"""
WRONG = [3, None, "x", 2.5, [], {}, object(), b"x", ["a"], [None], np.zeros(3), print]
MODULES = [
    *(caffe.io, caffe.draw, caffe.coord_map, caffe.vis, caffe.zoo, attribution, detect),
    *(files, text, outline, compare, diagram, summary),
]
# What is other packages', works for any object, or would ask the network.
LEFT_OUT = {
    "resize",
    "zoom",
    "fetch",
    "fetch_url",
    "cache_dir",
    "init_log",
    "log",
    "set_multiprocess",
}
HELPERS = {
    *("own_settings", "main_parameters", "quoted", "quoted_all", "check_format", "format_of"),
    *("render", "parts_of", "find_repeats", "shape_text", "check_required", "decode"),
}


def of_modules() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(caffe):
        found = getattr(caffe, name)
        if inspect.isfunction(found) and not name.startswith("_"):
            yield f"caffe.{name}", found
    for module in MODULES:
        for name in getattr(module, "__all__", None) or dir(module):
            found = getattr(module, name)
            own = getattr(found, "__module__", "").startswith(module.__name__)
            if inspect.isfunction(found) and own and not name.startswith("_"):
                yield f"{module.__name__}.{name}", found
    yield "caffe.Net", caffe.Net
    yield "caffe.Classifier", caffe.Classifier
    yield "caffe.Detector", caffe.Detector


def of_objects() -> Iterator[tuple[str, Callable[..., Any]]]:
    for make in (
        lambda: caffe.Net(NET, caffe.TEST),
        lambda: caffe.io.Transformer({"d": (1, 3, 4, 4)}),
    ):
        kind = type(make())
        for name in dir(kind):
            if not name.startswith("_") and inspect.isfunction(getattr(kind, name)):

                def call(*arguments: Any, make: Any = make, name: str = name) -> Any:
                    return getattr(make(), name)(*arguments)

                call.__signature__ = inspect.signature(getattr(make(), name))  # type: ignore[attr-defined]
                yield f"{kind.__name__}.{name}", call
    yield "Blob.reshape", lambda *dims: caffe.Net(NET, caffe.TEST).blobs["d"].reshape(*dims)


FUNCTIONS = {
    name: function
    for name, function in [*of_modules(), *of_objects()]
    if not {*LEFT_OUT, *HELPERS} & {name.rpartition(".")[2]}
    and inspect.signature(function).parameters
}


@pytest.fixture(autouse=True)
def settings_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Some write files of the names that they are given.
    monkeypatch.chdir(tmp_path)
    yield
    caffe.set_engine("auto")
    caffe.set_precision("float32")
    caffe.set_random_seed(1)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_wrong_type_is_an_error_of_ours(function: Callable[..., Any]) -> None:
    places = [p for p in inspect.signature(function).parameters.values() if p.kind <= 1]
    needed = sum(p.default is p.empty for p in places)
    for wrong in WRONG:
        for count in {max(1, needed), len(places)}:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.suppress(CaffeError):
                    function(*[wrong] * count)


def test_what_is_called_with_too_little_is_called_as_python_says() -> None:
    with pytest.raises(ArgumentError, match=r"missing.*'new_dims'"):
        caffe.io.resize_image(np.zeros((2, 2, 3)))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: caffe.io.datum_to_array(3), "datum: int"),
        (lambda: caffe.Net(NET, caffe.TEST).copy_from(3), "path is wanted, not 3"),
        (lambda: caffe.Net(NET, caffe.TEST).share_with(3), "takes a caffe.Net, not int 3"),
        (lambda: caffe.Net(NET, caffe.TEST).forward(blobs=3), "list of blobs' names.* not 3"),
        (lambda: caffe.draw.draw_net("x", "TB"), "caffe_net: str"),
    ],
)
def test_a_wrong_argument_is_a_type_error_that_names_it(call: Callable[[], Any], word: str) -> None:
    with pytest.raises(TypeError, match=word) as caught:
        call()
    assert isinstance(caught.value, CaffeError)


def test_a_message_without_types_is_drawn() -> None:
    pytest.importorskip("pydot")
    net = caffe_pb2.NetParameter(layer=[{"name": "a", "top": ["a"]}])
    assert "a" in caffe.draw.get_pydot_graph(net, "TB").to_string()
