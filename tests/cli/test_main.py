"""The `caffe` command as a whole: help, errors, device_query, zoo and fetch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import caffe
from caffe.cli.advice import as_options
from caffe.devices import Card, DeviceFacts, device_facts, why_unusable
from tests.helpers.command import caffe_command


def test_help_lists_the_commands_and_imports_nothing_large():
    code = (
        "import sys\n"
        "sys.argv = ['caffe', '--help']\n"
        "from caffe.cli import run\n"
        "try:\n    run()\n"
        "finally:\n    large = {'torch', 'numpy', 'pydantic', 'rich', 'PIL'}\n"
        "    print(*large & {*sys.modules}, 'end')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("classify", "fetch", "zoo", "device_query", "upgrade"):
        assert command in done.stdout
    assert done.stdout.endswith("\nend\n")


def test_the_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "caffe", "--version"], capture_output=True, text=True
    )
    assert done.stdout == f"recaffe {caffe.__version__}\n"


def test_a_mistyped_command_is_a_usage_error():
    result = caffe_command("clasify", "cat.jpg")
    assert result.exit_code == 2
    assert "clasify" in result.stderr


def test_an_error_is_one_line_and_exit_code_1():
    result = caffe_command("fetch", "caffenet")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("caffe: ")
    assert "bvlc_reference_caffenet" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_error_that_shows_a_line_of_text_stays_one_line(tmp_path):
    broken = tmp_path / "net.prototxt"
    broken.write_text('layer { name: "a" type: }\n')
    result = caffe_command("upgrade", broken, tmp_path / "out.prototxt")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"{broken}:1:" in result.stderr


@pytest.mark.parametrize("by", ["option", "environment"])
def test_debug_shows_the_traceback(tmp_path, by, monkeypatch):
    arguments = ["upgrade", str(tmp_path / "absent"), str(tmp_path / "out")]
    if by == "environment":
        monkeypatch.setenv("CAFFE_DEBUG", "1")
    else:
        arguments.insert(0, "--debug")
    done = subprocess.run(
        [sys.executable, "-m", "caffe", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "MissingFileError" in done.stderr


@pytest.mark.parametrize("name", ["device_query", "device-query"])
def test_device_query_tells_what_set_mode_gpu_tells(name):
    result = caffe_command(name)
    assert result.exit_code == 0
    assert f"PyTorch     {device_facts().torch_version}" in result.stdout
    reason = why_unusable(device_facts(), 0)
    if reason is None:
        assert ": can be used" in result.stdout
    else:
        with pytest.raises(caffe.DeviceError) as failure:
            caffe.set_mode_gpu()
        assert as_options(str(failure.value)) in result.stdout


def test_device_query_shows_each_card_and_which_can_be_used(monkeypatch):
    # Two cards, one too old for the build: no machine that runs the tests has them.
    cards = (Card("New Card", 80 * 2**30, "sm_90"), Card("Old Card", 4 * 2**30, "sm_35"))
    facts = DeviceFacts("2.9.0+cu128", "cuda", ("sm_80", "sm_90"), cards, runtime="CUDA 12.8")
    monkeypatch.setattr("caffe.devices.device_facts", lambda: facts)
    result = caffe_command("device_query")
    lines = result.stdout.splitlines()
    assert "Built for   CUDA 12.8" in lines
    assert "GPU 0       New Card, 80.0 GiB, sm_90: can be used" in lines
    assert "GPU 1       Old Card, 4.0 GiB, sm_35: cannot be used" in lines
    assert lines[-1] == f"GPU mode is not possible: {as_options(str(why_unusable(facts, 1)))}"
    assert caffe_command("device_query", "--gpu", 0).exit_code == 0
    assert caffe_command("device_query", "--gpu", 1).exit_code == 1


def test_device_query_fails_for_a_gpu_that_is_not_there():
    with pytest.raises(caffe.DeviceError) as failure:
        caffe.set_device(99)
    result = caffe_command("device_query", "--gpu", 99)
    assert result.exit_code == 1
    said, _, _ = str(failure.value).partition(" Call ")
    assert result.stderr == f"caffe: {said} Without --gpu it runs on the CPU.\n"


def test_zoo_lists_every_model_in_aligned_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path))
    monkeypatch.delenv("RECAFFE_CAFFENET", raising=False)
    (tmp_path / "bvlc_googlenet.caffemodel").write_bytes(b"here")
    lines = caffe_command("zoo").stdout.splitlines()
    rows = {line.split()[0]: line for line in lines[: lines.index("")]}
    assert list(rows)[1:] == caffe.zoo.names()
    column = rows["NAME"].index("LICENCE")
    assert rows["bvlc_alexnet"][column:].startswith("unrestricted")
    assert rows["vgg16"][column:].startswith("CC-BY-4.0")
    assert rows["bvlc_googlenet"].endswith("yes")
    assert rows["vgg19"].endswith("no")
    assert str(tmp_path) in lines[-1]


def test_fetch_says_what_it_found_and_where(tmp_path, monkeypatch):
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path))
    assert caffe_command("fetch", "efficientnet_lite0").exit_code == 0
    result = caffe_command("fetch", "efficientnet_lite0")
    assert result.exit_code == 0
    assert result.stdout.startswith("EfficientNet-Lite0 found.\n")
    for line in result.stdout.splitlines()[1:]:
        assert Path(line.split(maxsplit=1)[1]).is_file()
