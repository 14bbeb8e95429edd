"""What all subcommands have: the old way to write options, and numbers that are numbers."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from caffe.cli.commands import as_today
from caffe.cli.main import app
from tests.helpers.command import caffe_command


def options_of(name: str) -> Any:
    command: Any = typer.main.get_command(app)
    return command.commands[name].params


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-model x -iterations 2", "--model x --iterations 2"),
        ("--model=x -iterations=2", "--model=x --iterations=2"),
        ("-model=a=b", "--model=a=b"),
        # What an option takes is never taken for an option.
        ("-model -weights -gpu 0", "--model -weights --gpu 0"),
        ("-m -weights", "-m -weights"),
        ("-backward --json", "--backward --json"),
        ("--backward=true --json=false --nowhy", "--backward"),
        ("-logtostderr --log_dir /tmp --minloglevel=2 --model x", "--model x"),
        ("--no-such -nothing=3 - -- -model", "--no-such -nothing=3 - -- -model"),
    ],
)
def test_options_may_be_written_as_gflags_takes_them(words: str, expected: str) -> None:
    assert as_today(words.split(), options_of("time")) == expected.split()


def test_underscores_are_as_good_as_dashes() -> None:
    words = ["-raw_scale", "-1", "--image_dims=8,8", "-o", "-file"]
    expected = ["--raw-scale", "-1", "--image-dims=8,8", "-o", "-file"]
    assert as_today(words, options_of("classify"))[:3] == expected[:3]


def test_every_long_option_of_every_command_may_have_one_dash() -> None:
    command: Any = typer.main.get_command(app)
    for name, one in command.commands.items():
        for option in one.params:
            for written in option.opts:
                if written.startswith("--"):
                    old = "-" + written[2:].replace("-", "_")
                    assert as_today([old], one.params) == [written], (name, written)


def test_a_flag_that_is_neither_on_nor_off_is_refused() -> None:
    result = caffe_command("time", "--backward=perhaps")
    assert result.exit_code == 2
    assert "--backward" in result.stderr


def test_the_command_may_stand_behind_its_options() -> None:
    result = caffe_command("-model", "none.prototxt", "-iterations=1", "time")
    assert result.exit_code == 1
    assert "none.prototxt" in result.stderr
    assert caffe_command("--no-such", "zoo").exit_code == 2
    assert caffe_command("--version", "time").exit_code == 0


@pytest.mark.parametrize("text", ["0,1", "all", "7"])
def test_several_gpus_may_be_named(text: str) -> None:
    result = caffe_command("device_query", f"-gpu={text}")
    assert result.exit_code in (0, 1)
    assert "GPUs found" in result.stdout


def test_what_names_no_gpu_is_refused() -> None:
    for command in ("device_query", "time", "test"):
        more = ["--model", "x"] if command == "test" else []
        result = caffe_command(command, *more, "-gpu", "first")
        assert result.exit_code == 2
        assert "--gpu" in result.stderr


NUMBERS = [
    ("serve", "--max-upload"),
    ("serve", "--max-pixels"),
    ("serve", "--queue"),
    ("serve", "--queue-each"),
    ("serve", "--batch"),
    ("serve", "--port"),
    ("serve", "--gpu"),
    ("serve", "--raw-scale"),
    ("classify", "--input-scale"),
    ("classify", "--top"),
    ("detect", "--scale"),
    ("detect", "--threshold"),
    ("diff", "--tolerance"),
    ("time", "--iterations"),
    ("time", "--batch"),
    ("look", "--maps"),
]


@pytest.mark.parametrize(("command", "option"), NUMBERS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300", "9" * 30, "one", ""])
def test_what_is_no_number_is_refused_for_every_option(
    command: str, option: str, value: str
) -> None:
    needed = {"classify": ["x.png"], "detect": ["x.png"], "diff": ["a", "b"], "look": ["x.png"]}
    result = caffe_command(command, *needed.get(command, []), f"{option}={value}")
    assert result.exit_code == 2
    assert option in result.stderr


@pytest.mark.parametrize("option", ["--max-upload", "--max-pixels", "--queue", "--batch"])
@pytest.mark.parametrize("value", ["0", "-1", "5e9", "-0.0"])
def test_limits_of_the_page_are_above_nothing_and_below_too_much(option: str, value: str) -> None:
    assert caffe_command("serve", option, value).exit_code == 2
