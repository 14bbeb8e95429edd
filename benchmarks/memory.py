"""The most memory that a process needs to run a net, beyond its import of the library.

Each engine runs in a process of its own; mapped pages of files count. Ours have nothing that
earlier processes have kept, but for those that say so.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RUNS = 10
"""How often each runs the net; ours until it has chosen, and then as often."""

LIBRARIES = {
    "Recaffe": "torch",
    "torch engine": "torch",
    "llvm engine": "torch",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO": "openvino",
    "OpenCV": "cv2",
}

REMEMBERING = "Recaffe", "llvm engine"
"""Those that run in a second process, too, with what the first one has kept."""


def peak() -> float:
    """The most memory that this process has had at once, in MB."""
    # Not getrusage: its figure starts with that of the process that started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("no VmHWM in /proc/self/status")


def run_child(options: argparse.Namespace) -> None:
    """Run the net in this process and print what it took."""
    importlib.import_module(LIBRARIES[options.child])
    before = peak()
    run = _MAKERS[options.child](options)
    for _ in range(RUNS):
        run()
    print(json.dumps({"before": before, "peak": peak()}))


def _recaffe(options: argparse.Namespace) -> Callable[[], Any]:
    import torch

    import caffe

    torch.set_num_threads(options.threads)
    caffe.set_engine(options.child.removesuffix(" engine") if "engine" in options.child else "auto")
    net = caffe.Net(options.prototxt, caffe.TEST, weights=options.caffemodel)

    def run() -> None:
        net.forward()
        while not all(plan.is_settled for plan in net._runner.plans):
            net.forward()

    return run


def _onnx_runtime(options: argparse.Namespace) -> Callable[[], Any]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(
        options.onnx, settings, providers=["CPUExecutionProvider"]
    )
    data = {session.get_inputs()[0].name: _zeros(session.get_inputs()[0].shape)}
    return lambda: session.run(None, data)


def _openvino(options: argparse.Namespace) -> Callable[[], Any]:
    import openvino as ov

    settings = {
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = ov.Core().compile_model(options.onnx, "CPU", settings)
    request, data = model.create_infer_request(), _zeros(list(model.input(0).shape))
    return lambda: request.infer([data], share_inputs=True)


def _opencv(options: argparse.Namespace) -> Callable[[], Any]:
    import cv2

    cv2.setNumThreads(options.threads)
    net = cv2.dnn.readNetFromCaffe(options.prototxt, options.caffemodel)
    data = _zeros(options.shape)

    def run() -> Any:
        net.setInput(data)
        return net.forward()

    return run


def _zeros(shape: Sequence[int]) -> Any:
    import numpy as np

    return np.zeros(shape, np.float32)


_MAKERS = {
    "Recaffe": _recaffe,
    "torch engine": _recaffe,
    "llvm engine": _recaffe,
    "ONNX Runtime": _onnx_runtime,
    "OpenVINO": _openvino,
    "OpenCV": _opencv,
}


def main() -> None:
    """Measure each engine in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="caffenet")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--quick", action="store_true", help="a batch of 2: does it work at all?")
    for name in ("child", "prototxt", "caffemodel", "onnx"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        run_child(options)
        return
    if options.quick:
        options.batch = 2
    # It also has nothing remembered of other processes.
    from report import machine, show

    with tempfile.TemporaryDirectory() as folder:
        figures = _measure(options, Path(folder))
    rows = []
    for figure in figures.values():
        figure["beyond"] = figure["peak"] - figure["before"]
    for name, figure in figures.items():
        cells = [f"{figure[key]:.0f}" for key in ("before", "peak", "beyond")]
        rows.append([name, LIBRARIES[name.partition(",")[0]], *cells])
    title = f"Peak memory in MB, {options.net}, batch {options.batch}"
    columns = ["", "library", "after its import", "peak", "beyond"]
    show(title, columns, rows, machine(options.threads), figures, options.json)


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    from nets import write

    import caffe

    files = write(options.net, options.batch, folder)
    net = caffe.Net(files.prototxt, caffe.TEST, weights=files.caffemodel)
    shape = map(str, net.blobs[net.inputs[0]].shape)
    onnx = folder / "net.onnx"
    if importlib.util.find_spec("onnx") is not None:
        from onnx_model import to_onnx

        onnx.write_bytes(to_onnx(net).SerializeToString())
    common = ["--threads", str(options.threads), "--shape", *shape, "--onnx", str(onnx)]
    common += ["--prototxt", str(files.prototxt), "--caffemodel", str(files.caffemodel)]
    figures = {}
    for name, library in LIBRARIES.items():
        if importlib.util.find_spec(library) is None:
            continue
        command = [sys.executable, __file__, "--child", name, *common]
        kept = {"RECAFFE_REMEMBER": "1", "RECAFFE_HOME": str(folder / name)}
        for what in (name, f"{name}, next process")[: 1 + (name in REMEMBERING)]:
            answer = subprocess.run(command, capture_output=True, text=True, env=os.environ | kept)
            if answer.returncode:
                print(f"{what} cannot run it: {answer.stderr.strip().splitlines()[-1]}")
                continue
            figures[what] = json.loads(answer.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
