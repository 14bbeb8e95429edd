"""Every command and program in the documents runs as it stands, alone, in an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import caffe
from caffe import mode
from tests.helpers.command import caffe_command
from tests.helpers.places import REPOSITORY
from tests.helpers.snippets import LANGUAGES, Block, blocks, reader_files

pytest.importorskip("skimage.data", reason="the pictures are scikit-image's")
pytest.importorskip("matplotlib", reason="figures need the extra vis")

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
RUN = [block for block in BLOCKS if not block.why_not]
SHOWN = [block for block in RUN if block.text.startswith("$ caffe ")]
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and nobody's settings before or after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    mode.set_mode_cpu()


def run_lines(block: Block) -> list[str]:
    """Run a block's commands; returns what each printed."""
    printed = []
    for line in block.commands:
        program, *words = shlex.split(line)
        assert program == "caffe", f"{block.place}: say above the block why {line!r} is not run"
        result = caffe_command(*words)
        allowed = (0, 1) if any(word in line for word in block.failing) else (0,)
        assert result.exit_code in allowed, f"{block.place}: {line}\n{result.output}"
        printed.append(result.stdout)
    return printed


def id_of(block: Block) -> str:
    return block.place


@pytest.mark.parametrize("block", [b for b in RUN if b.language == "sh"], ids=id_of)
def test_commands_run(block: Block, tmp_path: Path) -> None:
    reader_files(tmp_path, block.files)
    assert run_lines(block)


@pytest.mark.parametrize("block", [b for b in RUN if b.language == "python"], ids=id_of)
def test_programs_run(block: Block, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader_files(tmp_path, block.files)
    caffe.set_random_seed(1)
    code = compile(block.text, block.place, "exec")
    exec(code, {"__name__": "__main__"})
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("block", SHOWN, ids=id_of)
def test_commands_print_what_is_shown(block: Block, tmp_path: Path) -> None:
    command, *shown = block.text.splitlines()
    assert command.startswith("$ caffe ")
    if "cat.jpg" in command:
        assert caffe_command("demo-picture", "cat").exit_code == 0
    reader_files(tmp_path, block.files)
    block.text = command[2:]
    (printed,) = run_lines(block)
    told = iter(printed.splitlines())
    for number, line in enumerate(shown):
        if line == "...":
            wanted = shown[number + 1]
            told = iter([wanted, *told_from(told, wanted)])
        else:
            assert_alike(next(told, "nothing more"), line)


def told_from(told: object, wanted: str) -> list[str]:
    """What is told after a line."""
    rest = list(told)  # type: ignore[call-overload]
    assert wanted in rest, f"{wanted!r} is not told"
    return rest[rest.index(wanted) + 1 :]


def assert_alike(told: str, shown: str) -> None:
    """Check that lines have the same words, and numbers to the last digits."""
    assert NUMBER.sub("", told) == NUMBER.sub("", shown)
    numbers = [
        [float(number.replace(",", "")) for number in NUMBER.findall(line)]
        for line in (told, shown)
    ]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=3e-3)


def test_every_block_says_what_it_is_and_why_it_is_not_run() -> None:
    assert len(RUN) > 12
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block.place}: a fence needs sh, python or text"
        if block.why_not:
            assert len(block.why_not) > 8, block.place
        for word in (*block.skipped, *block.failing):
            assert word in block.text, f"{block.place}: no line has {word!r}"


def test_what_a_page_names_is_there() -> None:
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} names {target}"


def test_no_page_speaks_of_inside_words() -> None:
    for page in PAGES:
        if page.name not in ("architecture.md", "fuzzing.md"):
            assert "RECAFFE_SHARED" not in page.read_text(encoding="utf-8"), page.name
