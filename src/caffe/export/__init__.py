"""Nets for others: as ONNX, as PyTorch's modules and programs, as source, as bare weights.

>>> net = caffe.Net("deploy.prototxt", "net.caffemodel", caffe.TEST)  # doctest: +SKIP
>>> caffe.export.save(net, "net.onnx", dynamic_batch=True)            # doctest: +SKIP
>>> model = caffe.export.module(net)                                  # doctest: +SKIP
"""

from .files import FORMATS, save
from .folding import folded
from .onnx_file import to_onnx
from .recording import module, program

__all__ = ["FORMATS", "folded", "module", "program", "save", "to_onnx"]
