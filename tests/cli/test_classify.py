"""`caffe classify`: pictures from everywhere, nets of one's own, and what cannot be read."""

from __future__ import annotations

import csv
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe import mode
from caffe.proto.files import parse_net
from tests.helpers.command import caffe_command

# The mean of each channel, so that the probabilities tell the picture's colour; BGR in.
COLORS = """
name: "Colors"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"
        pooling_param { pool: AVE global_pooling: true } }
"""
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "mean" top: "prob" }'
NAMES = ("blue", "green", "red")
RGB = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


run = partial(caffe_command, "classify")


def png(color: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (9, 7), RGB[color]).save(stream, "PNG")
    return stream.getvalue()


def write_net(folder, text):
    net = folder / "colors.prototxt"
    net.write_text(text)
    weights = folder / "colors.caffemodel"
    weights.write_bytes(parse_net(text).SerializeToString())
    return ["--net", net, "--weights", weights]


@pytest.fixture
def colors(tmp_path):
    """The options for a net that tells colours apart, with a scale at which it is not too sure."""
    folder = tmp_path / "net"
    folder.mkdir()
    labels = folder / "labels.txt"
    labels.write_text("\n".join(NAMES) + "\n\n")
    return [*write_net(folder, COLORS + SOFTMAX), "--labels", labels, "--raw-scale", "4"]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    (folder / ".thumbnails").mkdir()
    (folder / "b.PNG").write_bytes(png("blue"))
    (folder / "a.png").write_bytes(png("red"))
    (folder / "sub" / "c.png").write_bytes(png("green"))
    (folder / ".hidden.png").write_bytes(png("green"))
    (folder / ".thumbnails" / "d.png").write_bytes(png("green"))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def server():
    """A web server on this machine that has /red.png and /page.png, and nothing else."""
    content = {"/red.png": png("red"), "/page.png": b"<html>not a picture</html>"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = content.get(self.path)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *arguments):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()


