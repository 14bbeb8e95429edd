"""Published nets and solvers: every text is read, and what needs no data set runs."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe
from caffe.errors import CaffeWarning, NetError
from caffe.graph import Graph, build_graph
from caffe.proto.caffe_pb2 import NetParameter
from caffe.proto.files import read_net, read_solver
from caffe.proto.text import format_text
from caffe.proto.upgrade import upgrade_net
from tests.helpers.places import SHARED
from tests.helpers.warned import as_deserved

MODELS = SHARED / "models"
TEXTS = sorted(str(path.relative_to(MODELS)) for path in MODELS.rglob("*.prototxt"))
SOLVERS = [name for name in TEXTS if "solver" in name.lower()]
NETS = [name for name in TEXTS if name not in SOLVERS]

SOURCES = frozenset(
    {"AnnotatedData", "Data", "DenseImageData", "HDF5Data", "ImageData", "ImageLabelmapData"}
    | {"WindowData"}
)
"""Layers that read files which are not in the folder."""

OWN_MODULES = frozenset({"pyloss", "roi_data_layer.layer", "sequence_input_layer"})
"""Modules of Python layers that came with a net's own project."""

STAGES = {"mnist_autoencoder": ["test-on-test"]}
"""Stages without which a net has no source."""

CLASSES = 2
"""What nets get that leave their num_output to be filled in."""

SMALLER: dict[str, tuple[int, ...]] = {
    "fcn": (1, 3, 64, 64),
    "hed": (1, 3, 64, 64),
    "openpose": (1, 3, 64, 64),
    "bvlc_caffe/examples/net_surgery/bvlc": (1, 3, 259, 259),
    "bvlc_v1_2015/examples/imagenet/bvlc": (1, 3, 259, 259),
    "faster_rcnn": (1, 3, 96, 128),
    "rfcn": (1, 3, 96, 128),
    "segnet": (1, 3, 72, 96),
    "mobilenet_v2": (1, 3, 96, 96),
    "yolov3": (1, 3, 96, 96),
}
"""Inputs for nets that would run long, and take pictures of any size."""

OUTPUTS: dict[str, dict[str, tuple[int | None, ...]]] = {
    "crnn/deploy.prototxt": {"probs": (32, 1, 11)},
    "densenet121/DenseNet_121.prototxt": {"fc6": (1, 1000, 1, 1)},
    "mobilenet_ssd/MobileNetSSD_deploy.prototxt": {"detection_out": (1, 1, None, 7)},
    "pspnet50/pspnet50_ADE20K_473.prototxt": {"conv6_interp": (1, 150, 473, 473)},
    "segnet_basic/segnet_basic_camvid.prototxt": {"argmax": (1, 1, 72, 96)},
    "shufflenet_v1/shufflenet_1x_g3_deploy.orig.prototxt": {"fc1000": (1, 1000, 1, 1)},
    "shufflenet_v1/shufflenet_1x_g3_deploy.prototxt": {"fc1000": (1, 1000, 1, 1)},
    "ssd300_vgg16/deploy.prototxt": {"detection_out": (1, 1, None, 7)},
    "ultraface_slim320/slim-320.prototxt": {"boxes": (1, 4420, 4), "scores": (1, 4420, 2)},
    "wechat_qrcode/sr.prototxt": {"fc": (1, 1, 447, 447)},
    "yolov2/yolo_voc_snpscaffe.prototxt": {"conv26": (1, 125, 13, 13)},
    "yolov3/yolov3.prototxt": {
        "layer82-conv": (1, 255, 3, 3),
        "layer94-conv": (1, 255, 6, 6),
        "layer106-conv": (1, 255, 12, 12),
    },
}


def graphs(name: str, net: NetParameter) -> dict[int, Graph]:
    """The net's graph in each phase in which it is whole."""
    found = {}
    for phase in (caffe.TRAIN, caffe.TEST):
        # Many have a source in one phase only.
        with contextlib.suppress(NetError):
            found[phase] = build_graph(net, phase, stages=STAGES.get(Path(name).stem, ()))
    return found


