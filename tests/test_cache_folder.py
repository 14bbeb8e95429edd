"""The cache folder is where the user says."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe.cache_folder import cache_folder


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("/there", "/there"),
        ("~/there", "/home/me/there"),
        ("~no-such-user/there", "~no-such-user/there"),
    ],
)
def test_what_the_user_says(said: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("RECAFFE_HOME", said)
    assert cache_folder() == Path(found)


def test_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECAFFE_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert "recaffe" in cache_folder().parts
