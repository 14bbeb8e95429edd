"""Nets of others as Caffe's: from ONNX and from PyTorch.

>>> made = caffe.imports.load("model.onnx", target="opencv")                   # doctest: +SKIP
>>> made.save("deploy.prototxt", "net.caffemodel")                             # doctest: +SKIP
>>> made = caffe.imports.load(module, torch.zeros(1, 3, 224, 224))             # doctest: +SKIP
>>> net = made.to_net()                                                        # doctest: +SKIP
"""

from .files import load
from .imported import Imported
from .matching import Matched, copy_weights
from .targets import TARGETS

__all__ = ["TARGETS", "Imported", "Matched", "copy_weights", "load"]
