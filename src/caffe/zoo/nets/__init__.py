"""The published nets, written with NetSpec: structures are facts, and weights are found by name.

Each function returns a deploy NetParameter: an Input layer first, no loss, names and order of
layers and blobs exactly as published.
"""

from __future__ import annotations

from .alexnet import alexnet, caffenet, flickr_style, rcnn_ilsvrc13
from .efficientnet_lite0 import efficientnet_lite0
from .googlenet import googlenet
from .resnet import resnet50, resnet101, resnet152
from .squeezenet import squeezenet_v1_0, squeezenet_v1_1
from .vgg import vgg16, vgg19

__all__ = [
    "alexnet",
    "caffenet",
    "efficientnet_lite0",
    "flickr_style",
    "googlenet",
    "rcnn_ilsvrc13",
    "resnet50",
    "resnet101",
    "resnet152",
    "squeezenet_v1_0",
    "squeezenet_v1_1",
    "vgg16",
    "vgg19",
]
