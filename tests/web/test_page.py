"""The page of `caffe serve` in a real Chromium, from the upload to Grad-CAM.

RECAFFE_SCREENSHOTS=docs/images writes the pictures of the documentation there.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from caffe.web.models import Mode
from tests.helpers.browsing import (
    chromium,
    find,
    find_all,
    needs_browser,
    open_inside,
    pixels_of,
    resize,
    scheme,
    severe,
    take_screenshots,
    top_class,
    upload,
    view_of,
    wait,
)
from tests.helpers.serving import HOSTILE, Site, elsewhere, picture, serving, small_offer

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
ActionChains = webdriver.ActionChains
pytestmark = needs_browser


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    data = pytest.importorskip("skimage.data", reason="scikit-image has the picture")
    path = tmp_path_factory.mktemp("pictures") / "chelsea.png"
    Image.fromarray(data.chelsea()).save(path)
    return path


@pytest.fixture(scope="module")
def linked(cat: Path) -> Iterator[str]:
    with elsewhere(cat.read_bytes()) as (place, _):
        yield place


@pytest.fixture(scope="module")
def site(linked: str) -> Iterator[Site]:
    with serving(permitted=(linked,)) as site:
        site.service.load(site.service.default)
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


def test_a_cat_is_uploaded_looked_into_and_explained(page: Any, cat: Path, tmp_path: Path) -> None:
    assert upload(page, cat) == "Egyptian cat"
    assert len(find_all(page, "#top li")) == 5
    assert "ms in all" in find(page, "#time").text
    assert "Egyptian cat" in find(page, "#status").get_attribute("textContent")

    open_inside(page, "stem/relu6")
    assert len(view_of(page, "stem/relu6")) == 32
    assert pixels_of(page, "#view .tiles") > 200

    find(page, "#top li .where").click()
    wait(page, "Grad-CAM", lambda: find(page, "#heat").is_displayed())
    wait(
        page,
        "its picture",
        lambda: page.execute_script(
            "const heat = document.getElementById('heat');"
            "return heat.complete && heat.naturalWidth === 224"
        ),
    )
    assert "Egyptian cat" in find(page, "#caption").text
    assert "class=285" in page.current_url
    ActionChains(page).move_to_element(find(page, "#results-title")).perform()
    take_screenshots(page, "serve", tmp_path)
    if find_spec("pydot") is not None:
        page.execute_script("document.getElementById('as-graph').click()")
        wait(page, "the graph", lambda: len(find_all(page, "#graph .node")) > 20)
        take_screenshots(page, "serve-graph", tmp_path, [(1280, "light"), (390, "dark")])


def test_a_permalink_brings_back_picture_layer_and_class(
    page: Any, site: Site, linked: str
) -> None:
    words = f"link=http%3A%2F%2F{linked}%2Fcat.png&layer=block2%2Fexpand&view=filters&class=282"
    page.get("about:blank")
    page.get(f"{site.address}/#{words}")
    assert top_class(page) == "Egyptian cat"
    assert len(view_of(page, "block2/expand")) == 1
    wait(page, "Grad-CAM", lambda: "tiger cat" in find(page, "#caption").text)
    assert find(page, '#top [data-class="282"]').get_attribute("aria-pressed") == "true"
    assert find(page, "#tab-filters").get_attribute("aria-selected") == "true"
    for word in (
        "layer=block2%2Fexpand",
        "view=filters",
        "class=282",
        f"{linked.replace(':', '%3A')}%2Fcat.png",
    ):
        assert word in page.current_url

    find(page, "#whole").click()
    assert "class=" not in page.current_url


def test_what_is_mistyped_in_a_permalink_is_as_if_it_were_not_said(
    page: Any, site: Site, cat: Path
) -> None:
    page.get("about:blank")
    page.get(f"{site.address}/#layer=stem&view=sideways&class=cat&scale=all")
    upload(page, cat)
    assert len(view_of(page, "stem")) == 32
    assert not find_all(page, "[role=alert]")
    assert find(page, "#scale").get_attribute("value") == "all"
    assert "for all maps" in find(page, "#view .fine").text


def test_pictures_are_pasted_and_dropped(page: Any, cat: Path) -> None:
    give = """
        const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "given.png", { type: "image/png" }));
        const event = arguments[0] === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
    """
    content = base64.b64encode(cat.read_bytes()).decode()
    for way in ("paste", "drop"):
        page.refresh()
        wait(page, "the models", lambda: find(page, "#model option"))
        page.execute_script(give, way, content)
        assert top_class(page) == "Egyptian cat", way


def test_a_link_that_is_refused_and_a_file_that_is_no_picture(
    page: Any, cat: Path, tmp_path: Path
) -> None:
    find(page, "#link").send_keys("127.0.0.1:1/cat.png\n")
    error = wait(page, "the refusal", lambda: find(page, "#results [role=alert]"))
    assert "public internet" in error.text
    text = tmp_path / "text.png"
    text.write_text("no picture")
    find(page, "#file").send_keys(str(text))
    wait(page, "the error", lambda: "no picture" in find(page, "#results [role=alert]").text)
    assert upload(page, cat) == "Egyptian cat"
    assert not find_all(page, "#results [role=alert]")


def test_a_format_that_browsers_do_not_show_is_shown_as_the_net_sees_it(
    page: Any, cat: Path, tmp_path: Path
) -> None:
    from PIL import Image

    Image.open(cat).save(tmp_path / "cat.tiff")
    assert upload(page, tmp_path / "cat.tiff") == "Egyptian cat"
    width = "return document.getElementById('shown').naturalWidth"
    wait(page, "the picture", lambda: page.execute_script(width) == 224)
    assert "as the net sees it" in find(page, "#caption").text
    upload(page, cat)
    wait(page, "the other picture", lambda: page.execute_script(width) == 451)
    assert find(page, "#caption").text == "chelsea.png"


def test_what_is_enlarged_stays_in_sight_on_a_phone(page: Any, cat: Path) -> None:
    resize(page, 390)
    upload(page, cat)
    open_inside(page, "stem")
    last = view_of(page, "stem")[-1]
    page.execute_script("arguments[0].scrollIntoView({block: 'end'})", last)
    last.click()
    assert find(page, ".loupe strong").text == "map 31"
    place = page.execute_script("return document.querySelector('.loupe').getBoundingClientRect()")
    assert place["top"] >= 0
    assert place["bottom"] <= 900

    find(page, "#find").send_keys("no such layer")
    assert find(page, "#none-found").is_displayed()


def test_the_keyboard_is_enough(page: Any, cat: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    def active() -> Any:
        return page.switch_to.active_element

    def press(key: str) -> Any:
        ActionChains(page).send_keys(key).perform()
        return active()

    upload(page, cat)
    stops = []
    for _ in range(60):
        stop = press(Keys.TAB)
        stops.append(stop.get_attribute("id") or stop.get_attribute("class"))
        outline = page.execute_script(
            "const at = document.activeElement;"
            "const label = at.type === 'file' || at.type === 'radio';"
            "return getComputedStyle(label ? at.nextElementSibling : at).outlineStyle"
        )
        assert outline != "none", stops[-1]
        if stops[-1] == "open-inside":
            break
    for one in ("model", "file", "link", "where", "class"):
        assert one in stops
    press(Keys.ENTER)
    view_of(page, "stem")
    while press(Keys.TAB).get_attribute("data-layer") is None:
        assert active().get_attribute("id") != ""
    assert press(Keys.ARROW_DOWN).get_attribute("data-layer") == "stem/bn"
    press(Keys.ENTER)
    view_of(page, "stem/bn")
    page.execute_script("document.querySelector('#view .tile').focus()")
    press(Keys.ARROW_RIGHT)
    assert active().get_attribute("aria-label").startswith("map 1: ")
    assert find(page, ".loupe strong").text == "map 1"
    press(Keys.END)
    assert find(page, ".loupe strong").text == "map 31"


def test_options_change_how_it_is_classified(page: Any, cat: Path, site: Site) -> None:
    upload(page, cat)
    gpu = find(page, "#devices input[value=gpu]")
    reason = site.service.devices[1]["reason"]
    assert gpu.is_enabled() == (reason is None)
    if reason is not None:
        find(page, "#why summary").click()
        assert find(page, "#why-text").text.lower() == reason.lower()
    usable = [option for option in find_all(page, "#precision option") if option.is_enabled()]
    assert usable[0].text == "float32"
    if len(usable) > 1:
        name = usable[1].get_attribute("value")
        usable[1].click()
        wait(page, "the address", lambda: f"precision={name}" in page.current_url)
        assert top_class(page) == "Egyptian cat"
        find(page, "#classify-json").click()
        assert f'"precision": "{name}"' in find(page, "#json-text").text
        assert f"precision={name}" in find(page, "#json-command").text


def test_labels_stay_text(browser: Any, tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)]) as small:
        browser.get(f"{small.address}/")
        given = tmp_path / "picture.png"
        given.write_bytes(picture())
        upload(browser, given)
        words = {element.text for element in find_all(browser, "#top .word")}
        assert words == {HOSTILE, "<b>bold</b>", "plain"}
        open_inside(browser, "fc")
        view_of(browser, "fc")
        wait(browser, "the values", lambda: HOSTILE in find(browser, ".highest").text)
        for where in find_all(browser, "#top .where"):
            where.click()
            wait(browser, "Grad-CAM", lambda: "speak" in find(browser, "#caption").text)
        assert len(find_all(browser, "script")) == 1
        assert not find_all(browser, "main b")


def test_a_busy_server_is_waited_for(browser: Any, tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], queue=1) as small:
        browser.get(f"{small.address}/")
        wait(browser, "the models", lambda: find(browser, "#model option"))
        small.ask("/classify", picture())
        hold = threading.Event()
        small.service.worker("small").run(Mode(), lambda _: hold.wait(20))
        other = threading.Thread(target=small.ask, args=("/classify", picture()))
        other.start()
        given = tmp_path / "picture.png"
        given.write_bytes(picture())
        find(browser, "#file").send_keys(str(given))
        wait(browser, "the news", lambda: "busy" in find(browser, "#loading-text").text)
        hold.set()
        other.join()
        assert top_class(browser)


def test_the_description_is_a_page(browser: Any, site: Site) -> None:
    browser.get(f"{site.address}/docs")
    wait(browser, "the addresses", lambda: find_all(browser, ".address"))
    paths = [element.text for element in find_all(browser, ".address h2 code")]
    assert paths == list(site.ask("/openapi.json").json["paths"])
