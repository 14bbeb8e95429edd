"""What a notebook shows of blobs, transformers and predictions; and the example notebooks."""

from __future__ import annotations

import pickle
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.notebook import bar, bars
from caffe.predictions import Predictions
from tests.helpers.places import REPOSITORY

NOTEBOOKS = REPOSITORY / "examples" / "notebooks"
NAMES = (
    "00-classification",
    "01-looking-inside",
    "02-net-surgery",
    "03-your-own-pictures",
    "04-learning-lenet",
)
MOST_BYTES = 1_500_000


class Reader(HTMLParser):
    """Collects the texts of a table's cells, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def texts(html: str) -> list[str]:
    reader = Reader()
    reader.feed(html)
    assert not reader.open
    return reader.texts


def test_predictions_are_a_list_that_prints_as_one() -> None:
    pairs = [("n02 cat", 0.75), ("n03 dog", 0.25)]
    predictions = Predictions(pairs)
    assert predictions == pairs
    assert repr(predictions) == repr(pairs)
    assert isinstance(predictions[:1], Predictions)
    assert predictions[0] == ("n02 cat", 0.75)
    assert pickle.loads(pickle.dumps(predictions)) == pairs


def test_predictions_are_bars_in_a_notebook() -> None:
    html = Predictions([("a <script>", 0.75), ("b & c", 0.25)])._repr_html_()
    assert texts(html) == [
        "Predictions", "probability", "class", "0.7500", "a <script>", "0.2500", "b & c",
    ]  # fmt: skip
    assert "<script>" not in html
    assert re.findall(r"<div style=\"width:(\d+)px;height", html) == ["150", "50"]


def test_classify_returns_predictions() -> None:
    model = caffe.zoo.load()
    predictions = model.classify(np.zeros((224, 224, 3)), top=3)
    assert isinstance(predictions, Predictions)
    assert len(predictions) == 3


def test_a_blob_tells_its_values() -> None:
    blob = caffe.Blob((2, 3))
    blob.data[...] = [[0, 0, 0], [1, 2, 3]]
    assert repr(blob) == "<caffe.Blob 2 x 3>"
    found = texts(blob._repr_html_())
    assert found[0] == "Blob 2 x 3: 6 numbers, 24 bytes"
    assert found[-5:] == ["data", "0", "1", "3", "50%"]
    blob.diff[...] = -1
    assert texts(blob._repr_html_())[-5:] == ["diff", "-1", "-1", "-1", "0%"]


def test_a_blob_that_is_empty_or_not_finite_is_shown_too() -> None:
    assert "empty" in caffe.Blob((0, 3))._repr_html_()
    blob = caffe.Blob((2,))
    blob.data[...] = [np.nan, np.inf]
    assert "2 NaN or infinite" in blob._repr_html_()
    blob.data[0] = 1
    assert "1 NaN or infinite" in blob._repr_html_()
    assert texts(caffe.Blob()._repr_html_())[0] == "Blob scalar: 1 numbers, 4 bytes"


def test_looking_at_a_blob_leaves_it_as_it_is() -> None:
    blob = caffe.Blob((2, 2))
    kept = blob.data
    blob._repr_html_()
    kept[...] = 5
    assert (blob.data == 5).all()


def test_a_transformer_tells_its_steps_in_order() -> None:
    transformer = caffe.io.Transformer({"data": (1, 3, 227, 227), "<x>": (1, 4)})
    assert repr(transformer) == "<caffe.io.Transformer data: resize to 227 x 227 | <x>: as it is>"
    transformer.set_mean("data", np.array([104, 117, 123.5]))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_input_scale("data", 0.5)
    assert repr(transformer) == (
        "<caffe.io.Transformer data: resize to 227 x 227; transpose (2, 0, 1) (channels first); "
        "channel_swap (2, 1, 0) (RGB to BGR); raw_scale times 255; mean less (104, 117, 123.5); "
        "input_scale times 0.5 | <x>: as it is>"
    )
    found = texts(transformer._repr_html_())
    steps = [text for text in found if text in ("mean", "raw_scale", "channel_swap", "transpose")]
    assert steps == ["transpose", "channel_swap", "raw_scale", "mean"]
    assert "<x>" in found
    transformer.set_mean("data", np.full((3, 227, 227), 110))
    assert "less an array of 3 x 227 x 227, 110 on average" in repr(transformer)


def test_bars_stay_within_their_bounds() -> None:
    assert "width:200px;height" in bar(7)
    assert "width:0px;height" in bar(-1)
    assert bars([]).count("<span") == 0
    assert bars([0, 0]).count("height:0px") == 2


# The example notebooks.


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the notebooks use scikit-image's pictures")
    pytest.importorskip("matplotlib", reason="figures need the extra vis")
    nbformat = pytest.importorskip("nbformat", reason="comes with the extra test")
    nbclient = pytest.importorskip("nbclient", reason="comes with the extra test")
    pytest.importorskip("ipykernel", reason="comes with the extra test")
    if name == "04-learning-lenet":
        pytest.importorskip("sklearn", reason="the digits come with the extra training")
        pytest.importorskip("lmdb", reason="writing databases needs the extra lmdb")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    figures = count_figures(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert count_figures(notebook) == figures > 0


def count_figures(notebook) -> int:
    return sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_committed_with_its_outputs_and_no_traces(name: str) -> None:
    nbformat = pytest.importorskip("nbformat", reason="comes with the extra test")
    path = NOTEBOOKS / f"{name}.ipynb"
    assert path.stat().st_size < MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    said = " ".join(
        str(o.get("text", "")) + str(o.get("data", {}).get("text/plain")) for o in outputs
    )
    assert not re.search(r"/(home|root|Users|tmp|work|usr|var|opt)\b|[A-Z]:\\", said)
