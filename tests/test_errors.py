"""What errors say beside what is wrong."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import caffe
from caffe.errors import (
    CaffeError,
    ImageError,
    MissingExtraError,
    MissingFileError,
    ParseError,
    as_caffe_error,
    did_you_mean,
    require,
)
from caffe.proto.files import read_solver

NET = 'layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 1 } } }'


def test_the_names_most_like_a_mistyped_one_are_asked_for() -> None:
    known = ["conv1", "conv2", "fc"]
    assert did_you_mean("convv1", known, most=1) == "did you mean 'conv1'?"
    assert did_you_mean("convv1", known) == "did you mean 'conv1' or 'conv2'?"


def test_where_none_is_like_it_the_other_text_stands() -> None:
    assert did_you_mean("pool", ["fc"]) == ""
    assert did_you_mean("pool", ["fc"], "there is fc") == "there is fc"


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    with pytest.raises(MissingExtraError, match=r"needed for wishes.*pip install .*\[dreams\]"):
        require("no_such_package", "dreams", "wishes")


def _net_of_weights(path: str) -> caffe.Net:
    return caffe.Net(NET, caffe.TEST, weights=path)


def _net_of_list(path: str) -> caffe.Net:
    text = (
        'layer { name: "d" type: "ImageData" top: "d" top: "l" image_data_param '
        f'{{ source: "{path}" new_height: 2 new_width: 2 }} }}'
    )
    return caffe.Net(text, caffe.TEST)


@pytest.mark.parametrize(
    "read",
    [
        caffe.io.load_image,
        lambda path: caffe.Net(path, caffe.TEST),
        _net_of_weights,
        _net_of_list,
        read_solver,
        caffe.io.load_mean,
    ],
)
def test_a_file_that_is_not_there_is_told_as_python_tells_it(
    read: Callable[[str], Any], tmp_path: Path
) -> None:
    path = str(tmp_path / "absent")
    with pytest.raises(FileNotFoundError) as caught:
        read(path)
    assert isinstance(caught.value, CaffeError)
    assert caught.value.errno == errno.ENOENT
    # Not as OSError puts it, number and name once more.
    assert path in str(caught.value)
    assert "[Errno" not in str(caught.value)


def test_a_picture_that_is_none_is_an_os_error_but_is_there(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"not a picture")
    with pytest.raises(OSError, match=r"broken\.jpg: not a picture") as caught:
        caffe.io.load_image(path)
    assert isinstance(caught.value, ImageError)
    assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    "call",
    [
        lambda: caffe.Net(3, caffe.TEST),
        lambda: caffe.Net(NET, caffe.TEST).share_with("other"),
        lambda: caffe.Net(NET, 2.5),
        lambda: caffe.Net(),
        lambda: caffe.Net(NET, caffe.TEST, 0, None, None, 3),
        lambda: caffe.Net(NET, caffe.TEST, wieghts="w.caffemodel"),
        lambda: caffe.init_log("loud"),
        lambda: caffe.set_device("first"),
        lambda: caffe.set_random_seed(None),
        lambda: caffe.Blob().reshape("wide"),
    ],
)
def test_an_argument_of_a_wrong_type_is_a_type_error(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert isinstance(caught.value, CaffeError)


def test_errors_come_back_from_another_process_as_they_were() -> None:
    for error in (
        MissingFileError("there is no such file", "net.prototxt"),
        ParseError("no such field", "net.prototxt", 3, 7, "  typo: 1"),
        ImageError("a.jpg: not a picture"),
        caffe.WriteError("w.caffemodel", OSError(errno.ENOSPC, "no space left")),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert getattr(again, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize(
    "said",
    [
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried",
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 17 GB)",
    ],
)
def test_memory_that_does_not_suffice_is_known_whoever_says_it(said: str) -> None:
    error = as_caffe_error(RuntimeError(said), "layer 'fc6' (InnerProduct)")
    assert isinstance(error, caffe.errors.OutOfMemoryError)
    assert "fc6" in str(error)
    assert "a smaller batch needs less" in str(error)
