"""Threads fit the CPUs given, and what a person says of them counts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from caffe import threads
from tests.helpers.command import caffe_command

NET = 'name: "n" layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 2] } } }'
COMPUTING = (
    *(
        "classify",
        "detect",
        "export",
        "extract",
        "look",
        "segment",
        "serve",
        "test",
        "time",
        "train",
    ),
)

needs_two = pytest.mark.skipif(threads.usable_cpus() < 2, reason="one CPU: nobody waits")


def run(program: str, **environment: str) -> str:
    """What a program prints in a new interpreter, to which nothing is said of threads."""
    names = (*threads.WAITING, *threads.COUNTS)
    rest = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**rest, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("counted", "said"),
    [("12345 678 9\n", [None, "0"]), ("0 0 0\n", ["1000", "0"]), (None, ["1000", "0"])],
)
def test_openmp_is_told_how_to_wait_where_the_kernel_does_not_count(
    tmp_path: Path, counted: str | None, said: list[str | None]
) -> None:
    if counted is not None:
        write(tmp_path, "proc/self/schedstat", counted)
    program = (
        "import os; from caffe import threads; [os.environ.pop(n, None) for n in threads.BRIEF];"
        f"threads.prepare({str(tmp_path)!r}); print([os.environ.get(n) for n in threads.BRIEF])"
    )
    assert run(program) == str(said)


@pytest.mark.parametrize("name", threads.WAITING)
def test_how_threads_wait_is_left_as_a_person_has_set_it(name: str) -> None:
    program = f"import os, caffe; print([os.environ.get(n) for n in {threads.WAITING}])"
    said = [None if other != name else "1" for other in threads.WAITING]
    assert run(program, **{name: "1"}) == str(said)


def test_nothing_is_set_once_pytorch_is_loaded() -> None:
    program = f"import torch, os, caffe; print([n in os.environ for n in {threads.WAITING}])"
    assert run(program) == str([False] * len(threads.WAITING))


def write(root: Path, name: str, text: str) -> None:
    place = root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


@needs_two
@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/pod/own\n", {"pod/own/cpu.max": "100000 100000\n"}),
        ("0::/pod/own\n", {"pod/own/cpu.max": "max 100000\n", "pod/cpu.max": "50000 100000\n"}),
        # As a container sees it: the path is one of the machine outside.
        ("0::/outside\n", {"cpu.max": "20000 100000\n"}),
        (
            "7:memory:/a\n3:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
        ),
    ],
)
def test_a_control_group_grants_one_cpu(tmp_path: Path, group: str, files: dict[str, str]) -> None:
    write(tmp_path, "proc/self/cgroup", group)
    for name, text in files.items():
        write(tmp_path, f"sys/fs/cgroup/{name}", text)
    assert threads.usable_cpus(str(tmp_path)) == 1


@pytest.mark.parametrize(
    "quota", ["max 100000\n", "9900000 100000\n", "", "100000\n", "100000 0\n", "what is this\n"]
)
def test_a_control_group_without_limit_leaves_all_cpus(tmp_path: Path, quota: str) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", quota)
    assert threads.usable_cpus(str(tmp_path)) == threads.usable_cpus(str(tmp_path / "nothing"))


@needs_two
def test_one_and_a_half_cpus_are_worth_two_threads(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", "150000 100000\n")
    assert threads.usable_cpus(str(tmp_path)) == 2


FIT = """
import torch
from caffe import threads
{before}
threads.fit(torch, {root!r})
print(torch.get_num_threads())
"""


@needs_two
@pytest.mark.parametrize(
    ("before", "environment", "count"),
    [
        ("", {}, 1),
        ("torch.set_num_threads(7)", {}, 7),
        ("", {"OMP_NUM_THREADS": "2"}, 2),
        ("threads.compute_by(5)", {}, 5),
    ],
)
def test_pytorchs_own_number_of_threads_is_lowered_to_the_cpus_given(
    tmp_path: Path, before: str, environment: dict[str, str], count: int
) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", "100000 100000\n")
    program = FIT.format(before=before, root=str(tmp_path))
    assert run(program, **environment) == str(count)


def test_processes_that_compute_at_once_share_the_cpus() -> None:
    program = "from caffe import threads; print(threads.shared_among({}))"
    assert run(program.format(1000)) == "{'OMP_NUM_THREADS': '1'}"
    assert run(program.format(1)) == str({"OMP_NUM_THREADS": str(threads.usable_cpus())})
    assert run(program.format(1000), OMP_NUM_THREADS="3") == "{}"


@pytest.fixture
def number_kept() -> Iterator[None]:
    """Let the tests that follow compute by as many threads as before."""
    before, asked = torch.get_num_threads(), threads._Settings.count
    yield
    torch.set_num_threads(before)
    threads._Settings.count = asked


@pytest.mark.usefixtures("number_kept")
@pytest.mark.parametrize("count", [1, 3])
def test_a_command_computes_by_as_many_threads_as_it_is_told(tmp_path: Path, count: int) -> None:
    text = tmp_path / "net.prototxt"
    text.write_text(NET)
    asked = ("time", "--net", text, "--iterations", 1, "--threads", count, "--json")
    told = caffe_command(*asked)
    assert f'"CPU, {count} threads"' in told.output
    assert threads.allowed() == count


@pytest.mark.parametrize("command", COMPUTING)
def test_every_command_that_computes_takes_a_number_of_threads(command: str) -> None:
    assert "--threads" in caffe_command(command, "--help").output
    refused = caffe_command(command, "--threads", 0)
    assert refused.exit_code == 2
    assert "--threads" in refused.output
