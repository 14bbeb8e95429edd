"""Other programs that read Caffe's nets, each run by a Python of its own.

``PYTHON benchmarks/caffe_readers.py READER deploy.prototxt net.caffemodel in.npz out.npz`` reads
``input`` from in.npz and writes the net's outputs. READER is a function's name below; PYTHON is one
beside which that program is installed. Needs nothing of this project.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

WINOGRAD_MEMORY_LEVEL = 3
"""MNN's number for that hint."""

Outputs = dict[str, np.ndarray]


def opencv(text: str, weights: str, picture: np.ndarray, out: str) -> Outputs:
    """OpenCV 4's dnn (``opencv-python-headless<5``)."""
    import cv2

    net = cv2.dnn.readNetFromCaffe(text, weights)
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    # Which is quick and loses digits.
    net.enableWinograd(False)
    net.setInput(picture)
    names = net.getUnconnectedOutLayersNames()
    return dict(zip(names, net.forward(names), strict=True))


def mnn(text: str, weights: str, picture: np.ndarray, out: str) -> Outputs:
    """MNN's converter and its engine (``MNN``)."""
    # The command `mnnconvert` would install packages and send a report first.
    import _tools
    import MNN

    model = f"{out}.mnn"
    Path(model).unlink(missing_ok=True)
    places = ["--modelFile", weights, "--prototxt", text, "--MNNModel", model]
    _tools.mnnconvert(["mnnconvert", "-f", "CAFFE", *places, "--bizCode", "x"])
    if not Path(model).is_file():
        sys.exit("mnnconvert wrote nothing")
    net = MNN.Interpreter(model)
    # Its larger Winograd tiles are quick and lose digits: the hint says to do without them.
    net.setSessionHint(WINOGRAD_MEMORY_LEVEL, 0)
    session = net.createSession({"precision": "high", "backend": "CPU"})
    given = net.getSessionInput(session)
    order = MNN.Tensor_DimensionType_Caffe
    net.resizeTensor(given, picture.shape)
    net.resizeSession(session)
    given.copyFrom(MNN.Tensor(picture.shape, MNN.Halide_Type_Float, picture, order))
    net.runSession(session)
    found = {}
    for name, tensor in net.getSessionOutputAll(session).items():
        shape = tensor.getShape()
        empty = np.zeros(shape, np.float32)
        host = MNN.Tensor(shape, MNN.Halide_Type_Float, empty, order)
        tensor.copyToHostTensor(host)
        found[name] = np.array(host.getData(), np.float32).reshape(shape)
    return found


def rknn(text: str, weights: str, picture: np.ndarray, out: str) -> Outputs:
    """Rockchip's converter and its simulator, which computes in 16 bits (``rknn-toolkit2``)."""
    from rknn.api import RKNN

    toolkit = RKNN(verbose=False)
    toolkit.config(target_platform="rk3588")
    for done in (
        lambda: toolkit.load_caffe(model=text, blobs=weights),
        lambda: toolkit.build(do_quantization=False),
        toolkit.init_runtime,
    ):
        if done():
            sys.exit("rknn-toolkit2 refused it")
    found = toolkit.inference(inputs=[picture], data_format="nchw")
    return {f"output{i}": array for i, array in enumerate(found)}


def tpu_mlir(text: str, weights: str, picture: np.ndarray, out: str) -> Outputs:
    """Sophon's first stage: the net as MLIR, run by its interpreter (``tpu-mlir``).

    It wants onnx, onnxruntime, psutil, tqdm and PyTorch beside it, and Python 3.10. The libc in its
    lib/third_party is to be moved away where the system's is newer.
    """
    folder = Path(out).parent
    (folder / "tpu_out.npz").unlink(missing_ok=True)
    np.savez(folder / "tpu_in.npz", picture)
    bin_folder = Path(sys.executable).parent
    command = [bin_folder / "model_transform", "--model_name", "net", "--mlir", "net.mlir"]
    command += ["--model_def", text, "--model_data", weights, "--tolerance", "0,0"]
    command += ["--input_shapes", f"[{list(picture.shape)}]"]
    command += ["--test_input", "tpu_in.npz", "--test_result", "tpu_out.npz"]
    surroundings = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False
    )
    if not (folder / "tpu_out.npz").is_file():
        sys.exit(f"model_transform: {done.stderr[-2000:]}")
    return dict(np.load(folder / "tpu_out.npz"))


def caffe(text: str, weights: str, picture: np.ndarray, out: str) -> Outputs:
    """Caffe itself, as tpu-mlir brings it."""
    import site

    os.environ.update(GLOG_minloglevel="2")
    folder = next(Path(p) for p in site.getsitepackages() if (Path(p) / "tpu_mlir").is_dir())
    sys.path.insert(0, str(folder / "tpu_mlir" / "python"))
    import caffe

    net = caffe.Net(text, weights, caffe.TEST)
    return dict(net.forward(**{net.inputs[0]: picture}))


def main() -> None:
    """Run one reader."""
    reader, text, weights, given, out = sys.argv[1:]
    picture = np.ascontiguousarray(np.load(given)["input"])
    readers = {"opencv": opencv, "mnn": mnn, "rknn": rknn, "tpu_mlir": tpu_mlir, "caffe": caffe}
    np.savez(out, **readers[reader](text, weights, picture, out))


if __name__ == "__main__":
    main()
