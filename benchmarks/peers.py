"""The engines that are compared, each as a function from a batch to the net's output."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from nets import Files
from numpy.typing import NDArray
from torch_model import TorchNet

import caffe

Array = NDArray[np.float32]
Run = Callable[[Array], Array]

OURS = "Recaffe"
DEFAULT_INSTALL = "torch engine"
"""This project as it is without the extra openvino."""


def recaffe(files: Files, threads: int, precision: str, engine: str = "auto") -> Run:
    """This project: the input is written into its blob, and the output's array is returned."""
    net = caffe.Net(files.prototxt, caffe.TEST, weights=files.caffemodel)
    (source,), (output,) = net.inputs, net.outputs

    def run(batch: Array) -> Array:
        caffe.set_precision(precision)
        caffe.set_engine(engine)
        net.blobs[source].data[...] = batch
        return net.forward()[output]

    return run


def layer_by_layer(files: Files) -> Run:
    """What every engine is compared with: this project's layers, one after the other."""
    return recaffe(files, 0, "float32", "layerwise")


def recaffe_torch(files: Files, threads: int, precision: str) -> Run:
    """This project by PyTorch alone."""
    return recaffe(files, threads, precision, "torch")


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
    # It knows the nets' Clip of 0 to 6 by another name only.
    prototxt = files.prototxt.with_suffix(".opencv")
    prototxt.write_text(files.prototxt.read_text().replace('type: "Clip"', 'type: "ReLU6"'))
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(files.caffemodel))

    def run(batch: Array) -> Array:
        net.setInput(batch)
        return net.forward()

    return run


def torch_eager(files: Files, threads: int, precision: str) -> Run:
    """PyTorch as it comes."""
    return _torch_run(TorchNet(_net(files)).eval(), torch.contiguous_format, torch.float32)


def torch_channels_last(files: Files, threads: int, precision: str) -> Run:
    """PyTorch with channels-last memory."""
    kind = getattr(torch, precision)
    model = TorchNet(_net(files)).eval().to(kind).to(memory_format=torch.channels_last)
    return _torch_run(model, torch.channels_last, kind)


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
    OURS: ("caffe", ("float32", "bfloat16", "float16"), recaffe),
    DEFAULT_INSTALL: ("caffe", ("float32", "bfloat16", "float16"), recaffe_torch),
    "ONNX Runtime": ("onnxruntime", ("float32",), onnx_runtime),
    "OpenVINO": ("openvino", ("float32", "bfloat16", "float16"), openvino),
    "OpenCV": ("cv2", ("float32",), opencv),
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
