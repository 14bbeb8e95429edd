"""Explanations, boxes and areas over real HTTP."""

from __future__ import annotations

import base64
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.detect import ObjectDetector
from caffe.segmenter import Segmenter
from caffe.web.loaded import LoadedDetector, LoadedSegmenter
from caffe.web.models import Offer
from tests.helpers.detectors import cells, painted
from tests.helpers.serving import SMALL_NET, picture, serving, small_offer, wait_until

AREAS = """
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 3 kernel_size: 1 bias_term: false } }
"""
ARGMAX = """layer { name: "argmax" type: "ArgMax" bottom: "conv" top: "argmax"
  argmax_param { axis: 1 } }"""


def encoded(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def detector_offer(folder: Path) -> Offer:
    net, weights = cells(folder)
    return Offer(
        "cells",
        "Cells",
        lambda: LoadedDetector(ObjectDetector(net, weights, labels=["red", "blue"])),
    )


def areas_offer(folder: Path, text: str = AREAS, labels: Any = ("red", "green", "blue")) -> Offer:
    """A net whose class is the strongest of a place's colours."""
    net_file, weights = folder / "areas.prototxt", folder / "areas.caffemodel"
    net_file.write_text(text)
    net = caffe.Net(net_file, caffe.TEST)
    net.params["conv"][0].data[...] = np.eye(len(net.params["conv"][0].data), 3)[:, :, None, None]
    net.save(weights)
    return Offer(
        "areas",
        "Areas",
        lambda: LoadedSegmenter(Segmenter(net_file, weights, labels, mean=0, order="rgb")),
    )


def test_a_detector_draws_boxes_and_refuses_to_name_classes(tmp_path: Path) -> None:
    with serving([detector_offer(tmp_path)]) as site:
        content = encoded(painted())
        answer = site.ask("/detect", content).json
        boxes = {one["label"]: one["box"] for one in answer["detections"]}
        assert boxes["red"] == pytest.approx((32, 16, 48, 32), abs=0.05)
        assert boxes["blue"] == pytest.approx((112, 64, 128, 80), abs=0.05)
        assert all(one["score"] >= answer["threshold"] for one in answer["detections"])
        assert site.ask("/detect", content, threshold=1).json["detections"] == []
        assert site.ask("/detect", content, threshold="2").code == "bad_option"
        for path in ("/classify", "/segment"):
            refused = site.ask(path, content)
            assert (refused.status, refused.code) == (422, "other_task")
            assert "/detect" in refused.json["error"]["message"]
        assert site.ask("/explain", content, **{"class": 0}).code == "other_task"
        assert site.ask("/models").json["models"][0]["task"] == "boxes"
        structure = site.ask("/models/cells").json
        assert structure["classes"] is None
        layer = next(one["name"] for one in structure["layers"] if one["type"] == "Convolution")
        found = site.ask("/responses", content, layer=layer)
        assert found.json["kind"] == "maps", found.json
        grey = encoded(painted()[:, :, 0])
        assert site.ask("/detect", grey).status == 200


def test_areas_are_the_classes_of_the_places(tmp_path: Path) -> None:
    shown = np.zeros((8, 8, 3), np.uint8)
    shown[:, :2, 0], shown[:, 2:, 2] = 200, 200
    for text in (AREAS, AREAS + ARGMAX):
        with serving([areas_offer(tmp_path, text)]) as site:
            answer = site.ask("/segment", encoded(shown)).json
            rows = [(one["label"], one["share"]) for one in answer["classes"]]
            assert rows == [("blue", 0.75), ("red", 0.25)]
            mask = pixels(answer["mask"])
            assert mask.shape == (8, 8, 4)
            # The first class is the background of the published nets, and stays clear.
            assert mask[0, 0, 3] == 0
            assert "#{:02x}{:02x}{:02x}".format(*mask[0, 7, :3]) == answer["classes"][0]["colour"]
            assert site.ask("/classify", encoded(shown)).code == "other_task"


def test_a_map_of_numbers_names_no_classes(tmp_path: Path) -> None:
    text = AREAS.replace("num_output: 3", "num_output: 1")
    with serving([small_offer(tmp_path, text=text)]) as site:
        refused = site.ask("/classify", picture())
        assert (refused.status, refused.code) == (422, "other_task")
        assert "/responses" in refused.json["error"]["message"]
        assert site.ask("/responses", picture(), layer="conv").json["kind"] == "maps"


def test_a_large_picture_s_areas_are_shown_smaller(tmp_path: Path) -> None:
    with serving([areas_offer(tmp_path)]) as site:
        answer = site.ask("/segment", encoded(np.zeros((100, 2000, 3), np.uint8))).json
        assert answer["shape"] == [40, 800]
        assert pixels(answer["seen"]).shape == (*pixels(answer["mask"]).shape[:2], 3)


def test_every_method_explains_and_one_that_takes_too_long_ends(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)]) as site:
        content = picture()
        for method in ("grad-cam", "saliency", "integrated-gradients", "occlusion"):
            answer = site.ask("/explain", content, by=method, **{"class": 2}).json
            assert answer.get("by") == method, answer
            assert pixels(answer["map"]).shape == (8, 8, 4)
            assert answer["found"] == bool(pixels(answer["map"])[..., 3].any()), method
        assert site.ask("/explain", content, by="magic", **{"class": 1}).code == "bad_option"
        assert site.ask("/explain", content, by="saliency", **{"class": 9}).code == "no_class"
    with serving([small_offer(tmp_path)], answer_seconds=0) as site:
        site.service.load("small")
        refused = site.ask("/explain", content, by="occlusion", **{"class": 1})
        assert (refused.status, refused.code) == (503, "slow")


