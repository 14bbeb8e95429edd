"""Every committed picture can be seen: it is whole, not of one colour, and where it is named."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.helpers.places import REPOSITORY

FOLDERS = [REPOSITORY / "docs", REPOSITORY / "examples"]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
NOTEBOOKS = sorted((REPOSITORY / "examples" / "notebooks").glob("*.ipynb"))
MOST_LINES = 60


def files(ending: str) -> list[Path]:
    return sorted(path for folder in FOLDERS for path in folder.rglob(f"*{ending}"))


def outputs(notebook: Path) -> Iterator[tuple[int, dict]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cells):
        for output in cell.get("outputs", ()):
            yield number, output


def pictures() -> Iterator[tuple[str, bytes]]:
    """All PNGs, those inside notebooks too, by a name for them."""
    for path in files(".png"):
        yield path.name, path.read_bytes()
    for notebook in NOTEBOOKS:
        for number, output in outputs(notebook):
            for kind, content in output.get("data", {}).items():
                assert kind in ("text/plain", "text/html", "image/png"), f"{notebook.name} {kind}"
                if kind == "image/png":
                    yield f"{notebook.stem}, cell {number}", base64.b64decode(content)


def check_png(content: bytes) -> None:
    """Fail where a browser would show something else than what was drawn, or nothing."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        picture.verify()
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        if picture.mode == "P":
            # Pillow draws an index beyond the palette; browsers refuse it, or draw black.
            assert picture.getextrema()[1] < len(picture.getpalette()) // 3
        assert any(low < high for low, high in picture.convert("RGB").getextrema())


def test_every_png_is_whole_and_more_than_one_colour() -> None:
    found = list(pictures())
    assert len(found) > 25
    for name, content in found:
        try:
            check_png(content)
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error


def test_what_a_browser_could_not_show_would_be_found() -> None:
    picture = Image.new("P", (4, 4))
    picture.putpalette(list(range(60)))
    picture.putpixel((1, 1), 20)
    broken, dull = io.BytesIO(), io.BytesIO()
    picture.save(broken, "PNG")
    Image.new("RGB", (4, 4)).save(dull, "PNG")
    for content in (broken.getvalue(), dull.getvalue(), dull.getvalue()[:-20]):
        with pytest.raises((AssertionError, OSError, SyntaxError)):
            check_png(content)


def test_every_svg_is_well_formed() -> None:
    assert files(".svg")
    for path in files(".svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg"), path


def test_pictures_that_pages_and_notebooks_show_are_there() -> None:
    shown = []
    for page in (*PAGES, *NOTEBOOKS):
        for target in re.findall(r"!\[[^\]]*\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name} shows {target}"
            shown.append(target)
    assert len(shown) >= 4


def test_notebooks_show_no_long_listings() -> None:
    for notebook in NOTEBOOKS:
        for number, output in outputs(notebook):
            lines = "".join(output.get("text", "")).splitlines()
            assert len(lines) <= MOST_LINES, f"{notebook.name}, cell {number}"
