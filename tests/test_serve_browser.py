"""The page of `caffe serve` in a real Chromium, from the upload to Grad-CAM.

RECAFFE_SCREENSHOTS=docs/images writes the pictures of the documentation there.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .serving import Site, elsewhere, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PATIENCE = 40
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
Find = Callable[[str], Any]

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no chromium with its driver is installed (Debian: chromium chromium-driver)",
)


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
        yield site


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    resize(browser, 1280)
    scheme(browser, "light")
    browser.get("about:blank")
    browser.get(f"{site.address}/")
    wait(browser, "the models", lambda: find(browser, "#model option"))
    yield browser
    problems = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    # A script that failed, or what the page's own policy forbids it.
    assert not [entry for entry in problems if "status of" not in entry["message"]]


def wait(browser: Any, what: str, ready: Callable[[], Any]) -> Any:
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    waiting = WebDriverWait(browser, PATIENCE, 0.1, [WebDriverException, AssertionError])
    return waiting.until(lambda _: ready(), f"waited for {what}")


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def find_all(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def resize(browser: Any, width: int, height: int = 900) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def scheme(browser: Any, name: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def upload(browser: Any, path: Path) -> str:
    find(browser, "#file").send_keys(str(path))
    return top_class(browser)


def top_class(browser: Any) -> str:
    """The name in the first row, once the answer is there."""

    def ready() -> str | None:
        assert find(browser, "#results").get_attribute("aria-busy") is None
        return find(browser, "#top li .word").text

    return str(wait(browser, "the top five", ready))


def open_inside(browser: Any, layer: str) -> None:
    find(browser, "#open-inside").click()
    wait(browser, "the layers", lambda: find_all(browser, "#layers button"))
    choose(browser, layer)


def choose(browser: Any, layer: str) -> None:
    find(browser, f'#layers [data-layer="{layer}"]').click()


def view_of(browser: Any, layer: str) -> list[Any]:
    """The tiles of a layer, once they are there."""

    def ready() -> list[Any]:
        assert find(browser, "#layer-name").text == layer
        assert find(browser, "#view").get_attribute("aria-busy") is None
        return find_all(browser, "#view .tile")

    return list(wait(browser, f"the view of {layer}", ready))


def pixels_of(browser: Any, selector: str) -> int:
    """How many different colours an element has on the screen."""
    from PIL import Image

    picture = Image.open(io.BytesIO(find(browser, selector).screenshot_as_png))
    return len(picture.convert("RGB").getcolors(1 << 24))


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
    take_screenshots(page, tmp_path)


def take_screenshots(page: Any, tmp_path: Path) -> None:
    from PIL import Image

    asked = os.environ.get("RECAFFE_SCREENSHOTS")
    folder = Path(asked) if asked else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        for name in SCHEMES:
            resize(page, width)
            scheme(page, name)
            page.execute_script("scrollTo(0, 0); document.activeElement.blur()")
            # Nothing sticks out to the right.
            assert page.execute_script("return document.documentElement.scrollWidth") == width
            height = page.execute_script("return document.documentElement.scrollHeight")
            resize(page, width, height)
            page.execute_async_script(
                "const done = arguments[0];"
                "requestAnimationFrame(() => requestAnimationFrame(() => done()))"
            )
            path = folder / f"serve-{width}-{name}.png"
            path.write_bytes(page.get_screenshot_as_png())
            with Image.open(path) as picture:
                assert picture.width == width
                shade = picture.convert("L").getpixel((2, 2))
                small = picture.convert("RGB").quantize(256)
            assert shade > 200 if name == "light" else shade < 60
            small.save(path, optimize=True)
    resize(page, 1280)
    scheme(page, "light")
