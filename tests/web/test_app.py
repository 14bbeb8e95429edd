"""`caffe serve` over real HTTP: classes, a look inside, batches, full queues."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.web.app import routes
from caffe.web.models import Mode, from_zoo
from caffe.web.samples import titles
from tests.helpers.serving import (
    HOSTILE,
    SMALL_NET,
    Site,
    picture,
    serving,
    small_offer,
    wait_until,
)

MODEL = "efficientnet_lite0"
EGYPTIAN_CAT = 285


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving([small_offer(tmp_path_factory.mktemp("net"))]) as site:
        yield site


@pytest.fixture(scope="module")
def chelsea() -> bytes:
    data = pytest.importorskip("skimage.data", reason="scikit-image has the picture")
    stream = io.BytesIO()
    Image.fromarray(data.chelsea()).save(stream, "PNG")
    return stream.getvalue()


def form(field: str, content: bytes, filename: str | None = "cat.png") -> tuple[bytes, Any]:
    """A multipart form with one part."""
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"{named}\r\n\r\n'
    body = head.encode() + content + b"\r\n--edge--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


def pixels(address: str) -> np.ndarray:
    """The picture of a data address."""
    head, _, content = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_a_cat_is_recognised_as_the_command_does(site: Site, chelsea: bytes) -> None:
    answer = site.ask("/classify", chelsea, {"Content-Type": "image/png"}, seen="yes")
    assert answer.status == 200
    found = answer.json["predictions"]
    expected = caffe.zoo.load(MODEL).classify(chelsea, top=5)
    assert [one["label"] for one in found] == [label for label, _ in expected]
    assert found[0]["label"] == "n02124075 Egyptian cat"
    assert np.allclose([one["probability"] for one in found], [p for _, p in expected], atol=1e-4)
    assert answer.json["picture"] == {"format": "PNG", "width": 451, "height": 300}
    assert pixels(answer.json["seen"]).shape == (224, 224, 3)
    assert answer.json["milliseconds"]["all"] > 0


def test_a_form_and_the_bare_bytes_are_the_same(site: Site, chelsea: bytes) -> None:
    body, headers = form("picture", chelsea)
    by_form = site.ask("/classify", body, headers, top=2)
    bare = site.ask("/classify", chelsea, top=2)
    assert by_form.status == 200
    assert by_form.json["predictions"] == bare.json["predictions"]
    assert len(bare.json["predictions"]) == 2


def test_bfloat16_is_a_thread_s_own_and_close(site: Site, chelsea: bytes) -> None:
    devices = site.ask("/models").json["devices"]
    usable = {one["name"]: one["reason"] for one in devices[0]["precisions"]}
    if usable["bfloat16"] is not None:
        pytest.skip(usable["bfloat16"])
    short = site.ask("/classify", chelsea, precision="bfloat16").json
    full = site.ask("/classify", chelsea).json
    assert short["precision"] == "bfloat16"
    first, second = (answer["predictions"][0] for answer in (short, full))
    assert first["index"] == second["index"] == EGYPTIAN_CAT
    assert 0 < abs(first["probability"] - second["probability"]) < 0.05


def test_every_model_that_classifies_can_be_offered() -> None:
    records = [caffe.zoo.record(name) for name in caffe.zoo.names()]
    for record in records:
        if record.recipe is not None:
            assert from_zoo(record.name).title == record.title


def test_what_cannot_be_chosen_is_told_with_its_reason(site: Site, chelsea: bytes) -> None:
    cpu, gpu = site.ask("/models").json["devices"]
    assert (cpu["name"], cpu["reason"], gpu["name"]) == ("cpu", None, "gpu")
    if gpu["reason"] is None:
        answer = site.ask("/classify", chelsea, device="gpu")
        assert answer.json["predictions"][0]["index"] == EGYPTIAN_CAT
        assert answer.json["device"] == "gpu"
    else:
        answer = site.ask("/classify", chelsea, device="gpu")
        assert (answer.status, answer.code) == (400, "no_device")
        assert answer.json["error"]["message"] == gpu["reason"]
    refused = site.ask("/classify", chelsea, precision="tf32")
    assert (refused.status, refused.code) == (400, "no_precision")


def test_the_structure_names_every_layer_of_the_text(site: Site) -> None:
    answer = site.ask(f"/models/{MODEL}").json
    net = caffe.zoo.load(MODEL)
    types = [layer.type for layer in net.layers]
    assert len(answer["layers"]) == sum(kind != "Split" for kind in types)
    stem = next(layer for layer in answer["layers"] if layer["name"] == "stem")
    assert stem["shapes"] == [[1, *net.blobs["stem"].shape[1:]]]
    assert stem["bottoms"] == ["data"]
    assert stem["family"] == "convolution"
    assert answer["parameters"] == sum(b.count for blobs in net.params.values() for b in blobs)
    assert answer["classes"] == 1000
    names = {layer["name"] for layer in answer["layers"]}
    assert all("_split" not in name for layer in answer["layers"] for name in layer["bottoms"])
    assert answer["grad_cam_layer"] in names


def test_responses_are_what_the_layer_itself_leaves(site: Site, chelsea: bytes) -> None:
    net = caffe.zoo.load(MODEL)
    image = caffe.io.load_image(chelsea)
    net.blobs["data"].reshape(1, 3, 224, 224)
    net.blobs["data"].data[...] = net.prepare(image, oversample=False)
    # The layers behind run in place, and must not show here.
    expected = net.forward(end="stem/bn")["stem"][0]
    answer = site.ask("/responses", chelsea, layer="stem/bn", count=4, first=2, scale="all").json
    assert answer["shape"] == [1, 32, 112, 112]
    assert answer["total"] == 32
    assert [one["name"] for one in answer["maps"]] == ["map 2", "map 3", "map 4", "map 5"]
    found = np.array([[one["low"], one["high"], one["mean"]] for one in answer["maps"]])
    chosen = expected[2:6].reshape(4, -1)
    wanted = np.stack([chosen.min(1), chosen.max(1), chosen.mean(1)], axis=1)
    assert np.allclose(found, wanted, rtol=1e-3, atol=1e-3)
    tiles = pixels(answer["tiles"])
    assert tiles.shape == (224, 224)
    low, high = expected.min(), expected.max()
    levels = np.rint((expected[2] - low) / (high - low) * 255)
    assert abs(tiles[:112, :112].astype(int) - levels).max() <= 1


def test_blobs_without_height_are_values(site: Site, chelsea: bytes) -> None:
    answer = site.ask("/responses", chelsea, layer="prob").json
    assert answer["kind"] == "values"
    assert answer["classes"]
    assert int(np.argmax(answer["values"])) == EGYPTIAN_CAT
    assert sum(answer["values"]) == pytest.approx(1, abs=1e-3)


def test_filters_in_colour_in_grey_as_matrix_and_as_values(site: Site) -> None:
    path = f"/models/{MODEL}/filters"
    colour = site.ask(path, layer="stem").json
    assert (colour["kind"], colour["total"]) == ("colour", 32)
    assert pixels(colour["tiles"]).shape == (6 * 4, 6 * 4, 3)
    grey = site.ask(path, layer="block0/depthwise", first=30).json
    assert (grey["kind"], [one["name"] for one in grey["maps"]]) == (
        "grey",
        ["filter 30", "filter 31"],
    )
    assert site.ask(path, layer="block0/project").json["kind"] == "matrix"
    assert site.ask(path, layer="stem/bn").json["kind"] == "values"
    assert (site.ask(path, layer="pool").status, site.ask(path, layer="?").status) == (404, 404)


def test_grad_cam_looks_where_the_class_is(site: Site, chelsea: bytes) -> None:
    answer = site.ask("/grad-cam", chelsea, **{"class": EGYPTIAN_CAT}).json
    assert answer["label"] == "n02124075 Egyptian cat"
    assert answer["found"]
    overlay = pixels(answer["map"])
    assert overlay.shape == (224, 224, 4)
    assert overlay[..., 3].max() > 200
    assert overlay[..., 3].min() < 40
    net = caffe.zoo.load(MODEL)
    net.blobs["data"].reshape(1, 3, 224, 224)
    net.blobs["data"].data[...] = net.prepare(caffe.io.load_image(chelsea), oversample=False)
    expected = caffe.attribution.grad_cam_map(net, None, EGYPTIAN_CAT)
    highest = np.unravel_index(expected.argmax(), expected.shape)
    assert overlay[(*highest, 3)] == overlay[..., 3].max()


def test_a_client_that_wants_a_png_gets_nothing_else(site: Site, chelsea: bytes) -> None:
    for path, query, drawn in (
        ("/grad-cam", {"class": EGYPTIAN_CAT}, "map"),
        ("/responses", {"layer": "stem", "count": 4}, "tiles"),
    ):
        whole = site.ask(path, chelsea, **query).json[drawn]
        for wanted in ("image/png", "image/*", "application/json;q=0.5, image/png"):
            found = site.ask(path, chelsea, {"Accept": wanted}, **query)
            assert found.headers["content-type"] == "image/png"
            assert found.body == base64.b64decode(whole.partition(",")[2])
        for wanted in (
            "*/*",
            "application/json",
            "image/png;q=0.5, application/json",
            "image/png;q=x",
        ):
            assert site.ask(path, chelsea, {"Accept": wanted}, **query).json[drawn] == whole
    values = site.ask("/responses", chelsea, {"Accept": "image/png"}, layer="fc")
    assert (values.status, values.code) == (406, "only_json")


def test_grad_cam_refuses_what_has_no_maps(site: Site, chelsea: bytes) -> None:
    assert site.ask("/grad-cam", chelsea, layer="fc", **{"class": 1}).code == "no_grad_cam"
    assert site.ask("/grad-cam", chelsea, layer="none", **{"class": 1}).code == "no_layer"
    assert site.ask("/grad-cam", chelsea, **{"class": 1000}).code == "no_class"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_phone_s_picture_is_turned_upright(site: Site, chelsea: bytes, orientation: int) -> None:
    turns = {1: 0, 3: 180, 6: 90, 8: 270}[orientation]
    upright = Image.open(io.BytesIO(chelsea))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    upright.rotate(turns, expand=True).save(stream, "PNG", exif=exif)
    answer = site.ask("/classify", stream.getvalue(), top=1).json
    assert answer["picture"] == {"format": "PNG", "width": 451, "height": 300}
    assert answer["predictions"][0]["probability"] == pytest.approx(0.7385, abs=2e-3)


def test_a_camera_s_notes_that_are_broken_do_not_matter(small: Site) -> None:
    content = picture(form="JPEG", exif=b"Exif\0\0no notes at all")
    assert small.ask("/classify", content).status == 200


@pytest.mark.parametrize("form", ["PNG", "PPM", "TIFF"])
def test_sixteen_bits_are_read_as_the_library_reads_them(tmp_path: Path, form: str) -> None:
    offer = small_offer(tmp_path)
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form)
    loaded = offer.load()
    image = caffe.io.load_image(stream.getvalue())
    expected = loaded.classifier.predict([image], oversample=False)[0]
    with serving([offer]) as site:
        found = site.ask("/classify", stream.getvalue(), top=3).json["predictions"]
    assert [one["probability"] for one in found] == pytest.approx(sorted(expected)[::-1], abs=1e-5)


def test_every_address_is_described_and_every_description_answers(small: Site) -> None:
    described = small.ask("/openapi.json").json
    assert described["openapi"].startswith("3.1")
    pages = {"/", "/docs", "/openapi.json"}
    served = {
        (route.path, method.lower())
        for route in routes(small.service)
        if hasattr(route, "methods") and route.path not in pages
        for method in route.methods - {"HEAD"}
    }
    told = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert told == served
    for path, methods in described["paths"].items():
        if "get" in methods and path not in ("/models/{model}/filters", "/runs/{run}"):
            asked = path.replace("{model}", "small").replace("{sample}", next(iter(titles())))
            assert small.ask(asked).status == 200, path


def test_the_pages_name_nothing_outside(small: Site) -> None:
    page_files = ["/", "/docs"]
    folder = Path(caffe.__file__).parent / "web" / "page"
    page_files += [f"/page/{path.name}" for path in folder.iterdir()]
    for path in page_files:
        answer = small.ask(path)
        assert answer.status == 200
        text = answer.body.decode()
        for word in ('src="http', 'href="http', 'src="//', "@import", "url(http"):
            assert word not in text, path


def test_a_name_of_the_text_is_data_and_not_markup(small: Site) -> None:
    answer = small.ask("/classify", picture(), top=3)
    assert answer.headers["content-type"] == "application/json"
    assert HOSTILE in {one["label"] for one in answer.json["predictions"]}
    assert sum(one["probability"] for one in answer.json["predictions"]) == pytest.approx(1)


def test_a_net_without_softmax_is_shown_as_it_is(small: Site, tmp_path: Path) -> None:
    assert small.ask("/classify", picture()).json["probabilities"] is True
    text = SMALL_NET[: SMALL_NET.index('layer { name: "prob"')]
    with serving([small_offer(tmp_path, text=text)]) as site:
        answer = site.ask("/classify", picture(), top=3).json
        values = site.ask("/responses", picture(), layer="fc").json["values"]
    assert answer["probabilities"] is False
    found = {one["index"]: one["probability"] for one in answer["predictions"]}
    assert [found[i] for i in range(3)] == pytest.approx(values, rel=1e-4)


def test_one_model_or_layer_too_many(small: Site) -> None:
    assert small.ask("/classify", picture(), model="none").code == "no_model"
    assert small.ask("/models/none").code == "no_model"
    assert small.ask("/responses", picture(), layer="none").code == "no_layer"
    assert small.ask("/responses", picture()).code == "bad_option"
    assert small.ask("/classify", picture(), top="0").code == "bad_option"
    assert small.ask("/classify", picture(), top="²").code == "bad_option"
    assert small.ask("/responses", picture(), layer="conv", count=9999).code == "bad_option"
    assert small.ask("/nowhere").code == "not_found"
    assert small.ask("/classify").code == "wrong_method"


def test_pictures_that_wait_go_through_together(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], batch=4) as site:
        worker = site.service.worker("small")
        alone = site.ask("/classify", picture()).json
        hold = threading.Event()
        holding = worker.run(Mode(), lambda _: hold.wait(20))
        with ThreadPoolExecutor(7) as pool:
            asked = [pool.submit(site.ask, "/classify", picture()) for _ in range(7)]
            wait_until(lambda: site.service.places_taken == 7)
            wait_until(lambda: len(worker._jobs) == 7)
            hold.set()
            answers = [one.result().json for one in asked]
        assert holding.result()
        assert sorted(answer["batch"] for answer in answers) == [1, 2, 2, 4, 4, 4, 4]
        for answer in answers:
            for one, other in zip(answer["predictions"], alone["predictions"], strict=True):
                assert one["index"] == other["index"]
                assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_a_full_house_asks_to_come_back(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], queue=2) as site:
        site.ask("/classify", picture())
        hold = threading.Event()
        site.service.worker("small").run(Mode(), lambda _: hold.wait(20))
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(site.ask, "/classify", picture()) for _ in range(2)]
            wait_until(lambda: site.service.places_taken == 2)
            # Larger than what the system's buffers hold: it must be read to be answered.
            full = site.ask("/classify", bytes(8 << 20))
            health = site.ask("/healthz").json
            hold.set()
            assert [one.result().status for one in asked] == [200, 200]
        assert (full.status, full.code) == (503, "busy")
        assert int(full.headers["retry-after"]) >= 1
        assert (health["places"], health["taken"]) == (2, 2)
        assert site.ask("/classify", picture()).status == 200
        assert site.service.places_taken == 0


def test_an_address_has_no_more_than_its_share_of_the_places(tmp_path: Path) -> None:
    # What a proxy on this machine says of whom it asks for is believed.
    mine, other = {"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "203.0.113.8"}
    with serving([small_offer(tmp_path)], queue=8, places_each=2) as site:
        site.ask("/classify", picture())
        hold = threading.Event()
        site.service.worker("small").run(Mode(), lambda _: hold.wait(20))
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(site.ask, "/classify", picture(), mine) for _ in range(2)]
            wait_until(lambda: site.service.places_taken == 2)
            third = site.ask("/classify", picture(), mine)
            asked += [pool.submit(site.ask, "/classify", picture(), other)]
            asked += [pool.submit(site.ask, "/classify", picture()) for _ in range(3)]
            wait_until(lambda: site.service.places_taken == 6)
            hold.set()
            assert [one.result().status for one in asked] == [200] * 6
        assert (third.status, third.code) == (503, "busy")
        assert int(third.headers["retry-after"]) >= 1
        assert site.ask("/classify", picture(), mine).status == 200


def test_a_net_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], answer_seconds=0.2) as site:
        site.ask("/classify", picture())
        hold = threading.Event()
        site.service.worker("small").run(Mode(), lambda _: hold.wait(20))
        answer = site.ask("/classify", picture())
        hold.set()
        assert (answer.status, answer.code) == (503, "slow")
        assert "retry-after" in answer.headers


def test_what_waits_is_refused_when_the_server_ends(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)]) as site:
        site.ask("/classify", picture())
        hold = threading.Event()
        worker = site.service.worker("small")
        worker.run(Mode(), lambda _: hold.wait(20))
        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(site.ask, "/classify", picture())
            wait_until(lambda: len(worker._jobs) == 1)
            ending = pool.submit(site.service.stop)
            answer = asked.result()
            hold.set()
            ending.result()
        assert (answer.status, answer.code) == (503, "stopping")
        assert "retry-after" in answer.headers


def test_a_failure_inside_tells_nothing_of_the_machine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    offer = small_offer(tmp_path)
    (tmp_path / "small.caffemodel").unlink()
    with serving([offer]) as site:
        answer = site.ask("/classify", picture())
    assert (answer.status, answer.code) == (500, "model_failed")
    assert str(tmp_path) not in answer.body.decode()
    assert "small.caffemodel" in caplog.text


def test_a_bug_is_no_stack_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("caffe.web.inside.structure", broken)
    with serving([small_offer(tmp_path)]) as site:
        answer = site.ask("/models/small")
    assert (answer.status, answer.code) == (500, "failed")
    assert "secret" not in answer.body.decode()
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_json_that_is_none(small: Site) -> None:
    headers = {"Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b'{"link": 3}', b"[" * 100_000):
        assert small.ask("/classify", body, headers).code == "bad_json"
    assert small.ask("/classify", json.dumps({"link": "ftp://x/"}), headers).code == "link_refused"
