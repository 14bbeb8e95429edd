"""`caffe classify`, `extract` and `detect` into a folder's Parquet files."""

from __future__ import annotations

import io
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe.bulk.run import State
from caffe.bulk.stores import open_store
from caffe.cli.bulk import _described
from tests.helpers.buckets import bucket
from tests.helpers.bulk import colour_of, encoded, model_files, name_of, painted
from tests.helpers.command import caffe_command
from tests.helpers.detectors import cells
from tests.helpers.detectors import painted as cells_painted

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

classify = partial(caffe_command, "classify")
extract = partial(caffe_command, "extract")
detect = partial(caffe_command, "detect")


@pytest.fixture
def net(tmp_path: Path) -> list[str]:
    files = model_files(tmp_path / "net")
    labels = tmp_path / "net" / "labels.txt"
    labels.write_text("blue\ngreen\nred\n")
    return ["--net", files.net, "--weights", files.weights, "--labels", str(labels)]


def test_a_run_is_told_and_checked(tmp_path: Path, net: list[str]) -> None:
    folder = painted(tmp_path / "photos", range(9))
    (folder / "bad.jpg").write_text("no picture")
    out = f"{tmp_path / 'out'}/"
    done = classify(folder, *net, "-o", out, "--shard", 4, "--top", 1, "--verify", "--batch", 2)
    assert done.exit_code == 0, done.stderr
    assert f"{tmp_path / 'out'}: 10 pictures." in done.stdout
    assert "10 rows, one for each of 10 pictures" in done.stdout
    assert "1 pictures could not be read" in done.stderr
    rows = parquet.read_table(tmp_path / "out").to_pylist()
    told = {Path(row["key"]).name: row["labels"] for row in rows}
    assert told.pop("bad.jpg") is None
    assert told == {name_of(number): [colour_of(number)] for number in range(9)}

    (folder / "bad.jpg").write_bytes(encoded(3, "JPEG"))
    again = classify(
        folder, *net, "-o", out, "--shard", 4, "--top", 1, "--retry-errors", "--json", "--verify"
    )
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert [event["event"] for event in events] == ["progress", "done", "verified"]
    assert events[-1] == {"event": "verified", "pictures": 10, "rows": 10, "errors": 0}

    refused = classify(folder, *net, "-o", out, "--shard", 4)
    assert refused.exit_code == 1
    assert "holds another run: top was 1 and is 5" in refused.stderr

    (tmp_path / "out" / "part-00000001.parquet").unlink()
    checked = classify("-o", out, "--verify")
    assert checked.exit_code == 1
    assert "shard 1 has no rows" in checked.stderr