def runs_alone(graph: Graph) -> bool:
    """Whether no layer reads files, or is a project's own in Python."""
    layers = [node.param for node in graph.nodes]
    return not any(
        layer.type in SOURCES or layer.python_param.module in OWN_MODULES for layer in layers
    )


def small(name: str, net: NetParameter) -> NetParameter:
    """The net with inputs that do not take long, and the numbers of classes filled in."""
    pictures = next((s for start, s in SMALLER.items() if name.startswith(start)), None)
    inputs = [layer for layer in net.layer if layer.type == "Input"]
    for layer in inputs:
        first = layer.input_param.shape[0]
        if len(first.dim) == 4 and pictures is not None:
            first.dim[:] = pictures
        elif len(first.dim) == 4 and len(inputs) == 1 and len(layer.top) == 1:
            first.dim[0] = min(first.dim[0], 2)
    for layer in net.layer:
        if layer.type == "MemoryData":
            layer.memory_data_param.batch_size = 1
            if layer.memory_data_param.height == layer.memory_data_param.width == 480:
                layer.memory_data_param.height = layer.memory_data_param.width = 96
        param = layer.convolution_param
        if layer.HasField("convolution_param") and not param.num_output:
            param.num_output = CLASSES
    return net


def feed(net: caffe.Net, rng: np.random.Generator) -> None:
    """Write random numbers into the inputs, and what the RPN's im_info wants."""
    for name in net.inputs:
        blob = net.blobs[name]
        if name == "im_info":
            height, width = net.blobs["data"].data.shape[2:]
            blob.data[...] = height, width, 1
        elif name.startswith("cont"):
            blob.data[...] = 1
        else:
            blob.data[...] = rng.normal(size=blob.data.shape)
    for layer in net.layers:
        if layer.type == "MemoryData":
            batch = next(iter(net.blobs.values())).data.shape
            whole = layer.layer_param.name == "input"  # a text: the numbers of its letters
            data = rng.integers(0, 20, size=batch) if whole else rng.normal(size=batch)
            net.set_input_arrays(data.astype(np.float32), np.zeros(batch[0], np.float32))
        elif layer.type == "BatchNorm":
            # Without trained weights the variance is 0, and each layer would multiply by 316.
            layer.blobs[1].data[...] = layer.blobs[2].data[...] = 1


@pytest.fixture(autouse=True)
def _single_thread() -> Iterator[None]:
    """Tests that run side by side would only take the cores from one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_is_read(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaffeWarning)
        solver = read_solver(MODELS / name)
    assert solver.HasField("base_lr")
    assert solver.net or solver.train_net or solver.HasField("net_param")


@pytest.mark.parametrize("name", NETS)
def test_net_is_read_upgraded_and_connected(name: str) -> None:
    net = read_net(MODELS / name)
    assert upgrade_net(net) == net
    assert len(net.layer) > 1 or "net_surgery" in name
    assert graphs(name, net), "the net is whole in no phase"


@pytest.mark.parametrize("name", NETS)
def test_net_without_a_data_set_runs(name: str) -> None:
    param = read_net(MODELS / name)
    graph = graphs(name, param).get(caffe.TEST)
    if graph is None or not runs_alone(graph):
        pytest.skip("the net needs a data set, or its project's Python layers")
    caffe.set_random_seed(1)
    with as_deserved(name):
        net = caffe.Net(format_text(small(name, param)), caffe.TEST)
    feed(net, np.random.default_rng(0))
    said = {blob: net.blobs[blob].data.shape for blob in net.outputs}
    net.forward()
    # How many boxes there are shows only now, and labels out of memory get four axes.
    counts = bool({layer.type for layer in net.layers} & {"DetectionOutput", "Python"})
    for blob in net.outputs:
        found = net.blobs[blob].data
        assert np.isfinite(found).all(), blob
        if not counts and blob != "label":
            assert found.shape == said[blob]
    for blob, shape in OUTPUTS.get(name, {}).items():
        sizes = net.blobs[blob].data.shape
        assert len(sizes) == len(shape)
        assert all(w in (None, s) for s, w in zip(sizes, shape, strict=True)), (blob, sizes)


def test_the_folder_is_there(shared: Path) -> None:
    assert len(NETS) > 100
    assert len(SOLVERS) > 30
