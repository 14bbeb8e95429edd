"""The engines that are compared, each as a function from a batch to the net's output."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nets import Files
from numpy.typing import NDArray
from torch_model import TorchNet

import caffe
from caffe.engine.backends.choice import LIBRARIES

Array = NDArray[np.float32]
Run = Callable[[Array], Array]

OURS = "Recaffe"
DEFAULT_INSTALL = "default installation"
"""This project as it is without extras."""


class Recaffe:
    """This project: the input is written into its blob, and the output's array is returned."""

    def __init__(self, files: Files, threads: int, precision: str, engine: str = "auto") -> None:
        self._net = caffe.Net(files.prototxt, caffe.TEST, weights=files.caffemodel)
        self._precision, self._engine = precision, engine

    def __call__(self, batch: Array) -> Array:
        net = self._net
        (source,), (output,) = net.inputs, net.outputs
        caffe.set_precision(self._precision)
        caffe.set_engine(self._engine)
        net.blobs[source].data[...] = batch
        return net.forward()[output]

    @property
    def is_settled(self) -> bool:
        """Whether it has found out what runs the net."""
        return all(plan.is_settled for plan in self._net._runner.plans)

    @property
    def chosen(self) -> list[str]:
        """What it says of those that were tried."""
        said = (re.search(r"\((.* ms instead of .*)\)", line) for line in self._net.explain())
        return [found[1] for found in said if found is not None]


def layer_by_layer(files: Files) -> Run:
    """What every engine is compared with: this project's layers, one after the other."""
    return Recaffe(files, 0, "float32", "layerwise")


def default_installation(files: Files, threads: int, precision: str) -> Run:
    """This project by PyTorch and what that brings along, in a process that is for that alone."""
    for engine, library in list(LIBRARIES.items()):
        if library.packages not in (("torch",), ("llvmlite",)):
            del LIBRARIES[engine]
    return Recaffe(files, threads, precision)


