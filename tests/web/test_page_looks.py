"""The page in a real Chromium: graphs, several pictures, nets that are dropped, Back, trainings."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from caffe.proto.text import format_text
from caffe.web.models import Mode
from caffe.web.runs import Runs
from caffe.zoo import nets
from tests.helpers.browsing import (
    choose,
    chromium,
    find,
    find_all,
    needs_browser,
    open_inside,
    resize,
    scheme,
    severe,
    top_class,
    upload,
    view_of,
    wait,
)
from tests.helpers.detectors import painted
from tests.helpers.serving import SMALL_NET, Site, picture, serving, small_offer
from tests.web.test_reasons import areas_offer, detector_offer, encoded
from tests.web.test_runs import TABLE

pytestmark = needs_browser

DROP = """
const data = new DataTransfer();
for (const [name, content] of arguments[0]) {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  data.items.add(new File([bytes], name, { type: name.endsWith(".png") ? "image/png" : "" }));
}
document.body.dispatchEvent(
  new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "run.csv").write_text(TABLE)
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    offers = [small_offer(folder), detector_offer(folder), areas_offer(folder)]
    with serving(offers, runs=Runs([folder / "run.csv"])) as site:
        site.service.load("small")
        yield site


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    resize(browser, 1280)
    scheme(browser, "light")
    browser.get("about:blank")
    browser.get(f"{site.address}/")
    wait(browser, "the models", lambda: find(browser, "#model option"))
    yield browser
    assert not severe(browser)


def drop(browser: Any, *files: tuple[str, bytes]) -> None:
    encoded_files = [[name, base64.b64encode(content).decode()] for name, content in files]
    browser.execute_script(DROP, encoded_files)


def give(browser: Any, folder: Path, content: bytes, name: str = "picture.png") -> str:
    path = folder / name
    path.write_bytes(content)
    return upload(browser, path)


def turn_to(browser: Any, model: str) -> None:
    browser.execute_script(
        "const list = document.getElementById('model'); list.value = arguments[0];"
        "list.dispatchEvent(new Event('change', { bubbles: true }))",
        model,
    )


def test_all_pictures_that_are_dropped_are_taken_and_back_turns_to_the_one_before(
    page: Any,
) -> None:
    drop(page, ("one.png", picture()), ("two.png", picture(9, 30)), ("three.png", picture(30, 9)))
    top_class(page)
    assert len(find_all(page, "#pictures button")) == 3
    assert find(page, "#caption").text == "one.png"
    find_all(page, "#pictures button")[1].click()
    wait(page, "the second", lambda: find(page, "#caption").text == "two.png")
    top_class(page)
    page.back()
    wait(page, "the first", lambda: find(page, "#caption").text == "one.png")
    assert find(page, "#pictures [aria-current]").get_attribute("title") == "one.png"


def test_back_takes_back_a_layer_a_class_and_a_model(page: Any, folder: Path) -> None:
    give(page, folder, picture())
    open_inside(page, "conv")
    view_of(page, "conv")
    choose(page, "relu")
    view_of(page, "relu")
    find(page, "#top .where").click()
    wait(page, "Grad-CAM", lambda: find(page, "#heat").is_displayed())
    turn_to(page, "areas")
    wait(page, "the areas", lambda: "where" in find(page, "#results-title").text)
    page.back()
    wait(page, "the classes", lambda: find_all(page, "#top .where"))
    wait(page, "Grad-CAM again", lambda: "part of the picture" in find(page, "#caption").text)
    page.back()
    wait(page, "no class", lambda: find(page, "#caption").text == "picture.png")
    assert find(page, "#layer-name").text == "relu"
    page.back()
    view_of(page, "conv")


