"""Data layers: MemoryData, HDF5, ImageData, Data and WindowData."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.io import array_to_datum
from caffe.layers.sources.bgr_pictures import read_native_picture, read_picture, resize_picture
from caffe.layers.sources.data_transformer import DataTransformer
from caffe.layers.sources.window_data import expand_box
from caffe.proto.caffe_pb2 import BlobProto, TransformationParameter

RANDOM = np.random.default_rng(0)


def picture(height: int, width: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_picture(path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(path)


def source(text: str, tops: str = 'top: "data" top: "label"') -> caffe.Net:
    return caffe.Net(f'layer {{ name: "in" {tops} {text} }}', caffe.TEST)


def write_lmdb(path: Path, values: dict[bytes, bytes]) -> None:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=2**22) as environment, environment.begin(write=True) as txn:
        for key, value in values.items():
            txn.put(key, value)


def prefetch_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "caffe-prefetch"]


# MemoryData


def memory_net(**sizes: int) -> caffe.Net:
    fields = {"batch_size": 2, "channels": 1, "height": 2, "width": 3, **sizes}
    text = " ".join(f"{name}: {value}" for name, value in fields.items())
    return source(f'type: "MemoryData" memory_data_param {{ {text} }}')


def test_memory_data_goes_round_in_batches() -> None:
    net = memory_net()
    assert net.blobs["data"].shape == (2, 1, 2, 3)
    assert net.blobs["label"].shape == (2,)
    data = RANDOM.random((4, 1, 2, 3), dtype=np.float32)
    net.set_input_arrays(data, np.arange(4, dtype=np.float32))
    for start in (0, 2, 0):
        net.forward()
        np.testing.assert_array_equal(net.blobs["data"].data, data[start : start + 2])
        assert net.blobs["label"].data.ravel().tolist() == [start, start + 1]


def test_memory_data_never_writes_to_the_arrays() -> None:
    net = memory_net()
    data = np.ones((4, 1, 2, 3), np.float32)
    net.set_input_arrays(data, np.zeros(4, np.float32))
    for _ in range(3):
        net.forward()
        net.blobs["data"].data[...] = -5
    assert (data == 1).all()


@pytest.mark.parametrize(
    ("data", "labels", "said"),
    [
        (np.zeros((4, 1, 2, 3)), np.zeros(4, np.float32), "float32"),
        (np.zeros((4, 1, 3, 2), np.float32), np.zeros(4, np.float32), r"\(n, 1, 2, 3\)"),
        (np.zeros((3, 1, 2, 3), np.float32), np.zeros(3, np.float32), "batches of 2"),
        (np.zeros((4, 1, 2, 3), np.float32), np.zeros(2, np.float32), "2 labels"),
        (np.zeros((8, 1, 2, 3), np.float32)[::2], np.zeros(4, np.float32), "C-contiguous"),
        (np.zeros((0, 1, 2, 3), np.float32), np.zeros(0, np.float32), "0 pictures"),
    ],
)
def test_memory_data_refuses_arrays_that_do_not_fit(
    data: np.ndarray, labels: np.ndarray, said: str
) -> None:
    with pytest.raises(caffe.ShapeError, match=f"layer 'in'.*{said}"):
        memory_net().set_input_arrays(data, labels)


def test_memory_data_without_arrays_says_what_to_call() -> None:
    with pytest.raises(caffe.CaffeError, match="set_input_arrays"):
        memory_net().forward()
    with pytest.raises(caffe.NetError, match="batch_size"):
        memory_net(batch_size=0)


# The transformer


def transformer(text: str, phase: int = caffe.TEST, **fields: Any) -> DataTransformer:
    from caffe.proto.text import parse_text

    param = parse_text(text, TransformationParameter())
    for name, value in fields.items():
        setattr(param, name, value)
    return DataTransformer(param, phase)


def test_transformer_subtracts_then_scales() -> None:
    image = RANDOM.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    result = transformer("mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5")(image)
    expected = (image - np.array([1, 2, 3]).reshape(3, 1, 1)) * 0.5
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    np.testing.assert_allclose(transformer("mean_value: 7")(image), image - 7.0)


def test_transformer_crops_the_middle_of_picture_and_mean_alike(tmp_path: Path) -> None:
    image = RANDOM.integers(0, 256, (3, 7, 8), dtype=np.uint8)
    mean = RANDOM.random((1, 3, 7, 8), dtype=np.float32)
    blob = BlobProto(data=mean.ravel().tolist(), num=1, channels=3, height=7, width=8)
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    crop = transformer("crop_size: 4", mean_file=str(tmp_path / "mean.binaryproto"))
    np.testing.assert_allclose(crop(image), (image - mean[0])[:, 1:5, 2:6], rtol=1e-5)
    with pytest.raises(caffe.ShapeError, match=r"mean.*\(3, 7, 8\).*\(3, 8, 8\)"):
        crop(np.zeros((3, 8, 8), np.uint8))


def test_transformer_crops_anywhere_when_training_and_repeats_with_the_seed() -> None:
    image = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    runs = []
    for _ in range(2):
        caffe.set_random_seed(5)
        crop = transformer("crop_size: 3 mirror: true", caffe.TRAIN)
        runs.append([crop(image) for _ in range(60)])
    np.testing.assert_array_equal(runs[0], runs[1])
    corners = {int(result.min()) for result in runs[0]}
    assert len(corners) > 20
    mirrored = [result[0, 0, 0] > result[0, 0, 2] for result in runs[0]]
    assert 5 < sum(mirrored) < 55
    for result in runs[0]:
        row, column = divmod(int(result.min()), 10)
        window = image[:, row : row + 3, column : column + 3]
        upright = result if result[0, 0, 0] < result[0, 0, 2] else result[:, :, ::-1]
        np.testing.assert_array_equal(upright, window)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('mean_value: 1 mean_file: "x"', "not both"),
        ("force_color: true force_gray: true", "not both"),
        ('mean_file: "nowhere.binaryproto"', "nowhere"),
    ],
)
def test_transformer_refuses(text: str, said: str) -> None:
    with pytest.raises(caffe.CaffeError, match=said):
        transformer(text)


# Pictures


def test_resize_keeps_flat_pictures_flat_and_doubles_a_ramp_as_opencv() -> None:
    flat = np.full((3, 5, 7), 200, np.uint8)
    assert (resize_picture(flat, 13, 4) == 200).all()
    ramp = np.array([[[0, 100]]], np.uint8)
    assert resize_picture(ramp, 1, 4)[0, 0].tolist() == [0, 25, 75, 100]


def encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_pictures_are_bgr_bytes() -> None:
    content = encoded(Image.new("RGB", (2, 1), (255, 128, 0)))
    assert read_picture(content)[:, 0, 0].tolist() == [0, 128, 255]
    assert read_picture(content, color=False).tolist() == [[[151, 151]]]


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("P", 3)])
def test_native_pictures_keep_their_channels(mode: str, channels: int) -> None:
    assert read_native_picture(encoded(Image.new(mode, (3, 2)))).shape == (channels, 2, 3)


# ImageData


@pytest.fixture
def listed(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    pictures = [picture(6, 5) for _ in range(3)]
    lines = []
    for i, image in enumerate(pictures):
        save_picture(tmp_path / f"a picture {i}.png", image)
        lines.append(f"a picture {i}.png {i + 10}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path, pictures


def image_net(folder: Path, more: str = "", transform: str = "", batch: int = 2) -> caffe.Net:
    return source(
        f'type: "ImageData" image_data_param {{ source: "{folder}/list.txt" '
        f'root_folder: "{folder}/" batch_size: {batch} {more} }} transform_param {{ {transform} }}'
    )


def test_image_data_gives_bgr_pictures_in_order(listed: tuple[Path, list[np.ndarray]]) -> None:
    folder, pictures = listed
    net = image_net(folder, transform="scale: 0.5")
    assert net.blobs["data"].shape == (2, 3, 6, 5)
    expected = [image[:, :, ::-1].transpose(2, 0, 1) * 0.5 for image in pictures]
    for first in (0, 2, 1):
        net.forward()
        for i in range(2):
            which = (first + i) % 3
            np.testing.assert_allclose(net.blobs["data"].data[i], expected[which])
            assert net.blobs["label"].data[i] == which + 10


def test_image_data_resizes_and_greys(listed: tuple[Path, list[np.ndarray]]) -> None:
    net = image_net(listed[0], "new_height: 4 new_width: 9 is_color: false")
    net.forward()
    assert net.blobs["data"].shape == (2, 1, 4, 9)


def test_image_data_shuffles_each_round(listed: tuple[Path, list[np.ndarray]]) -> None:
    net = image_net(listed[0], "shuffle: true")
    labels = []
    for _ in range(30):
        net.forward()
        labels += net.blobs["label"].data.tolist()
    rounds = [tuple(labels[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(r) == [10, 11, 12] for r in rounds)
    assert len(set(rounds)) > 1


def test_image_data_takes_the_batch_size_of_each_picture_alone(tmp_path: Path) -> None:
    for i, size in enumerate([(4, 5), (7, 3)]):
        save_picture(tmp_path / f"{i}.png", picture(*size))
    (tmp_path / "list.txt").write_text("0.png 0\n1.png 1\n")
    net = image_net(tmp_path, batch=1)
    for size in [(4, 5), (7, 3), (4, 5)]:
        net.forward()
        assert net.blobs["data"].shape == (1, 3, *size)
    pair = image_net(tmp_path)
    for _ in range(2):
        with pytest.raises(caffe.ShapeError, match=r"'1.png'.*\(3, 7, 3\).*\(3, 4, 5\)"):
            pair.forward()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("missing.png 0\n", "missing.png.*no such file"),
        ("\n", "holds no pictures"),
        ("0.png one\n", r"list.txt:1: .*whole number"),
        ("list.txt 0\n", "list.txt.*not a picture"),
    ],
)
def test_image_data_names_what_is_wrong_with_the_list(
    tmp_path: Path, lines: str, said: str
) -> None:
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(caffe.CaffeError, match=f"layer 'in' \\(ImageData\\).*{said}"):
        image_net(tmp_path)


def test_image_data_raises_in_forward_what_the_thread_found(
    listed: tuple[Path, list[np.ndarray]],
) -> None:
    folder, _ = listed
    (folder / "a picture 2.png").write_bytes(b"not a picture")
    net = image_net(folder)
    net.forward()
    for _ in range(2):
        with pytest.raises(caffe.ImageError, match=r"layer 'in'.*list.txt: picture 'a picture 2"):
            net.forward()


def test_threads_end_with_their_net(listed: tuple[Path, list[np.ndarray]]) -> None:
    gc.collect()
    before = len(prefetch_threads())
    net = image_net(listed[0])
    net.forward()
    assert len(prefetch_threads()) == before + 1
    del net
    gc.collect()
    deadline = time.monotonic() + 5
    while len(prefetch_threads()) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(prefetch_threads()) == before


def test_the_interpreter_ends_while_a_thread_reads_ahead(
    listed: tuple[Path, list[np.ndarray]],
) -> None:
    code = (
        "import sys, caffe; net = caffe.Net(sys.argv[1], caffe.TEST); net.forward(); print('done')"
    )
    text = (
        f'layer {{ name: "in" type: "ImageData" top: "data" top: "label" image_data_param {{ '
        f'source: "{listed[0]}/list.txt" root_folder: "{listed[0]}/" }} }}'
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code, text],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


# Data


def data_net(
    path: Path, transform: str = "", tops: str = "", backend: str = "LMDB", batch: int = 2
) -> caffe.Net:
    return source(
        f'type: "Data" data_param {{ source: "{path}" batch_size: {batch} backend: {backend} }} '
        f"transform_param {{ {transform} }}",
        tops or 'top: "data" top: "label"',
    )


def datums(count: int) -> tuple[list[np.ndarray], dict[bytes, bytes]]:
    pictures = [RANDOM.integers(0, 256, (3, 4, 5), dtype=np.uint8) for _ in range(count)]
    values = {
        f"{i:08d}".encode(): array_to_datum(image, i).SerializeToString()
        for i, image in enumerate(pictures)
    }
    return pictures, values


def check_rounds(net: caffe.Net, pictures: list[np.ndarray]) -> None:
    for first in (0, 2, 1):
        net.forward()
        for i in range(2):
            which = (first + i) % 3
            np.testing.assert_array_equal(net.blobs["data"].data[i], pictures[which])
            assert net.blobs["label"].data[i] == which


def test_data_reads_an_lmdb_round_and_round(tmp_path: Path) -> None:
    pictures, values = datums(3)
    write_lmdb(tmp_path / "db", values)
    net = data_net(tmp_path / "db")
    assert net.blobs["data"].shape == (2, 3, 4, 5)
    check_rounds(net, pictures)
    # A second net on the same store, while the first one reads.
    check_rounds(data_net(tmp_path / "db"), pictures)
    only = data_net(tmp_path / "db", tops='top: "data"', transform="crop_size: 2")
    only.forward()
    np.testing.assert_array_equal(only.blobs["data"].data[0], pictures[0][:, 1:3, 1:3])


def test_data_reads_a_leveldb(tmp_path: Path) -> None:
    plyvel = pytest.importorskip("plyvel")
    pictures, values = datums(3)
    database = plyvel.DB(str(tmp_path / "db"), create_if_missing=True)
    for key, value in values.items():
        database.put(key, value)
    database.close()
    check_rounds(data_net(tmp_path / "db", backend="LEVELDB"), pictures)
    with pytest.raises(caffe.ParseError, match="LevelDB"):
        data_net(tmp_path, backend="LEVELDB")


def test_data_reads_encoded_and_float_datums(tmp_path: Path) -> None:
    rgb = picture(4, 5)
    png = array_to_datum(np.zeros((1, 1, 1), np.uint8), 7)
    png.encoded, png.data = True, encoded(Image.fromarray(rgb))
    write_lmdb(tmp_path / "png", {b"a": png.SerializeToString()})
    bgr = rgb[:, :, ::-1].transpose(2, 0, 1)
    net = data_net(tmp_path / "png")
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data[1], bgr)
    assert data_net(tmp_path / "png", transform="force_gray: true").blobs["data"].channels == 1
    values = RANDOM.normal(size=(2, 1, 3))
    write_lmdb(tmp_path / "float", {b"a": array_to_datum(values, 1).SerializeToString()})
    net = data_net(tmp_path / "float")
    net.forward()
    np.testing.assert_allclose(net.blobs["data"].data[0], values, rtol=1e-6)


def test_data_names_the_damaged_entry(tmp_path: Path) -> None:
    _, values = datums(3)
    for cut, said in ((40, "cut off"), (0, "empty")):
        damaged = {**values, b"00000002": values[b"00000002"][:cut]}
        write_lmdb(tmp_path / str(cut), damaged)
        net = data_net(tmp_path / str(cut))
        net.forward()
        with pytest.raises(caffe.CaffeError, match=f"layer 'in'.*entry '00000002'.*{said}"):
            net.forward()
    short = array_to_datum(np.zeros((3, 4, 5), np.uint8))
    short.data = short.data[:-1]
    write_lmdb(tmp_path / "short", {b"key": short.SerializeToString()})
    with pytest.raises(caffe.CaffeError, match=r"entry 'key'.*59 values"):
        data_net(tmp_path / "short")


def test_data_refuses_what_is_no_store(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "empty", {})
    with pytest.raises(caffe.ParseError, match="it is empty"):
        data_net(tmp_path / "empty")
    with pytest.raises(caffe.ParseError, match="no such file"):
        data_net(tmp_path / "nowhere")
    with pytest.raises(caffe.ParseError, match="an LMDB was expected"):
        data_net(tmp_path)
    (tmp_path / "text").write_text("no store")
    with pytest.raises(caffe.ParseError, match="an LMDB was expected"):
        data_net(tmp_path / "text")
    with pytest.raises(caffe.NetError, match="batch_size"):
        data_net(tmp_path / "empty", batch=0)


def test_data_refuses_an_lmdb_that_is_cut_off(tmp_path: Path) -> None:
    _, values = datums(300)
    write_lmdb(tmp_path / "db", values)
    file = tmp_path / "db" / "data.mdb"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(caffe.ParseError, match="cut off"):
        data_net(tmp_path / "db")


# HDF5


def hdf5_net(folder: Path, more: str = "", tops: str = "") -> caffe.Net:
    return source(
        f'type: "HDF5Data" hdf5_data_param {{ source: "{folder}/list.txt" batch_size: 3 {more} }}',
        tops or 'top: "data" top: "label"',
    )


def write_hdf5(folder: Path, *files: dict[str, np.ndarray]) -> None:
    h5py = pytest.importorskip("h5py")
    names = []
    for i, arrays in enumerate(files):
        names.append(f"{folder}/{i}.h5")
        with h5py.File(names[-1], "w") as file:
            for name, array in arrays.items():
                file[name] = array
    (folder / "list.txt").write_text("\n".join(names))


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    labels = np.arange(first, first + count)
    return {"data": labels.reshape(-1, 1, 1) * np.ones((1, 2, 2)), "label": labels}


def test_hdf5_data_goes_through_all_files(tmp_path: Path) -> None:
    write_hdf5(tmp_path, rows(0, 4), rows(4, 1))
    net = hdf5_net(tmp_path)
    seen = []
    for _ in range(5):
        net.forward()
        assert net.blobs["data"].shape == (3, 2, 2)
        seen += net.blobs["label"].data.tolist()
        np.testing.assert_array_equal(net.blobs["data"].data[:, 1, 1], net.blobs["label"].data)
    assert seen == [0, 1, 2, 3, 4] * 3


def test_hdf5_data_shuffles_rows_together(tmp_path: Path) -> None:
    write_hdf5(tmp_path, rows(0, 9))
    net = hdf5_net(tmp_path, "shuffle: true")
    rounds = []
    for _ in range(4):
        seen = []
        for _ in range(3):
            net.forward()
            seen += net.blobs["label"].data.tolist()
            np.testing.assert_array_equal(net.blobs["data"].data[:, 0, 0], seen[-3:])
        assert sorted(seen) == list(range(9))
        rounds.append(tuple(seen))
    assert len(set(rounds)) > 1


def test_hdf5_data_names_what_is_missing(tmp_path: Path) -> None:
    write_hdf5(tmp_path, {"data": np.zeros((2, 3))})
    with pytest.raises(caffe.ParseError, match=r"0.h5: there is no data set 'label'.*data"):
        hdf5_net(tmp_path)
    write_hdf5(tmp_path, {"data": np.zeros((2, 3)), "label": np.zeros(4)})
    with pytest.raises(caffe.ParseError, match="2, 4"):
        hdf5_net(tmp_path)
    (tmp_path / "0.h5").write_text("no HDF5")
    with pytest.raises(caffe.ParseError, match=r"0.h5"):
        hdf5_net(tmp_path)
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(caffe.ParseError, match="no HDF5 files"):
        hdf5_net(tmp_path)


def test_hdf5_output_writes_one_batch(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write_hdf5(tmp_path, rows(0, 3))
    net = caffe.Net(
        f"""layer {{ name: "in" type: "HDF5Data" top: "data" top: "label"
                     hdf5_data_param {{ source: "{tmp_path}/list.txt" batch_size: 3 }} }}
            layer {{ name: "out" type: "HDF5Output" bottom: "data" bottom: "label"
                     hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}""",
        caffe.TEST,
    )
    net.forward()
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["data"].shape == (3, 2, 2, 1)
        assert file["data"].dtype == np.float32
        assert file["label"][:, 0, 0, 0].tolist() == [0, 1, 2]
    with pytest.raises(caffe.CaffeError, match=r"out.h5 already holds"):
        net.forward()


# WindowData


def window_net(folder: Path, lines: str, more: str = "", transform: str = "") -> caffe.Net:
    (folder / "windows.txt").write_text(lines)
    return source(
        f'type: "WindowData" window_data_param {{ source: "{folder}/windows.txt" batch_size: 4 '
        f"{more} }} transform_param {{ crop_size: 8 {transform} }}"
    )


def window_file(path: Path, *windows: str) -> str:
    return f"# 0\n{path}\n3\n20\n30\n{len(windows)}\n" + "\n".join(windows) + "\n"


def test_window_data_puts_background_before_objects(tmp_path: Path) -> None:
    image = picture(20, 30)
    save_picture(tmp_path / "a.png", image)
    lines = window_file(tmp_path / "a.png", "5 0.9 2 3 9 10", "5 0.1 10 8 17 15", "1 0.5 0 0 9 9")
    net = window_net(tmp_path, lines, "fg_threshold: 0.6 bg_threshold: 0.5 scale: 0.5")
    net.forward()
    assert net.blobs["label"].data.tolist() == [0, 0, 0, 5]
    bgr = image[:, :, ::-1].transpose(2, 0, 1) * 0.5
    np.testing.assert_array_equal(net.blobs["data"].data[0], bgr[:, 8:16, 10:18])
    np.testing.assert_array_equal(net.blobs["data"].data[3], bgr[:, 3:11, 2:10])


def test_window_data_fills_context_outside_the_picture_with_zeros(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", np.full((20, 30, 3), 100, np.uint8))
    lines = window_file(tmp_path / "a.png", "5 0.9 0 0 9 9", "0 0 15 8 18 11")
    net = window_net(
        tmp_path, lines, "context_pad: 2 cache_images: true crop_mode: 'square'", "mean_value: 40"
    )
    net.forward()
    corner = net.blobs["data"].data[3, 0]
    assert (corner[:2] == 0).all()
    assert (corner[:, :2] == 0).all()
    assert (corner[3:, 3:] == 60).all()
    assert (net.blobs["data"].data[0] == 60).all()


def test_window_is_widened_so_that_the_context_is_as_wide_as_asked() -> None:
    # 10 x 10 pixels become 195 of 227, 32 are context.
    box, size, offset = expand_box((100, 100, 109, 109), (500, 500), 227, 16, False)
    assert box == (99, 99, 111, 111)
    assert size == (227, 227)
    assert offset == (0, 0, 0)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "no windows"),
        ("0 0", "windows.txt:1: .*'#' was expected"),
        ("# 0\na.png\n3\n20\n30\n2\n5 0.9 2 3", "ends in the middle"),
        ("# 0\na.png\n1\n20\n30\n0\n", "3 channels"),
        ("# 0\na.png\n3\n20\n30\n1\n5 0.9 2 3 9 10", "some of each"),
        ("# 0\na.png\n3\n20\n30\n1\n0 0.9 2 3 9 10", "its class is 0"),
    ],
)
def test_window_data_names_what_is_wrong(tmp_path: Path, lines: str, said: str) -> None:
    with pytest.raises(caffe.ParseError, match=said):
        window_net(tmp_path, lines)


def test_window_data_names_the_window_outside_its_picture(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", picture(20, 30))
    lines = window_file(tmp_path / "a.png", "5 0.9 2 3 30 10", "0 0 15 8 18 11")
    net = window_net(tmp_path, lines)
    with pytest.raises(caffe.ShapeError, match=r"picture 0, window 2 3 30 10.*20 x 30"):
        net.forward()