def onnx_runtime(files: Files, threads: int, precision: str) -> Run:
    """ONNX Runtime's CPU provider."""
    import onnxruntime
    from onnx_model import to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Or its idle threads would burn the time of whoever comes next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model = to_onnx(_net(files)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def openvino(files: Files, threads: int, precision: str) -> Run:
    """OpenVINO on the CPU, one stream."""
    import openvino as ov
    from onnx_model import to_onnx

    model = ov.Core().read_model(to_onnx(_net(files)).SerializeToString())
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[
            precision
        ],
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda batch: request.infer([batch], share_inputs=True)[0]


def opencv(files: Files, threads: int, precision: str) -> Run:
    """OpenCV's dnn module, by its own importer of Caffe models."""
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromCaffe(str(_renamed(files)), str(files.caffemodel))

    def run(batch: Array) -> Array:
        net.setInput(batch)
        return net.forward()

    return run


def mnn(files: Files, threads: int, precision: str) -> Run:
    """MNN on the CPU, by its own importer of Caffe models."""
    import MNN

    model = files.prototxt.with_suffix(".mnn")
    # By what lies below its command, which would install packages and report to its makers.
    converter = "import _tools, sys; _tools.mnnconvert(sys.argv)"
    named = {"--modelFile": files.caffemodel, "--prototxt": _renamed(files), "--MNNModel": model}
    _convert([sys.executable, "-c", converter, "-f", "CAFFE", "--bizCode", "none"], named, model)
    interpreter = MNN.Interpreter(str(model))
    session = interpreter.createSession(
        {"backend": "CPU", "numThread": threads, "precision": "high"}
    )
    source = interpreter.getSessionInput(session)
    output = interpreter.getSessionOutput(session)

    def run(batch: Array) -> Array:
        source.copyFrom(_mnn_tensor(batch))
        # The interpreter owns the session, and must live as long.
        interpreter.runSession(session)
        found = _mnn_tensor(np.empty(output.getShape(), np.float32))
        output.copyToHostTensor(found)
        return np.array(found.getNumpyData())

    return run


def _mnn_tensor(array: Array) -> Any:
    import MNN

    layout = MNN.Tensor_DimensionType_Caffe
    return MNN.Tensor(array.shape, MNN.Halide_Type_Float, array, layout)


def ncnn(files: Files, threads: int, precision: str) -> Run:
    """ncnn on the CPU, by pnnx from ONNX; pictures go in one by one, since it knows no batches."""
    import ncnn
    import onnx
    import pnnx
    from onnx_model import to_onnx

    net = _net(files)
    (source,) = net.inputs
    net.blobs[source].reshape(1, *net.blobs[source].shape[1:])
    net.reshape()
    stem = str(files.prototxt.with_suffix(""))
    onnx.save(to_onnx(net), f"{stem}.onnx")
    kinds = ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnparam", "ncnnbin", "ncnnpy")
    places = {f"{kind}=": Path(f"{stem}.{kind}") for kind in kinds}
    _convert([pnnx.EXEC_PATH, f"{stem}.onnx", "fp16=0"], places, places["ncnnbin="])
    model = ncnn.Net()
    model.opt.num_threads = threads
    for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(model.opt, f"use_{kind}", False)
    model.load_param(str(places["ncnnparam="]))
    model.load_model(str(places["ncnnbin="]))
    (first,), (last,) = model.input_names(), model.output_names()

    def run(batch: Array) -> Array:
        found = []
        for picture in batch:
            extractor = model.create_extractor()
            extractor.input(first, ncnn.Mat(picture))
            found.append(np.array(extractor.extract(last)[1]))
        return np.stack(found)

    return run


def _convert(command: list[Any], named: dict[str, Path], made: Path) -> None:
    """Run a converter in a process of its own, since it may end it.

    Raises
    ------
    RuntimeError
        It did not make what it should; with the end of what it said.
    """
    for name, path in named.items():
        command += [f"{name}{path}"] if name.endswith("=") else [name, path]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode or not made.exists():
        raise RuntimeError(f"the converter ended with {done.returncode}: {done.stdout[-200:]}")


def torch_eager(files: Files, threads: int, precision: str) -> Run:
    """PyTorch as it comes."""
    return _torch_run(TorchNet(_net(files)).eval(), torch.contiguous_format, torch.float32)


def torch_channels_last(files: Files, threads: int, precision: str) -> Run:
    """PyTorch with channels-last memory."""
    kind = getattr(torch, precision)
    model = TorchNet(_net(files)).eval().to(kind).to(memory_format=torch.channels_last)
    return _torch_run(model, torch.channels_last, kind)


def _renamed(files: Files) -> Path:
    """The net as others know it, who have the nets' Clip of 0 to 6 by another name only."""
    prototxt = files.prototxt.with_suffix(".renamed")
    prototxt.write_text(files.prototxt.read_text().replace('type: "Clip"', 'type: "ReLU6"'))
    return prototxt


def torch_frozen(files: Files, threads: int, precision: str) -> Run:
    """A traced and frozen PyTorch model, made ready for inference."""
    net = _net(files)
    model = TorchNet(net).eval().to(memory_format=torch.channels_last)
    example = torch.zeros(net.blobs[net.inputs[0]].shape)
    example = example.to(memory_format=torch.channels_last)
    with torch.no_grad():
        traced = torch.jit.freeze(torch.jit.trace(model, example, check_trace=False))
        traced = torch.jit.optimize_for_inference(traced)
    return _torch_run(traced, torch.channels_last, torch.float32)


def _torch_run(model: Any, memory: torch.memory_format, kind: torch.dtype) -> Run:
    def run(batch: Array) -> Array:
        with torch.inference_mode():
            data = torch.from_numpy(batch).to(kind).contiguous(memory_format=memory)
            return model(data).float().numpy()

    return run


def _net(files: Files) -> caffe.Net:
    return caffe.Net(files.prototxt, caffe.TEST, weights=files.caffemodel)


_MAKERS: dict[str, tuple[str, tuple[str, ...], Callable[[Files, int, str], Run]]] = {
    OURS: ("caffe", ("float32", "bfloat16", "float16"), Recaffe),
    DEFAULT_INSTALL: ("caffe", ("float32", "bfloat16", "float16"), default_installation),
    "ONNX Runtime": ("onnxruntime", ("float32",), onnx_runtime),
    "OpenVINO": ("openvino", ("float32", "bfloat16", "float16"), openvino),
    "OpenCV": ("cv2", ("float32",), opencv),
    "MNN": ("MNN", ("float32",), mnn),
    "ncnn": ("ncnn", ("float32",), ncnn),
    "PyTorch": ("torch", ("float32",), torch_eager),
    "channels_last": ("torch", ("float32", "bfloat16"), torch_channels_last),
    "jit frozen": ("torch", ("float32",), torch_frozen),
}
NAMES = tuple(_MAKERS)
BEST_OF = ("ONNX Runtime", "OpenVINO")
"""The peers that the project's aims are set against."""


def installed(precision: str) -> list[str]:
    """The engines at hand that compute in a precision."""
    return [
        name
        for name, (module, precisions, _) in _MAKERS.items()
        if precision in precisions and importlib.util.find_spec(module) is not None
    ]


def make(name: str, files: Files, threads: int, precision: str) -> Run:
    """Load a net into an engine."""
    torch.set_num_threads(threads)
    return _MAKERS[name][2](files, threads, precision)
