"""Results as CSV, JSON, JSON lines and Parquet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from caffe.errors import CaffeError
from caffe.io import tables
from caffe.io.tables import form_of, write_results

COLUMNS: dict[str, type] = {"path": str, "rank": int, "share": float}
ROWS = [
    {"path": 'a, "b"\n.png', "rank": 1, "share": 0.5},
    {"path": "\udcff.png", "rank": 2, "share": None},
]


def write(place: str) -> None:
    with write_results(place, COLUMNS) as put:
        for row in ROWS:
            put({"whole": row["path"]}, [row])


def test_csv_has_a_head_and_quotes_what_needs_it(tmp_path: Path) -> None:
    write(str(tmp_path / "a.csv"))
    read = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text(), newline="")))
    assert read == [
        {"path": ROWS[0]["path"], "rank": "1", "share": "0.5"},
        {"path": "\\udcff.png", "rank": "2", "share": ""},
    ]


def test_json_is_one_list_and_json_lines_are_one_in_each(tmp_path: Path) -> None:
    for name in ("a.json", "a.jsonl"):
        write(str(tmp_path / name))
    whole = [{"whole": row["path"]} for row in ROWS]
    assert json.loads((tmp_path / "a.json").read_text()) == whole
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == whole


def test_parquet_has_types_and_is_written_in_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 1)
    write(str(tmp_path / "a.parquet"))
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table["rank"].to_pylist() == [1, 2]
    assert table["share"].to_pylist() == [0.5, None]
    assert [str(field.type) for field in table.schema] == ["string", "int64", "double"]


def test_a_form_alone_means_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write("csv")
    assert capsys.readouterr().out.startswith("path,rank,share\n")
    with write_results("json", COLUMNS):
        pass
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("place", ["a.txt", "a", "-", ".csv"])
def test_a_name_that_says_no_form_is_refused(place: str) -> None:
    with pytest.raises(CaffeError, match=r"end in \.csv"):
        form_of(place)


def test_parquet_does_not_go_to_standard_output() -> None:
    with pytest.raises(CaffeError, match="into a file"):
        write("parquet")


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_what_breaks_off_leaves_what_stood_there(tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a.{form}"
    path.write_text("before")

    def interrupted() -> None:
        with write_results(str(path), COLUMNS) as put:
            put({}, ROWS[:1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