def test_features_are_lists_of_one_length(tmp_path: Path, net: list[str]) -> None:
    folder = painted(tmp_path / "photos", range(5))
    (folder / "bad.jpg").write_text("no picture")
    done = extract(folder, *net[:4], "--blob", "mean", "-o", f"{tmp_path}/out/", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["errors"] == 1
    table = parquet.read_table(tmp_path / "out")
    assert table.schema.field("features").type == arrow.list_(arrow.float32(), 3)
    rows = {row["key"][-8:]: row["features"] for row in table.to_pylist()}
    assert rows["/bad.jpg"] is None
    np.testing.assert_allclose(rows["0002.png"], [0, 0, 255], atol=1e-3)

    plain = extract(folder, *net[:4], "--blob", "mean", "-o", tmp_path / "plain.npy")
    assert plain.exit_code == 1
    told = [row for name, row in sorted(rows.items()) if row is not None]
    np.testing.assert_array_equal(np.load(tmp_path / "plain.npy"), told)


def test_boxes_and_their_coco_file(tmp_path: Path) -> None:
    net, weights = cells(tmp_path)
    (tmp_path / "labels.txt").write_text("red\nblue\n")
    own = ["--net", net, "--weights", weights, "--labels", tmp_path / "labels.txt"]
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(cells_painted()).save(folder / name)
    Image.new("RGB", (50, 40), "grey").save(folder / "d.png")
    (folder / "b.png").write_text("no picture")
    out = tmp_path / "boxes"
    done = detect(folder, *own, "--to", f"{out}/", "--format", "coco", "--shard", 3, "--verify")
    assert done.exit_code == 0, done.stderr
    rows = parquet.read_table(out).sort_by("id").to_pylist()
    assert [row["error"] is None for row in rows] == [True, False, True, True]
    assert (rows[0]["width"], rows[0]["height"]) == (128, 96)
    assert set(rows[2]["names"]) == {"red", "blue"}
    np.testing.assert_allclose(sorted(rows[0]["boxes"])[0], [32, 16, 48, 32], atol=1e-3)
    assert rows[3]["boxes"] == []
    told = json.loads((out / "_coco.json").read_text())
    assert [image["id"] for image in told["images"]] == [0, 2, 3]
    assert told["categories"] == [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    (box,) = (o for o in told["annotations"] if o["image_id"] == 2 and o["category_id"] == 1)
    assert box["bbox"] == [32.0, 16.0, 16.0, 16.0]

    refused = detect(folder, *own, "--to", f"{out}/", "-o", "drawn/")
    assert refused.exit_code == 2
    assert "do not go with --to FOLDER/" in refused.stderr


def test_duckdb_reads_the_rows(tmp_path: Path, net: list[str]) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    folder = painted(tmp_path / "photos", range(6))
    assert classify(folder, *net, "-o", f"{tmp_path}/out/", "--shard", 2).exit_code == 0
    found = duckdb.sql(
        f"SELECT labels[1], count(*) FROM '{tmp_path}/out/part-*.parquet' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert found == [("blue", 2), ("green", 2), ("red", 2)]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["a.png", "--workers", "2"], 2, "--workers: only with -o FOLDER/"),
        (["a.png", "-o", "a.csv", "--verify", "--shard", "3"], 2, "--shard, --verify: only with"),
        (["s3://bucket/photos/"], 2, "s3://bucket/photos/: only with -o FOLDER/"),
        (["shard.tar", "-o", "a.csv"], 2, "shard.tar: only with -o FOLDER/"),
        (["-o", "out/"], 2, "Missing argument 'PICTURES'"),
        ([], 2, "Missing argument 'PICTURES'"),
        (["--verify", "-o", "out/"], 1, "no run is here"),
        (["-", "-o", "out/"], 1, "no pictures from standard input"),
        (["none/", "-o", "out/"], 1, "none: no such file or folder"),
        (["none.jpg", "-o", "out/"], 1, "none of the pictures could be read; the first: "),
        (["a.png", "-o", "http://127.0.0.1:9/out/"], 1, "rows go into a folder or an object"),
        (["empty/", "-o", "out/"], 1, "no pictures in"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path,
    net: list[str],
    arguments: list[str],
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(encoded(1))
    done = classify(*arguments, *(net if "--verify" not in arguments else []))
    assert done.exit_code == code, done.stderr
    assert told in done.stderr


def test_a_wrong_count_of_labels_is_said(tmp_path: Path, net: list[str]) -> None:
    Path(net[-1]).write_text("blue\n")
    done = classify(painted(tmp_path / "photos", range(2)), *net, "-o", f"{tmp_path}/out/")
    assert done.exit_code == 1
    assert "the labels name 1 classes, but the net has 3 values" in done.stderr


def test_from_a_bucket_into_a_bucket(
    tmp_path: Path, net: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with bucket(monkeypatch):
        store = open_store("s3://pictures")
        for number in range(6):
            store.create(f"photos/{name_of(number)}", encoded(number))
        done = classify(
            "s3://pictures/photos/", *net, "-o", "s3://pictures/out/", "--shard", 4, "--verify"
        )
        assert done.exit_code == 0, done.stderr
        assert "6 rows, one for each of 6 pictures" in done.stdout
        part = parquet.read_table(io.BytesIO(store.read("out/part-00000001.parquet")))
        assert part["key"].to_pylist() == [f"s3://pictures/photos/{name_of(n)}" for n in (4, 5)]


@pytest.mark.parametrize(
    ("module", "arguments", "told"),
    [
        ("pyarrow", ["-o", "out/"], "pyarrow is needed for rows in out/; install it with: "),
        ("obstore", ["-o", "s3://bucket/out"], "obstore is needed for object storage"),
        ("ray", ["-o", "out/", "--ray", "auto"], "ray is needed for a Ray cluster"),
    ],
)
def test_what_is_missing_is_named_with_its_extra(
    module: str,
    arguments: list[str],
    told: str,
    tmp_path: Path,
    net: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    open_store.cache_clear()
    done = classify(painted(tmp_path / "photos", range(1)), *net, *arguments)
    assert done.exit_code == 1
    assert told in done.stderr
    extra = {"pyarrow": "parquet", "obstore": "cloud", "ray": "ray"}[module]
    assert f"[{extra}]" in done.stderr


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State(listed=500), "0.0 pictures/s, 0 errors, 500 listed so far"),
        (
            State(listed=1000, is_listed=True, before=100, done=100, errors=3, seconds=10.0),
            "10.0 pictures/s, 3 errors, 1:20 left",
        ),
        (
            State(listed=100_000, is_listed=True, done=100, seconds=10.0),
            "10.0 pictures/s, 0 errors, 2:46:30 left",
        ),
    ],
)
def test_the_line_on_a_terminal(state: State, told: str) -> None:
    assert _described(state) == told
