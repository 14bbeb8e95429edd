"""The zoo's names as types, so that an editor offers them."""

from __future__ import annotations

from typing import Literal

ClassifierName = Literal[
    "efficientnet_lite0",
    "bvlc_reference_caffenet",
    "bvlc_alexnet",
    "bvlc_googlenet",
    "bvlc_reference_rcnn_ilsvrc13",
    "finetune_flickr_style",
    "squeezenet_v1.0",
    "squeezenet_v1.1",
    "vgg16",
    "vgg19",
    "resnet50",
    "resnet101",
    "resnet152",
    "mobilenet_v1",
    "mobilenet_v2",
    "densenet121",
]

DetectorName = Literal[
    "mobilenet_ssd",
    "ssd300_voc",
    "ssd512_voc",
    "res10_face",
    "faster_rcnn_vgg16",
    "faster_rcnn_zf",
    "rfcn_resnet50",
]

SegmenterName = Literal[
    "segnet_driving",
    "segnet_basic_camvid",
    "pspnet50_ade20k",
    "pspnet101_cityscapes",
]
