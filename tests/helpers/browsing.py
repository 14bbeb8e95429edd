"""A real Chromium, and what is done and waited for on the page."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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

needs_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no chromium with its driver is installed (Debian: chromium chromium-driver)",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with a profile of its own."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def severe(browser: Any) -> list[Any]:
    """Scripts that failed, and what the page's own policy forbade it."""
    problems = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return [entry for entry in problems if "status of" not in entry["message"]]


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
        return [find(browser, "#view"), *find_all(browser, "#view .tile")]

    return list(wait(browser, f"the view of {layer}", ready))[1:]


def pixels_of(browser: Any, selector: str) -> int:
    """How many different colours an element has on the screen."""
    from PIL import Image

    picture = Image.open(io.BytesIO(find(browser, selector).screenshot_as_png))
    return len(picture.convert("RGB").getcolors(1 << 24))


def take_screenshots(
    page: Any, name: str, folder: Path, views: Sequence[tuple[int, str]] | None = None
) -> None:
    """Take the page whole, in widths and schemes; where RECAFFE_SCREENSHOTS says, if it does."""
    from PIL import Image

    asked = os.environ.get("RECAFFE_SCREENSHOTS")
    folder = Path(asked) if asked else folder
    folder.mkdir(parents=True, exist_ok=True)
    for width, colours in views or [(width, one) for width in WIDTHS for one in SCHEMES]:
        resize(page, width)
        scheme(page, colours)
        page.execute_script("scrollTo(0, 0); document.activeElement.blur()")
        # Nothing sticks out to the right.
        assert page.execute_script("return document.documentElement.scrollWidth") == width
        height = page.execute_script("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        options = {"captureBeyondViewport": True, "clip": clip}
        shot = page.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
        with Image.open(io.BytesIO(base64.b64decode(shot))) as whole:
            assert whole.size == (width, height)
            shade = whole.convert("L").getpixel((2, 2))
            plain = whole.convert("RGB")
            # 256 colours are enough for documents, and a third of the bytes.
            small = plain.quantize(palette=plain.quantize(256))
        assert shade > 200 if colours == "light" else shade < 60
        small.save(folder / f"{name}-{width}-{colours}.png", optimize=True)
    resize(page, 1280)
    scheme(page, "light")
