"""`caffe fetch` and `caffe zoo`: what is listed, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from caffe import zoo
from tests.helpers.command import caffe_command


def test_the_list_is_there_as_json_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path))
    monkeypatch.delenv("RECAFFE_CAFFENET", raising=False)
    models = {model["name"]: model for model in json.loads(caffe_command("zoo", "--json").stdout)}
    assert list(models) == zoo.names()
    assert models["vgg16"]["title"] == "VGG-16"
    assert models["vgg16"]["task"] == "classification"
    assert models["vgg16"]["size"] > 500e6
    assert models["ilsvrc12"]["task"] == "files"
    assert models["efficientnet_lite0"]["here"] is True
    assert models["vgg16"]["here"] is False
    (tmp_path / zoo.record("vgg16").file_name).touch()
    text = caffe_command("zoo").stdout
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("vgg")] == [
        "yes",
        "no",
    ]
