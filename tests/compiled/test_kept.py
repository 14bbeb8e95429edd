"""What one process has compiled the next one runs, if it is whole and nobody else's."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
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
    monkeypatch.setattr(kept, "_written", 0)
    yield tmp_path / "home" / kept.FOLDER
    kept._origin.cache_clear()


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


def its_groups(path: Path) -> None:
    path.chmod(0o620)


def anybodys(path: Path) -> None:
    path.chmod(0o602)


def in_its_groups_folder(path: Path) -> None:
    path.parent.chmod(0o770)


def in_anybodys_folder(path: Path) -> None:
    path.parent.chmod(0o707)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def another_texts(path: Path) -> None:
    code = path.read_bytes()[-10:]
    path.write_bytes(kept._content("0" * 40, code))


SPOILT = [cut_off, changed, longer, emptied, its_groups, anybodys, a_pipe, a_link, another_texts]


@pytest.mark.parametrize("spoil", [*SPOILT, in_its_groups_folder, in_anybodys_folder, a_folder])
def test_what_cannot_be_believed_is_compiled_again(
    spoil: Callable[[Path], None], folder: Path, compiles: list[str]
) -> None:
    assert three_times(2) == 6
    (path,) = folder.iterdir()
    spoil(path)
    assert three_times(4) == 12
    assert compiles == [TEXT, TEXT]


@pytest.mark.parametrize("spoil", SPOILT)
def test_what_was_not_believed_is_written_anew(
    spoil: Callable[[Path], None], folder: Path, compiles: list[str]
) -> None:
    three_times(1)
    (path,) = folder.iterdir()
    spoil(path)
    three_times(1)
    assert three_times(5) == 15
    assert compiles == [TEXT, TEXT]


def test_what_a_link_leads_to_is_not_touched(folder: Path) -> None:
    three_times(1)
    (path,) = folder.iterdir()
    path.unlink()
    precious = folder.parent / "precious"
    precious.write_text("mine")
    path.symlink_to(precious)
    assert three_times(2) == 6
    assert precious.read_text() == "mine"


def test_nothing_is_written_where_others_may_write(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert three_times(2) == 6
    assert not list(folder.iterdir())


def test_nothing_is_believed_of_another_user(
    monkeypatch: pytest.MonkeyPatch, compiles: list[str]
) -> None:
    three_times(1)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    three_times(1)
    assert compiles == [TEXT, TEXT]


def test_the_folder_is_the_users_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        three_times(1)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_taken_away_is_made_anew(folder: Path, compiles: list[str]) -> None:
    three_times(1)
    shutil.rmtree(folder)
    three_times(1)
    three_times(1)
    assert compiles == [TEXT, TEXT]


def test_another_processor_has_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, compiles: list[str]
) -> None:
    three_times(1)
    kept._origin.cache_clear()
    monkeypatch.setattr(processor, "described", lambda: {"flags": "avx2", "model": "another"})
    three_times(1)
    assert compiles == [TEXT, TEXT]


def test_nothing_is_kept_for_a_processor_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    kept._origin.cache_clear()
    monkeypatch.setattr(processor, "described", dict)
    assert three_times(1) == 3
    assert not folder.exists()


def test_another_compiler_has_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiles: list[str]
) -> None:
    three_times(1)
    kept._origin.cache_clear()
    (tmp_path / "llvmlite/binding").mkdir(parents=True)
    (tmp_path / "llvmlite/__init__.py").touch()
    (tmp_path / "llvmlite/binding/libllvmlite.so").write_text("another")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "llvmlite")
    assert kept.recall(f"{llvm._OPTIONS}\n{TEXT}") is None


def test_avx2_and_avx512_may_share_a_home(folder: Path) -> None:
    asked = [({"ATEN_CPU_CAPABILITY": "avx2"}, 8), ({"ATEN_CPU_CAPABILITY": "default"}, 0),
             ({}, llvm.width())]  # fmt: skip
    for told, width in [*asked, *asked]:
        done = subprocess.run(
            [sys.executable, "-c", "from caffe.compiled import llvm; print(llvm.width())"],
            env=os.environ | told,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert int(done.stdout) == width
    # Each has tried a kernel of its own.
    assert len(list(folder.iterdir())) == len({8, llvm.width()})


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
    folder.chmod(0o700)
    for age in range(5):
        for path in (folder / (f"{age}" * 40), folder / f"{age}.cu"):
            path.write_bytes(b"old")
            os.utime(path, (1e9 - age, 1e9 - age))
    (folder / ("5" * 40)).symlink_to("nothing")
    monkeypatch.setattr(kept, "MOST", 3)
    three_times(1)
    left = {path.name for path in folder.iterdir()}
    assert {name[0] for name in left if kept._NAME.fullmatch(name) and len(set(name)) == 1} == {
        "0", "1", "2", "5",
    }  # fmt: skip
    assert {name for name in left if name.endswith(".cu")} == {f"{age}.cu" for age in range(5)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a child is forked")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_forked_while_a_thread_compiles() -> None:
    goes_on, begun, count = True, threading.Event(), itertools.count(5)

    def compile_on() -> None:
        while goes_on:
            Kernel(TEXT.replace("3", str(next(count))))
            begun.set()

    thread = threading.Thread(target=compile_on)
    thread.start()
    assert begun.wait(60)
    ends = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).alarm(30)
            os._exit(0 if three_times(2) == 6 else 1)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    goes_on = False
    thread.join()
    assert ends == [0] * 8