def objects(result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def tops(result) -> list[str]:
    return [found["predictions"][0]["label"] for found in objects(result)]


def test_text_output_is_aligned_and_plain_in_a_pipe(pictures, colors):
    result = run(pictures / "a.png", *colors, "--top", 2)
    assert result.exit_code == 0
    e = np.exp([4.0, 0.0, 0.0])
    high, low = e[0] / e.sum(), e[1] / e.sum()
    expected = f"{pictures / 'a.png'}\n  {high:.4f}  red\n  {low:.4f}  blue\n"
    assert result.stdout == expected


def test_a_long_label_with_brackets_is_neither_wrapped_nor_interpreted(pictures, colors, tmp_path):
    long = "n01 [bold]" + "very long label " * 20 + "end"
    labels = tmp_path / "long.txt"
    labels.write_text(f"blue\ngreen\n{long}\n")
    result = run(pictures / "a.png", *colors, "--labels", labels, "--top", 1)
    assert result.stdout.splitlines()[1].endswith(long)


def test_json_is_one_object_per_picture_and_line(pictures, colors):
    result = run(pictures / "a.png", pictures / "b.PNG", *colors, "--json", "--top", 3)
    first, second = objects(result)
    assert first["path"] == str(pictures / "a.png")
    assert [p["index"] for p in first["predictions"]] == [2, 0, 1]
    assert [p["label"] for p in second["predictions"]] == ["blue", "green", "red"]
    assert sum(p["probability"] for p in first["predictions"]) == pytest.approx(1)
    assert 0 < first["time"] < 60


def test_tables_go_to_a_file_or_to_standard_output(pictures, colors, tmp_path):
    target = tmp_path / "results.csv"
    result = run(pictures, *colors, "-o", target, "--top", 2)
    assert result.exit_code == 0
    assert result.stdout == f"{target}: 3 pictures.\n"
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert [row["label"] for row in rows if row["rank"] == "1"] == ["red", "blue", "green"]
    assert [row["index"] for row in rows][:2] == ["2", "0"]
    assert {Path(row["path"]).name for row in rows} == {"a.png", "b.PNG", "c.png"}
    assert run(pictures, *colors, "-o", "csv").stdout.startswith("path,rank,index,label,")
    listed = json.loads(run(pictures, *colors, "-o", "json", "--top", 1).stdout)
    assert [found["predictions"][0]["label"] for found in listed] == ["red", "blue", "green"]


def test_what_is_less_probable_is_left_out(pictures, colors):
    result = run(pictures / "a.png", *colors, "--json", "--min-probability", 0.5)
    assert [entry["label"] for entry in objects(result)[0]["predictions"]] == ["red"]


@pytest.mark.parametrize("engine", ["torch", "layerwise"])
def test_the_engine_and_the_precision_can_be_said(pictures, colors, engine):
    options = ["--engine", engine, "--precision", "float32", "--json"]
    try:
        assert tops(run(pictures, *colors, *options)) == ["red", "blue", "green"]
        assert mode.engine() == engine
    finally:
        caffe.set_engine("auto")


def test_a_directory_is_searched_in_order_without_hidden_files(pictures, colors):
    result = run(pictures, *colors, "--json")
    paths = [found["path"].removeprefix(f"{pictures}/") for found in objects(result)]
    assert paths == ["a.png", "b.PNG", "sub/c.png"]
    assert tops(result) == ["red", "blue", "green"]


@pytest.mark.parametrize(
    "options", [["--batch", 2], ["--oversample"], ["--oversample", "--batch", 20]]
)
def test_batches_of_any_size_give_the_same_answers(pictures, colors, options):
    plain = objects(run(pictures, *colors, "--json"))
    batched = objects(run(pictures, *colors, "--json", *options))
    for one, other in zip(plain, batched, strict=True):
        assert one["path"] == other["path"]
        for a, b in zip(one["predictions"], other["predictions"], strict=True):
            assert a["label"] == b["label"]
            assert a["probability"] == pytest.approx(b["probability"], abs=1e-6)


def test_a_net_with_a_fixed_batch_still_takes_many_pictures(pictures, tmp_path):
    fixed = COLORS + (
        'layer { name: "fixed" type: "Reshape" bottom: "mean" top: "flat" '
        "reshape_param { shape { dim: 1 dim: -1 } } }"
        'layer { name: "prob" type: "Softmax" bottom: "flat" top: "prob" }'
    )
    result = run(pictures, *write_net(tmp_path, fixed), "--json", "--top", 1)
    assert result.exit_code == 0, result.stderr
    assert [found["predictions"][0]["index"] for found in objects(result)] == [2, 0, 1]


def test_a_picture_from_standard_input(colors):
    result = run("-", *colors, "--json", input=png("green"))
    assert tops(result) == ["green"]


def test_a_picture_from_the_web(server, colors):
    result = run(f"{server}/red.png", *colors, "--json")
    assert result.exit_code == 0
    assert objects(result)[0]["path"] == f"{server}/red.png"
    assert tops(result) == ["red"]


def test_what_cannot_be_read_is_told_and_the_rest_classified(pictures, colors, server, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no picture at all")
    empty = tmp_path / "empty"
    empty.mkdir()
    missing = tmp_path / "missing.png"
    bad = [text, empty, missing, f"{server}/nothing.png", f"{server}/page.png", "ftp://x/y.png"]
    result = run(*bad[:3], pictures / "a.png", *bad[3:], *colors, "--json")
    assert result.exit_code == 1
    assert tops(result) == ["red"]
    lines = result.stderr.splitlines()
    assert len(lines) == len(bad)
    for culprit in bad:
        assert sum(str(culprit) in line for line in lines) == 1, (culprit, lines)
    assert all(line.startswith("caffe: ") for line in lines)
    assert any("404" in line for line in lines)


def test_nothing_to_classify_does_not_load_a_model(tmp_path):
    result = run(tmp_path, "--net", "absent.prototxt", "--weights", "absent.caffemodel")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert str(tmp_path) in result.stderr


def test_labels_of_another_net_are_an_error_that_names_both_numbers(pictures, colors, tmp_path):
    labels = tmp_path / "four.txt"
    labels.write_text("one\ntwo\nthree\nfour\n")
    result = run(pictures / "a.png", *colors, "--labels", labels)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "4 classes" in result.stderr
    assert "'prob' has 3" in result.stderr


def test_without_labels_the_classes_have_numbers(pictures, colors):
    at = colors.index("--labels")
    unnamed = colors[:at] + colors[at + 2 :]
    result = run(pictures / "a.png", *unnamed, "--top", 1)
    assert result.stdout.endswith("  class 2\n")
    result = run(pictures / "a.png", *unnamed, "--json", "--top", 1)
    assert objects(result)[0]["predictions"][0]["label"] is None


def test_a_net_that_gives_no_probabilities_is_warned_of(pictures, tmp_path):
    result = run(pictures / "a.png", *write_net(tmp_path, COLORS), "--top", 1)
    assert result.exit_code == 0
    assert "255.0000" in result.stdout
    assert result.stderr.startswith("caffe: warning: ")
    assert "'mean'" in result.stderr


def test_channel_swap_and_scales(pictures, tmp_path):
    net = write_net(tmp_path, COLORS)
    result = run(pictures / "a.png", *net, "--channel-swap", "0,1,2", "--json")
    assert objects(result)[0]["predictions"][0] == {"index": 0, "label": None, "probability": 255.0}
    result = run(pictures / "a.png", *net, "--raw-scale", 100, "--input-scale", 0.5, "--json")
    assert objects(result)[0]["predictions"][0]["probability"] == pytest.approx(50)


@pytest.mark.parametrize("kind", ["numbers", "npy", "binaryproto"])
def test_the_mean_is_numbers_or_a_file(pictures, tmp_path, kind):
    mean = np.array([10.0, 20.0, 30.0], np.float32).reshape(3, 1, 1) * np.ones((3, 4, 4))
    if kind == "numbers":
        argument = "10,20,30"
    elif kind == "npy":
        argument = str(tmp_path / "mean.npy")
        np.save(argument, mean)
    else:
        argument = str(tmp_path / "mean.binaryproto")
        blob = caffe.io.array_to_blobproto(mean[np.newaxis])
        (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    result = run(pictures / "a.png", *write_net(tmp_path, COLORS), "--mean", argument, "--json")
    found = {p["index"]: p["probability"] for p in objects(result)[0]["predictions"]}
    assert found == pytest.approx({0: -10, 1: -20, 2: 225})


def test_grey_nets_get_grey_pictures(tmp_path):
    Image.new("L", (5, 5), 51).save(tmp_path / "grey.png")
    net = write_net(tmp_path, COLORS.replace("dim: 1 dim: 3", "dim: 1 dim: 1"))
    result = run(tmp_path / "grey.png", *net, "--json")
    assert objects(result)[0]["predictions"][0]["probability"] == pytest.approx(51)


def test_image_dims_cut_out_the_centre(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[2:6, 2:6] = 255
    Image.fromarray(picture).save(tmp_path / "square.png")
    net = write_net(tmp_path, COLORS)
    result = run(tmp_path / "square.png", *net, "--image-dims", "8,8", "--json")
    assert objects(result)[0]["predictions"][0]["probability"] == pytest.approx(255)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mean", "1,2,3"], "--mean"),
        (["--raw-scale", "1", "--model", "vgg16"], "--raw-scale"),
        (["--net", "x.prototxt"], "--weights"),
        (["--net", "x.prototxt", "--weights", "x", "--model", "vgg16"], "--model"),
        (["--top", "0"], "--top"),
        (["--json", "-o", "csv"], "--output"),
        (["--min-probability", "2"], "--min-probability"),
        ([], "PICTURES"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(arguments, said, pictures):
    result = run(*([pictures / "a.png"] if arguments else []), *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--labels", "absent.txt"], "absent.txt"),
        (["--mean", "absent.npy"], "absent.npy"),
        (["--mean", "1,2"], "(2,)"),
        (["--channel-swap", "0,1,5"], "(0, 1, 5)"),
        (["--image-dims", "2,2"], "2 x 2"),
        (["--gpu", "99"], "GPU"),
        (["--output", "results.txt"], "results.txt"),
        (["--engine", "quick"], "quick"),
        (["--precision", "int8"], "int8"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line_that_names_it(pictures, colors, arguments, culprit):
    result = run(pictures / "a.png", *colors, *arguments)
    assert result.exit_code == 1
    assert culprit in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_archive_is_no_model(pictures):
    result = run(pictures, "--model", "ilsvrc12")
    assert result.exit_code == 1
    assert "ilsvrc12" in result.stderr


def command(*arguments: object, **keywords) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "caffe", "classify", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **keywords,
    )


def test_ctrl_c_is_exit_code_130_and_one_line(pictures, colors):
    arguments = (pictures / "a.png", "-", *colors, "--batch", 1, "--json")
    with command(*arguments, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        # The first answer is out, and now it waits for standard input.
        assert json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "caffe: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_ctrl_c_does_not_wait_for_a_server_that_is_silent(pictures, colors):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        with command(pictures / "a.png", address, *colors, "--batch", 1, "--json") as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())
            connection, _ = silent.accept()
            with connection:
                start = time.monotonic()
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=60)
    # It would answer for want of patience after 20.
    assert time.monotonic() - start < 10
    assert process.returncode == 130
    assert errors == "caffe: interrupted\n"


def test_many_pictures_are_answered_and_refused_in_order(colors, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    names = [name for _ in range(20) for name in ("red", "green", "blue")]
    for number, name in enumerate(names):
        content = b"no picture" if number % 7 == 3 else png(name)
        (folder / f"{number:03}.png").write_bytes(content)
    result = run(folder, *colors, "--json", "--top", 1, "--batch", 4)
    assert result.exit_code == 1
    good = [number for number in range(60) if number % 7 != 3]
    bad = [number for number in range(60) if number % 7 == 3]
    assert tops(result) == [names[number] for number in good]
    assert [found["path"] for found in objects(result)] == [
        str(folder / f"{number:03}.png") for number in good
    ]
    refused = result.stderr.splitlines()
    assert len(refused) == len(bad)
    for number, line in zip(bad, refused, strict=True):
        assert f"{number:03}.png" in line


def test_a_reader_that_goes_away_is_no_error(pictures, colors):
    # More than a pipe holds, so that the writer must notice.
    many = [pictures / "a.png"] * 1000
    with command(*many, *colors) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_the_default_model_names_a_cat(tmp_path):
    data = pytest.importorskip("skimage.data", reason="scikit-image has the cat's picture")
    Image.fromarray(data.chelsea()).save(tmp_path / "cat.png")
    result = run(tmp_path / "cat.png", "--json")
    assert result.exit_code == 0, result.stderr
    predictions = objects(result)[0]["predictions"]
    assert len(predictions) == 5
    assert {p["index"] for p in predictions[:3]} == {281, 282, 285}
    assert predictions[0]["label"].startswith("n0212")
