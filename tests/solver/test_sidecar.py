"""A training that goes on from a snapshot equals one that never stopped, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import CaffeError
from caffe.proto.caffe_pb2 import Datum
from tests.helpers.sources import write_lmdb

TRANSFORM = "transform_param { crop_size: 6 mirror: true scale: 0.01 }"
BEHIND = """
layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }
layer { name: "y" type: "InnerProduct" bottom: "drop" top: "y"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.1 lr_policy: "multistep" stepvalue: 3 stepvalue: 7 gamma: 0.5
momentum: 0.9 max_iter: 10 snapshot: 5 snapshot_prefix: "s" random_seed: 4 average_loss: 4
test_iter: 3 test_interval: 2 type: "Nesterov"
"""


def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 3, 8, 8), dtype=np.uint8)


def image_layer() -> str:
    names = []
    for i, picture in enumerate(pictures()):
        Image.fromarray(picture.transpose(1, 2, 0)).save(f"{i}.png")
        names.append(f"{i}.png {i % 3}")
    Path("list.txt").write_text("\n".join(names))
    param = 'image_data_param { source: "list.txt" batch_size: 3 shuffle: true }'
    return f'layer {{ name: "in" type: "ImageData" top: "data" top: "label" {param} {TRANSFORM} }}'


def augmented_layer() -> str:
    changes = (
        "mirror: true contrast_adjustment: true max_color_shift: 9 smooth_filtering: true "
        "max_rotation_angle: 15 min_side_min: 7 min_side_max: 9 erase_prob: 0.5 cutout_size: 2"
    )
    return image_layer().replace("mirror: true", changes)


def lmdb_layer() -> str:
    write_lmdb(
        Path("db"),
        {
            b"%03d" % i: Datum(
                channels=3, height=8, width=8, data=picture.tobytes(), label=i % 3
            ).SerializeToString()
            for i, picture in enumerate(pictures())
        },
    )
    param = 'data_param { source: "db" batch_size: 3 backend: LMDB }'
    return f'layer {{ name: "in" type: "Data" top: "data" top: "label" {param} {TRANSFORM} }}'


def hdf5_layer() -> str:
    h5py = pytest.importorskip("h5py")
    for name, part in (("a.h5", slice(0, 4)), ("b.h5", slice(4, 7))):
        with h5py.File(name, "w") as file:
            file["data"] = pictures()[part] / np.float32(255)
            file["label"] = (np.arange(7) % 3)[part].astype(np.float32)
    Path("files.txt").write_text("a.h5\nb.h5\n")
    param = 'hdf5_data_param { source: "files.txt" batch_size: 3 shuffle: true }'
    return f'layer {{ name: "in" type: "HDF5Data" top: "data" top: "label" {param} }}'


@pytest.mark.parametrize("layer", [image_layer, augmented_layer, lmdb_layer, hdf5_layer])
def test_a_training_goes_on_bit_for_bit(
    layer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(layer)
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(layer() + BEHIND)
    Path("solver.prototxt").write_text(SOLVER)
    whole = caffe.get_solver("solver.prototxt")
    whole.solve()
    # Whatever else has drawn random numbers meanwhile.
    caffe.set_random_seed(99)
    again = caffe.get_solver("solver.prototxt")
    again.step(2)
    again.solve("s_iter_5.solverstate")
    assert again.iter == 10
    for mine, theirs in zip(again.net.params["y"], whole.net.params["y"], strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)
    for name in ("data", "label", "loss"):
        np.testing.assert_array_equal(again.net.blobs[name].data, whole.net.blobs[name].data)
        mine, theirs = again.test_nets[0].blobs[name], whole.test_nets[0].blobs[name]
        np.testing.assert_array_equal(mine.data, theirs.data)
    assert again._loss.value == whole._loss.value


def test_a_memory_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lstm = "recurrent_param { num_output: 2 weight_filler { type: 'xavier' } }"
    Path("net.prototxt").write_text(f"""
    layer {{ name: "x" type: "DummyData" top: "x" top: "cont" dummy_data_param {{
        shape {{ dim: [3, 1, 2] }} shape {{ dim: [3, 1] }}
        data_filler {{ type: "gaussian" }} data_filler {{ value: 1 }} }} }}
    layer {{ name: "h" type: "LSTM" bottom: "x" bottom: "cont" top: "h" {lstm} }}
    layer {{ name: "loss" type: "Reduction" bottom: "h" top: "loss" loss_weight: 1
            reduction_param {{ operation: SUMSQ }} }}""")
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 6 snapshot: 3 '
        'snapshot_prefix: "s" random_seed: 1'
    )
    whole = caffe.get_solver("solver.prototxt")
    whole.solve()
    again = caffe.get_solver("solver.prototxt")
    again.solve("s_iter_3.solverstate")
    np.testing.assert_array_equal(again.net.blobs["h"].data, whole.net.blobs["h"].data)


def test_without_the_file_it_goes_on_as_the_originals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(image_layer() + BEHIND)
    Path("solver.prototxt").write_text(SOLVER)
    made = caffe.get_solver("solver.prototxt")
    made.step(5)
    sidecar = Path("s_iter_5.solverstate.json")
    whole = sidecar.read_text()
    for content in ("", "[]", "{}", whole[: len(whole) // 2], whole.replace('"next"', '"nxet"')):
        sidecar.write_text(content)
        with pytest.raises(CaffeError, match=r"s_iter_5\.solverstate\.json"):
            made.restore("s_iter_5.solverstate")
    sidecar.write_text(whole.replace('"version": 1', '"version": 2'))
    with pytest.warns(caffe.CaffeWarning, match="newer version"):
        made.restore("s_iter_5.solverstate")
    sidecar.unlink()
    made.restore("s_iter_5.solverstate")
    assert made.iter == 5
