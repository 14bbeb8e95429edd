"""Whom the page keeps out: axe-core on all of it, wide and narrow, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from caffe.web.runs import Runs
from tests.helpers.browsing import (
    SCHEMES,
    WIDTHS,
    chromium,
    find,
    find_all,
    needs_browser,
    open_inside,
    resize,
    scheme,
    upload,
    view_of,
    wait,
)
from tests.helpers.serving import SMALL_NET, picture, serving, small_offer
from tests.web.test_runs import TABLE

pytestmark = needs_browser


@pytest.fixture(scope="module")
def axe() -> str:
    spec = find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core-python, which brings axe-core, is not installed")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "run.csv").write_text(TABLE)
    given = folder / "picture.png"
    given.write_bytes(picture())
    offers = [small_offer(folder), small_offer(folder, "other", SMALL_NET)]
    with (
        serving(offers, runs=Runs([folder])) as site,
        chromium(tmp_path_factory.mktemp("chromium")) as browser,
    ):
        browser.get(f"{site.address}/")
        wait(browser, "the trainings", lambda: find_all(browser, "#curves figure"))
        yield browser, given


def problems(browser: Any, axe: str) -> list[str]:
    browser.execute_script(axe)
    found = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, { resultTypes: ['violations'] }).then((all) => done(all.violations))"
    )
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def look(browser: Any, axe: str) -> None:
    for width in WIDTHS:
        for colours in SCHEMES:
            resize(browser, width)
            scheme(browser, colours)
            assert problems(browser, axe) == [], (width, colours)


def test_nobody_is_kept_out(page: Any, axe: str) -> None:
    browser, given = page
    look(browser, axe)
    upload(browser, given)
    browser.execute_script(
        "const list = document.getElementById('beside'); list.value = 'other';"
        "list.dispatchEvent(new Event('change'))"
    )
    wait(browser, "the other model", lambda: len(find_all(browser, "#beside-top .share")) == 3)
    open_inside(browser, "relu")
    view_of(browser, "relu")
    find(browser, "#top .where").click()
    wait(browser, "Grad-CAM", lambda: "part of the picture" in find(browser, "#caption").text)
    look(browser, axe)
    if find_spec("pydot") is not None:
        browser.execute_script("document.getElementById('as-graph').click()")
        wait(browser, "the graph", lambda: find_all(browser, "#graph .node"))
        look(browser, axe)