def test_an_old_layer_never_stands_under_a_new_name(page: Any, folder: Path, site: Site) -> None:
    give(page, folder, picture(31, 17))
    open_inside(page, "conv")
    assert len(view_of(page, "conv")) == 4
    hold = threading.Event()
    site.service.worker("small").run(Mode(), lambda _: hold.wait(30))
    try:
        choose(page, "relu")
        assert find(page, "#layer-name").text == "relu"
        assert not find_all(page, "#view .tile")
        assert "relu" in find(page, "#view .loading").text
        # What was seen before comes back at once, though the server is busy.
        choose(page, "conv")
        assert len(view_of(page, "conv")) == 4
    finally:
        hold.set()


def test_boxes_and_areas_are_drawn(page: Any, folder: Path) -> None:
    turn_to(page, "cells")
    assert give(page, folder, encoded(painted()), "painted.png") in ("red", "blue")
    assert len(find_all(page, "#marks .found")) == 2
    names = [element.text for element in find_all(page, "#top .word")]
    assert sorted(names) == ["blue", "red"]
    box = page.execute_script(
        "const [box] = document.querySelectorAll('#marks .found');"
        "const at = box.getBoundingClientRect();"
        "const stage = document.getElementById('shown').getBoundingClientRect();"
        "return [at.width, stage.width]"
    )
    assert 0 < box[0] < box[1] / 4
    turn_to(page, "areas")
    wait(page, "the areas", lambda: find(page, "#heat").is_displayed())
    assert not find_all(page, "#marks .found")


def test_the_graph_is_moved_enlarged_and_clicked(page: Any, folder: Path) -> None:
    pytest.importorskip("pydot", reason="pydot lays out diagrams")
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    give(page, folder, picture())
    open_inside(page, "conv")
    page.execute_script("document.getElementById('as-graph').click()")
    nodes = wait(page, "the graph", lambda: find_all(page, "#graph .node"))
    assert [node.get_attribute("aria-label").split(",")[0] for node in nodes] == [
        "data",
        "conv",
        "fc",
        "prob",
    ]
    place = "return document.querySelector('#graph > g').getAttribute('transform')"
    before = page.execute_script(place)
    find(page, "#nearer").click()
    larger = page.execute_script(place)
    assert larger != before
    canvas = find(page, "#graph")
    ActionChains(page).move_to_element(canvas).move_by_offset(
        -180, 0
    ).click_and_hold().move_by_offset(40, 30).release().perform()
    moved = page.execute_script(place)
    assert moved.split("scale")[1] == larger.split("scale")[1]
    assert moved != larger
    find(page, "#fit").click()
    find_all(page, "#graph .node")[2].click()
    wait(page, "fc", lambda: find(page, "#layer-name").text == "fc")
    page.execute_script("document.querySelector('#graph .chosen').focus()")
    ActionChains(page).send_keys(Keys.ARROW_UP, Keys.ENTER).perform()
    wait(page, "conv", lambda: find(page, "#layer-name").text == "conv")
    mates = find_all(page, "#mates button")
    assert [mate.text for mate in mates] == ["conv", "relu"]
    mates[1].click()
    view_of(page, "relu")


def test_a_net_that_is_dropped_is_shown_and_its_weights_too(page: Any, folder: Path) -> None:
    drop(page, ("mine.prototxt", SMALL_NET.replace('"conv"', '"mine"').encode()))
    wait(page, "the net", lambda: "looked at, not run" in find(page, "#inside-error").text)
    names = [one.get_attribute("data-layer") for one in find_all(page, "#layers button")]
    assert names == ["data", "mine", "relu", "fc", "prob"]
    choose(page, "fc")
    assert ".caffemodel" in find(page, "#view").text
    net, weights = folder / "small.prototxt", folder / "small.caffemodel"
    drop(page, (net.name, net.read_bytes()), (weights.name, weights.read_bytes()))
    wait(page, "the weights", lambda: "small.caffemodel" in find(page, "#inside-error").text)
    choose(page, "conv")
    wait(page, "the filters", lambda: find_all(page, "#view .tile"))
    drop(page, ("broken.prototxt", b"layer {"))
    wait(page, "the refusal", lambda: find(page, "#inside-error [role=alert]"))
    find(page, "#open-inside").click()
    wait(page, "the model", lambda: "small" in find(page, "#totals").text)


