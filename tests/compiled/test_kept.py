"""What one process has compiled the next one runs, if it is whole and nobody else's."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caffe import switches
from caffe.compiled import kept, llvm, processor
from caffe.compiled.llvm import Kernel

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

TEXT = """
define void @kernel(ptr %given) {
  %at = getelementptr i64, ptr %given, i64 2
  %number = load i64, ptr %at
  %found = mul i64 %number, 3
  store i64 %found, ptr %at
  ret void
}
"""

TRAINED = """
import sys
import caffe
net = caffe.Net({net!r}, caffe.TRAIN)
caffe.set_random_seed(3)
net.blobs["data"].data[...] = 0.5
net.forward()
net.backward()
print(float(abs(net.params["conv"][0].diff).sum()), "llvmlite" in sys.modules)
"""

NET = """
input: "data" input_shape { dim: 2 dim: 8 dim: 32 dim: 32 } force_backward: true
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1
    weight_filler { type: "constant" value: 0.01 } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "loss" type: "Reduction" bottom: "pool" top: "loss" loss_weight: 1 }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(switches.REMEMBER, "1")
    kept._make_room.cache_clear()
    yield tmp_path / "home" / kept.FOLDER
    kept._make_room.cache_clear()


def three_times(number: int) -> int:
    """What the kernel makes of a number, once it is compiled anew or read."""
    llvm._compiled.cache_clear()
    job = Kernel(TEXT).job(number)
    job.run_here()
    return job.given[2]


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are given to LLVM."""
    texts: list[str] = []
    code_of = llvm._code_of

    def noted(text: str) -> bytes:
        texts.append(text)
        return code_of(text)

    monkeypatch.setattr(llvm, "_code_of", noted)
    return texts


def test_the_next_process_does_not_load_llvm(tmp_path: Path, folder: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(NET)
    command = [sys.executable, "-c", TRAINED.format(net=str(net))]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2)]
    (first, is_loaded), (second, is_loaded_again) = (run.stdout.split() for run in runs)
    assert first == second
    assert (is_loaded, is_loaded_again) == ("True", "False")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_text_is_compiled_once(folder: Path, compiles: list[str]) -> None:
    assert [three_times(2), three_times(-5)] == [6, -15]
    assert compiles == [TEXT]
    assert len(list(folder.iterdir())) == 1


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\xc3")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def anybodys(path: Path) -> None:
    path.chmod(0o666)


def in_anybodys_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "spoil", [cut_off, changed, longer, emptied, anybodys, in_anybodys_folder, a_folder]
)
def test_what_cannot_be_believed_is_compiled_again(
    spoil: Callable[[Path], None], folder: Path, compiles: list[str]
) -> None:
    assert three_times(2) == 6
    (path,) = folder.iterdir()
    spoil(path)
    assert three_times(4) == 12
    assert compiles == [TEXT, TEXT]


def test_what_was_damaged_is_written_anew(folder: Path, compiles: list[str]) -> None:
    three_times(1)
    (path,) = folder.iterdir()
    changed(path)
    three_times(1)
    assert three_times(5) == 15
    assert compiles == [TEXT, TEXT]


def test_another_processor_has_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, compiles: list[str]
) -> None:
    three_times(1)
    kept._origin.cache_clear()
    monkeypatch.setattr(processor, "described", lambda: {"model name": "another"})
    try:
        three_times(1)
    finally:
        kept._origin.cache_clear()
    assert compiles == [TEXT, TEXT]


def test_nothing_is_kept_where_somebody_says_so(
    monkeypatch: pytest.MonkeyPatch, folder: Path, compiles: list[str]
) -> None:
    monkeypatch.setenv(switches.REMEMBER, "0")
    assert three_times(2) == three_times(2) == 6
    assert compiles == [TEXT, TEXT]
    assert not folder.exists()


def test_where_nothing_can_be_written(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("in the way")
    assert three_times(3) == 9


def test_the_oldest_go(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    folder.mkdir(parents=True)
    for age in range(5):
        path = folder / f"{age}"
        path.write_bytes(b"old")
        os.utime(path, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(kept, "MOST", 3)
    three_times(1)
    assert {path.name for path in folder.iterdir() if len(path.name) == 1} == {"0", "1", "2"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a child is forked")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_amid_a_compilation_compiles() -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def compile_slowly() -> None:
        with llvm._lock:
            begun.set()
            goes_on.wait(60)

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    begun.wait(60)
    child = os.fork()
    if child == 0:
        # The parent's lock is held for ever here.
        ctypes.CDLL(None).alarm(30)
        os._exit(0 if three_times(2) == 6 else 1)
    _, status = os.waitpid(child, 0)
    goes_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