def test_one_forward_serves_every_later_look(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)]) as site:
        content = picture()
        site.ask("/responses", content, layer="conv")
        loaded = site.service.worker("small").loaded
        assert loaded is not None
        runs: list[int] = []
        loaded.kept.net.before_forward(runs.append)
        for layer in ("relu", "fc", "conv", "prob"):
            assert site.ask("/responses", content, layer=layer).status == 200
        assert site.ask("/grad-cam", content, **{"class": 1}).status == 200
        assert runs == []
        assert site.ask("/responses", picture(20, 20), layer="conv").status == 200
        assert runs == [0, 1, 2, 3, 4]
        assert site.ask("/responses", content, layer="relu").status == 200
        assert len(runs) == 5


def test_what_the_last_pictures_left_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caffe.web.worker.IDLE_SECONDS", 0.05)
    with serving([small_offer(tmp_path)], kept_seconds=0.1) as site:
        site.ask("/responses", picture(), layer="conv")
        loaded = site.service.worker("small").loaded
        assert loaded is not None
        wait_until(lambda: site.service.kept.size == 0 and "kept" not in vars(loaded))
        assert site.ask("/grad-cam", picture(), **{"class": 1}).status == 200


def test_maps_and_filters_are_told_with_their_spread(tmp_path: Path) -> None:
    offer = small_offer(tmp_path, text=SMALL_NET)
    net = caffe.Net(tmp_path / "small.prototxt", caffe.TEST, weights=tmp_path / "small.caffemodel")
    net.params["conv"][0].data[1] = 0
    net.params["conv"][1].data[1] = -1
    net.save(tmp_path / "small.caffemodel")
    with serving([offer]) as site:
        answer = site.ask("/responses", picture(), layer="relu").json
        assert answer["maps"][1]["dead"]
        assert answer["dead"] == sum(one["dead"] for one in answer["maps"])
        spread = answer["statistics"]
        assert spread["count"] == sum(spread["histogram"]) == 4 * 6 * 6
        assert spread["zeros"] >= 36
        assert spread["low"] == 0
        path = "/models/small/filters"
        weights = site.ask(path, layer="conv").json
        assert [one["dead"] for one in weights["maps"]] == [False, True, False, False]
        assert weights["dead"] == 1
        bias = site.ask(path, layer="conv", blob=1).json
        assert bias["values"] == [0, -1, 0, 0]
        assert site.ask(path, layer="conv", blob=2).code == "no_filters"


def test_looks_of_several_at_once_are_each_their_own(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)]) as site:
        pictures = [picture(10 + i, 9) for i in range(4)]
        alone = [site.ask("/responses", one, layer="conv").json["maps"] for one in pictures]
        found: list[Any] = [None] * 12

        def look(i: int) -> None:
            found[i] = site.ask("/responses", pictures[i % 4], layer="conv").json["maps"]

        threads = [threading.Thread(target=look, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [alone[i % 4] for i in range(12)]