def test_the_graph_of_a_deep_net_is_moved_and_clicked(page: Any) -> None:
    pytest.importorskip("pydot", reason="pydot lays out diagrams")
    from selenium.webdriver.common.keys import Keys

    text = format_text(nets.resnet152())
    drop(page, ("resnet152.prototxt", text.encode()))
    wait(page, "the net", lambda: "looked at, not run" in find(page, "#inside-error").text)
    page.execute_script("document.getElementById('as-graph').click()")
    nodes = wait(page, "the graph", lambda: find_all(page, "#graph .node"))
    # Blocks that repeat are one node.
    assert 30 < len(nodes) < 152
    canvas = find(page, "#graph").rect
    width = "return document.querySelector('#graph > g').getBoundingClientRect().width"
    assert page.execute_script(width) <= canvas["width"]
    # Far below what is in sight: the keys lead there.
    nodes[0].send_keys(Keys.END, Keys.ENTER)
    wait(page, "the last", lambda: find(page, "#layer-name").text == "prob")
    last = find(page, "#graph .chosen").rect
    assert canvas["y"] <= last["y"] < canvas["y"] + canvas["height"]


def test_pictures_samples_and_a_second_net_are_chosen_by_keys(page: Any) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(key: str, there: Callable[[Any], bool]) -> Any:
        for _ in range(60):
            ActionChains(page).send_keys(key).perform()
            if there(page.switch_to.active_element):
                return page.switch_to.active_element
        raise AssertionError("the keyboard does not lead there")

    def is_in(what: str) -> Callable[[Any], bool]:
        return lambda one: page.execute_script(f"return !!arguments[0].closest('{what}')", one)

    wait(page, "the samples", lambda: find_all(page, "#samples-list button"))
    press(Keys.TAB, is_in("#samples-list"))
    ActionChains(page).send_keys(Keys.ENTER).perform()
    assert top_class(page)
    drop(page, ("one.png", picture()), ("two.png", picture(9, 30)))
    wait(page, "three", lambda: len(find_all(page, "#pictures button")) == 3)
    page.execute_script("document.getElementById('file').focus()")
    press(Keys.TAB, is_in("#pictures"))
    press(Keys.ARROW_RIGHT, lambda one: one.get_attribute("title") == "two.png")
    ActionChains(page).send_keys(Keys.SPACE).perform()
    wait(page, "the second", lambda: find(page, "#caption").text == "two.png")
    press(Keys.TAB, lambda one: one.get_attribute("id") == "beside")
    ActionChains(page).send_keys(Keys.ARROW_DOWN).perform()
    wait(page, "both", lambda: find(page, "#beside-results").is_displayed())


def test_a_training_is_followed(page: Any, folder: Path) -> None:
    wait(page, "the curves", lambda: len(find_all(page, "#curves figure")) == 3)
    assert "iteration 10" in find(page, "#run-said").text
    with (folder / "run.csv").open("a") as file:
        file.write("20,1.25,0.01,0.9\n")
    wait(page, "the next", lambda: "iteration 20" in find(page, "#run-said").text)
    assert "1.25" in find(page, "#curves figure .legend").text


def test_pictures_to_begin_with(page: Any) -> None:
    sample = wait(page, "the samples", lambda: find_all(page, "#samples-list button"))[0]
    sample.click()
    assert top_class(page)
    assert not find(page, "#samples").is_displayed()
    resize(page, 390)
    assert page.execute_script("return document.documentElement.scrollWidth") == 390


def test_a_list_is_downloaded_as_a_table(page: Any, folder: Path, tmp_path: Path) -> None:
    give(page, folder, picture())
    page.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    find(page, "#results-csv").click()
    (table,) = wait(page, "the table", lambda: list(tmp_path.glob("*.csv")))
    lines = table.read_text().splitlines()
    assert lines[0] == "index,label,probability"
    assert len(lines) == 4
