"""Help in plain words, in groups, from a table that says what there is."""

from __future__ import annotations

import re

import pytest

from caffe.cli.help import plain
from caffe.cli.main import GROUPS, LateCommands
from tests.helpers.command import caffe_command


def test_the_help_has_every_command_in_its_group() -> None:
    text = caffe_command("--help").output
    sections = dict(re.findall(r"^(\w[\w ]+):\n((?: .*\n|\n(?= ))+)", text, re.M))
    for title, entries in GROUPS.items():
        rows = dict(
            re.split(r"  +", row.strip(), maxsplit=1) for row in sections[title].split("\n") if row
        )
        assert rows == {name: entry.does for name, entry in entries.items()}
    assert "--install-completion" in sections["Options"]


@pytest.mark.parametrize("name", list(LateCommands()))
def test_a_commands_help_has_no_words_of_programmers(name: str) -> None:
    text = caffe_command(name, "--help").output
    assert text.startswith("Usage:")
    assert "--help" in text
    for word in ("list[str]", "<", "x>=", "INTEGER", "FLOAT", "RANGE", "{"):
        assert word not in text


def test_options_of_a_kind_stand_together() -> None:
    text = caffe_command("classify", "--help").output
    own = text[text.index("A net of your own") :]
    assert "--mean" in own
    assert "--top" not in own


@pytest.mark.parametrize(
    ("name", "text", "plain_name", "plain_text"),
    [
        ("--top <int range>", "So many.  [x>=1]", "--top N", "So many.  [at least 1]"),
        ("--top INTEGER RANGE", "[default: 5; 1<=x<=9]", "--top N", "[default: 5; 1 to 9]"),
        ("--scale <float>", "[default: (255)]", "--scale X", "[default: 255]"),
        ("PICTURES <list[str]>", "", "PICTURES", ""),
        ("--effect [stop|none]", "", "--effect stop|none", ""),
        ("--gpu N,N|all", "a", "--gpu N,N|all", "a"),
    ],
)
def test_plain_words(name: str, text: str, plain_name: str, plain_text: str) -> None:
    assert plain(name, text) == (plain_name, plain_text)
