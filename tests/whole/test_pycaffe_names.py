"""The modules and names that pycaffe programs import."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

import caffe
from caffe import _caffe, logs

IMPORTS = {
    "pycaffe": """
from caffe.pycaffe import Net, SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver
from caffe.pycaffe import AdaDeltaSolver, AdamSolver, NCCL, Timer
""",
    "_caffe": """
from caffe._caffe import init_log, log, set_mode_cpu, set_mode_gpu, set_device, Layer, get_solver
from caffe._caffe import layer_type_list, set_random_seed, solver_count, set_solver_count
from caffe._caffe import solver_rank, set_solver_rank, set_multiprocess, has_nccl, __version__
from caffe._caffe import Blob, BlobVec, LayerParameter, SolverParameter, Solver
""",
    "caffe": """
from caffe import Layer, Net, SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver
from caffe import AdaDeltaSolver, AdamSolver, NCCL, Timer, get_solver, layer_type_list
from caffe import TRAIN, TEST, init_log, log, set_mode_cpu, set_mode_gpu, set_device
from caffe import set_random_seed, solver_count, set_solver_count, solver_rank, set_solver_rank
from caffe import set_multiprocess, has_nccl, Classifier, Detector, io
from caffe import layers, params, NetSpec, to_proto, __version__
""",
    "modules": """
import caffe.draw
from caffe.proto import caffe_pb2
from caffe.classifier import Classifier
from caffe.detector import Detector
from caffe.net_spec import layers, params, NetSpec, to_proto, Top, Function, assign_proto
from caffe.coord_map import crop, coord_map_from_to
from caffe.io import Transformer, load_image, resize_image, oversample, blobproto_to_array
""",
}


@pytest.mark.parametrize("home", IMPORTS)
def test_imports_of_old_programs_work_by_themselves(home: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS[home]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_thin_modules_load_nothing_until_asked() -> None:
    program = "import sys, caffe.pycaffe, caffe._caffe; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("module", ["caffe._caffe", "caffe.pycaffe"])
def test_the_thin_modules_hand_out_the_same_objects(module: str) -> None:
    thin = importlib.import_module(module)
    assert thin.Net is caffe.Net
    assert {"Net", "SGDSolver"} <= set(dir(thin))
    with pytest.raises(AttributeError, match="no attribute 'Nett'"):
        _ = thin.Nett


def test_a_timer_measures_milliseconds() -> None:
    timer = caffe.Timer()
    assert timer.ms == 0
    timer.start()
    time.sleep(0.02)
    timer.stop()
    first = timer.ms
    assert 20 <= first < 2000
    timer.stop()
    assert timer.ms == first


def test_a_running_timer_is_stopped_by_asking() -> None:
    timer = caffe.Timer()
    timer.start()
    assert timer.ms == timer.ms > 0


def test_one_solver_trains_alone_and_settings_are_kept() -> None:
    assert (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    try:
        caffe.set_solver_count(4)
        caffe.set_solver_rank(3)
        caffe.set_multiprocess(True)
        assert (caffe.solver_count(), caffe.solver_rank()) == (4, 3)
    finally:
        caffe.set_solver_count(1)
        caffe.set_solver_rank(0)
        caffe.set_multiprocess(False)


@pytest.fixture
def own_log() -> Iterator[None]:
    """The log is set up afterwards as it was before."""
    logger = logs.logger
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers[:] = []
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.mark.usefixtures("own_log")
def test_log_lines_are_those_that_caffe_tools_read(capsys: pytest.CaptureFixture[str]) -> None:
    caffe.init_log(0)
    caffe.init_log(0)
    caffe.log("Iteration 0, loss = 1")
    caffe.init_log(1)
    caffe.log("too small to tell")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ test_pycaffe_names\.py:\d+\] Iteration 0, loss = 1",
        line,
    )


@pytest.mark.usefixtures("own_log")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), ["a line", "an error"]),
        ((0, True), ["a line", "an error"]),
        ((0, False), ["an error"]),
        ((2,), ["an error"]),
        ((3, True), []),
    ],
)
def test_init_log_takes_a_level_and_whether_all_goes_to_stderr(
    arguments: tuple[int, ...], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    caffe.init_log(*arguments)
    caffe.log("a line")
    logs.logger.error("an error")
    assert [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()] == told


def test_bottom_names_can_be_made_as_pycaffe_makes_them() -> None:
    net = caffe.Net(
        """layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 1 } } }
        layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "x" top: "y" }""",
        caffe.TEST,
    )
    made = caffe.pycaffe._Net_get_id_name(type(net)._bottom_ids, "_found")
    assert made.fget(net) == net.bottom_names
    assert caffe.pycaffe._Net_forward(net)["y"].shape == (1,)
    assert caffe.pycaffe._Net_blobs.fget(net) is net.blobs


def test_layers_give_tops_their_shapes_by_hand() -> None:
    net = caffe.Net(
        """layer { name: "data" type: "Input" top: "x" input_param { shape { dim: [1, 4] } } }
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 2 } }""",
        caffe.TEST,
    )
    net.blobs["x"].reshape(3, 4)
    bottom, top = _caffe.RawBlobVec([net.blobs["x"]]), _caffe.RawBlobVec([net.blobs["y"]])
    net.layer_dict["ip"].reshape(bottom, top)
    assert net.blobs["y"].shape == (3, 2)


def test_the_mean_of_imagenet_lies_beside_the_package() -> None:
    path = os.path.join(os.path.dirname(caffe.__file__), "imagenet/ilsvrc_2012_mean.npy")
    mean = np.load(path)
    assert mean.shape == (3, 256, 256)
    by_channel = mean.mean(1).mean(1)
    assert by_channel.tolist() == [104.00698793, 116.66876762, 122.67891434]
    transformer = caffe.io.Transformer({"data": (1, 3, 227, 227)})
    transformer.set_mean("data", mean[:, 14:241, 14:241])
    np.testing.assert_allclose(transformer.mean["data"][:, 0, 0], by_channel, rtol=1e-6)
