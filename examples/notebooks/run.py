"""Run the notebooks and write their outputs into them; to be done after one was changed.

python examples/notebooks/run.py                    # all
python examples/notebooks/run.py 01-looking-inside  # one
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent


def run(path: Path) -> nbformat.NotebookNode:
    """Return the notebook with the outputs of a run from top to bottom.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, record_timing=False, resources={"metadata": {"path": FOLDER}}
    )
    client.execute()
    # What else a kernel tells of itself would only be noise between two versions.
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def shrink_pictures(notebook: nbformat.NotebookNode) -> None:
    """Bring the figures to 256 colours each: a third of the bytes, and hardly another picture."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    for data in (output.data for output in outputs if "data" in output):
        if "image/png" in data:
            content = io.BytesIO(base64.b64decode(data["image/png"]))
            picture = Image.open(content).convert("RGB")
            # Of Pillow's ways this one leaves a figure's white ground white.
            reduced = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
            small = io.BytesIO()
            reduced.save(small, format="png", optimize=True)
            data["image/png"] = base64.b64encode(small.getvalue()).decode()


def main(names: list[str]) -> None:
    """Run the notebooks of these names."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            notebook = run(path)
            shrink_pictures(notebook)
            nbformat.write(notebook, path)
            print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
