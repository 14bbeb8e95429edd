"""The engines that are compared on a GPU, each as a function from a cell to a run.

A run starts from pictures that lie on the GPU, and returns the output on the CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nets import NETS, Files, picture_batch, write
from numpy.typing import NDArray
from torch_model import TorchNet

import caffe
from caffe import mode
from caffe.tf32 import rounding
from tests.helpers.second_store import CountingStore, use_store

Array = NDArray[np.float32]
Run = Callable[[], Array]

OURS, SENT, RECORDED = "Recaffe", "Recaffe, sent", "torch recorded"
COMPARED = 2
"""How many pictures' outputs are compared with the CPU's."""

STAND_IN = CountingStore()
"""The second store that stands in the GPU's place; plans are made for one store."""


@dataclass(frozen=True)
class Cell:
    """A net at a batch in a precision, on a device ("cuda", or "cpu" in its place)."""

    net: str
    batch: int
    precision: str
    device: str
    folder: Path

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"{self.net}, batch {self.batch}, {self.precision}"

    @property
    def files(self) -> Files:
        """The net on disk."""
        return write(self.net, self.batch, self.folder)

    @property
    def data(self) -> Array:
        """The pictures."""
        return picture_batch(tuple(NETS[self.net](self.batch).layer[0].input_param.shape[0].dim))


@functools.cache
def expected_of(name: str, count: int, folder: Path) -> Array:
    """A net's first pictures' outputs, computed on the CPU layer by layer."""
    caffe.set_mode_cpu()
    caffe.set_precision("float32")
    caffe.set_engine("layerwise")
    cell = Cell(name, count, "float32", "cpu", folder)
    try:
        net = caffe.Net(cell.files.prototxt, caffe.TEST, weights=cell.files.caffemodel)
        net.blobs[net.inputs[0]].data[...] = cell.data
        return net.forward()[net.outputs[0]].copy()
    finally:
        caffe.set_engine("auto")


def use(device: str) -> None:
    """Run this thread's nets on the GPU, or in a second store in its place."""
    if mode.current_store() is not None:
        return
    if device == "cpu":
        use_store(STAND_IN)
    else:
        mode.set_gpu(0)


def recaffe(cell: Cell) -> Run:
    """This project."""
    use(cell.device)
    net = caffe.Net(cell.files.prototxt, caffe.TEST, weights=cell.files.caffemodel)
    net.blobs[net.inputs[0]].data[...] = cell.data
    (output,) = net.outputs

    def run() -> Array:
        use(cell.device)
        caffe.set_precision(cell.precision)
        return net.forward()[output]

    return run


def recaffe_sent(cell: Cell) -> Run:
    """This project, pictures sent to the GPU each time."""
    use(cell.device)
    net = caffe.Net(cell.files.prototxt, caffe.TEST, weights=cell.files.caffemodel)
    (source,), (output,) = net.inputs, net.outputs
    data = cell.data

    def run() -> Array:
        use(cell.device)
        caffe.set_precision(cell.precision)
        net.blobs[source].data[...] = data
        return net.forward()[output]

    return run


def eager(cell: Cell) -> Run:
    """PyTorch, kernels chosen by trying; channels last where numbers are rounded."""
    return _torch_run(cell, _model(cell))


def compiled(cell: Cell) -> Run:
    """PyTorch's compiler at its most thorough."""
    return _torch_run(cell, torch.compile(_model(cell), mode="max-autotune"))


def _model(cell: Cell) -> Any:
    caffe.set_mode_cpu()
    net = caffe.Net(cell.files.prototxt, caffe.TEST, weights=cell.files.caffemodel)
    return TorchNet(net).eval().to(cell.device, _kind(cell)).to(memory_format=_layout(cell))


def _kind(cell: Cell) -> torch.dtype:
    return torch.float16 if cell.precision == "float16" else torch.float32


def _layout(cell: Cell) -> torch.memory_format:
    return torch.contiguous_format if cell.precision == "float32" else torch.channels_last


def _torch_run(cell: Cell, model: Any) -> Run:
    data = _data(cell)

    def run() -> Array:
        with _arithmetic(cell), torch.inference_mode():
            return model(data).float().cpu().numpy()

    return run


def _data(cell: Cell) -> torch.Tensor:
    data = torch.from_numpy(cell.data).to(cell.device, _kind(cell))
    return data.contiguous(memory_format=_layout(cell))


@contextmanager
def _arithmetic(cell: Cell) -> Iterator[None]:
    """TF32 where it is asked for, and kernels that are chosen by trying."""
    library = torch.backends.cudnn
    library.benchmark = True
    try:
        with rounding.allowed(cell.precision == "tf32"):
            yield
    finally:
        library.benchmark = False


def recorded(cell: Cell) -> Run:
    """PyTorch as above, recorded into one CUDA graph by whoever knows how."""
    model, data = _model(cell), _data(cell)
    with _arithmetic(cell), torch.inference_mode():
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                model(data)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = model(data)

    def run() -> Array:
        graph.replay()
        return output.float().cpu().numpy()

    return run


def onnx_runtime(cell: Cell) -> Run:
    """ONNX Runtime's CUDA provider."""
    options = {"use_tf32": int(cell.precision == "tf32"), "cudnn_conv_algo_search": "EXHAUSTIVE"}
    return _onnx_run(cell, "CUDAExecutionProvider", options)


def tensorrt(cell: Cell) -> Run:
    """TensorRT, by ONNX Runtime's provider of that name."""
    if cell.precision == "float32":
        raise RuntimeError("its provider has no switch against TF32")
    return _onnx_run(
        cell, "TensorrtExecutionProvider", {"trt_fp16_enable": cell.precision != "tf32"}
    )


def _onnx_run(cell: Cell, provider: str, options: dict[str, Any]) -> Run:
    import onnx
    import onnxruntime
    from onnx_model import to_onnx

    provider = "CPUExecutionProvider" if cell.device == "cpu" else provider
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"this ONNX Runtime has no {provider}")
    caffe.set_mode_cpu()
    net = caffe.Net(cell.files.prototxt, caffe.TEST, weights=cell.files.caffemodel)
    model = to_onnx(net)
    kind = np.float32
    # TensorRT takes float32's model and chooses; the CUDA provider computes in what is written.
    if cell.precision == "float16" and provider == "CUDAExecutionProvider":
        _halve(model, onnx)
        kind = np.float16
    chosen = provider if cell.device == "cpu" else (provider, {"device_id": 0, **options})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[chosen])
    (used, *_) = session.get_providers()
    if used != provider:
        raise RuntimeError(
            f"{provider} does not start here; ONNX Runtime has fallen back on {used}"
        )
    binding = session.io_binding()
    data = onnxruntime.OrtValue.ortvalue_from_numpy(cell.data.astype(kind), cell.device, 0)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, data)
    binding.bind_output(session.get_outputs()[0].name, cell.device)

    def run() -> Array:
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0].astype(np.float32)

    return run


def _halve(model: Any, onnx: Any) -> None:
    """Let an ONNX model compute in float16."""
    half = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = half


QUICK: dict[str, Callable[[Cell], Run]] = {
    OURS: recaffe,
    SENT: recaffe_sent,
    "torch eager": eager,
    RECORDED: recorded,
    "ONNX Runtime": onnx_runtime,
}
SLOW: dict[str, Callable[[Cell], Run]] = {
    OURS: recaffe,
    "torch.compile": compiled,
    "TensorRT": tensorrt,
}
"""Those that search for the quickest kernels, which takes up to a minute for each net and batch."""
