"""How pictures go into nets that find objects: guessed from the net's text."""

from __future__ import annotations

from dataclasses import dataclass

from ..proto.caffe_pb2 import NetParameter

STRETCH, LETTERBOX, SHORTER_SIDE = "stretch", "letterbox", "shorter side"
FITS = (STRETCH, LETTERBOX)
ORDERS = ("bgr", "rgb", "grey")

ROWS, MAPS, REGIONS, OFFSETS = "rows", "maps", "regions", "offsets"
"""The kinds of nets: with a layer of detections, with YOLO's maps, with classified regions, and
with boxes and scores that nobody has thinned out yet."""

SSD_MEAN = (104.0, 117.0, 123.0)
RCNN_MEAN = (102.9801, 115.9465, 122.7717)
PELEE_MEAN = (103.94, 116.78, 123.68)


@dataclass(frozen=True)
class Preparation:
    """What is done to a picture before it goes into a net.

    Attributes
    ----------
    mean : tuple of float
        Subtracted from pixels of 0 to 255, one for each channel in the net's order.
    scale : float
        Multiplied after that.
    order : {"bgr", "rgb", "grey"}
        The channels.
    size : (int, int)
        Height and width to which the picture is brought. With the fit "shorter side", the length
        of the shorter one, and the most that the longer may have.
    fit : {"stretch", "letterbox", "shorter side"}
        Whether the picture is stretched to the size, put amid grey bars, or only scaled.
    why : str
        What the guess rests on.
    """

    mean: tuple[float, ...]
    scale: float
    order: str
    size: tuple[int, int]
    fit: str = STRETCH
    why: str = ""

    def __str__(self) -> str:
        mean = ", ".join(f"{value:g}" for value in self.mean)
        high, wide = self.size
        to = f"{wide} x {high}"
        if self.fit == SHORTER_SIDE:
            to = f"a shorter side of {min(self.size)} and a longer of at most {max(self.size)}"
        how = "" if self.fit == STRETCH else f" ({self.fit})" * (self.fit == LETTERBOX)
        return f"{self.order}, (pixel - ({mean})) * {self.scale:g}, brought to {to}{how}"


def guess_preparation(net: NetParameter, kind: str, shape: tuple[int, ...]) -> Preparation:
    """Guess how pictures go into a net.

    Parameters
    ----------
    net : NetParameter
        The net, upgraded.
    kind : {"rows", "maps", "regions", "offsets"}
        How it ends.
    shape : tuple of int
        Its input's shape, (num, channels, height, width).

    Notes
    -----
    What is known of the nets that were published: SSD subtracts 104, 117, 123; nets of depthwise
    convolutions (MobileNet-SSD and its kin) take values from -1 to 1; PeleeNet scales by 0.017;
    YOLO takes RGB from 0 to 1, in darknet's letterbox; Faster R-CNN and R-FCN bring the shorter
    side to 600; UltraFace takes RGB, 127 subtracted and divided by 128; nets of one channel take
    grey from 0 to 1. A `transform_param` that stands in the
    text goes before all of them.
    """
    channels, size = shape[1], (shape[2], shape[3])
    said = _said(net, channels)
    if channels == 1:
        mean, scale = said or ((0.0,), 1 / 255)
        return Preparation(mean, scale, "grey", size, why="a net of one channel")
    if kind == REGIONS:
        mean, scale = said or (RCNN_MEAN, 1.0)
        return Preparation(
            mean, scale, "bgr", (600, 1000), SHORTER_SIDE, why="an R-CNN: regions are classified"
        )
    if said is not None:
        return Preparation(*said, "bgr", size, why="transform_param in the net's text")
    if kind == MAPS:
        return Preparation(
            (0.0,) * 3, 1 / 255, "rgb", size, LETTERBOX, why="YOLO's maps, as darknet feeds them"
        )
    if kind == OFFSETS:
        return Preparation((127.0,) * 3, 1 / 128, "rgb", size, why="boxes and scores of UltraFace")
    if "pelee" in net.name.lower():
        return Preparation(PELEE_MEAN, 0.017, "bgr", size, why="PeleeNet by its name")
    if any(_is_depthwise(layer) for layer in net.layer):
        return Preparation(
            (127.5,) * 3, 1 / 127.5, "bgr", size, why="depthwise convolutions: MobileNet's values"
        )
    return Preparation(SSD_MEAN, 1.0, "bgr", size, why="an SSD net")


def _said(net: NetParameter, channels: int) -> tuple[tuple[float, ...], float] | None:
    """Mean and scale of a transform_param in the text, where there is one that says them."""
    for layer in net.layer:
        param = layer.transform_param
        given = layer.HasField("transform_param") and (param.mean_value or param.HasField("scale"))
        if given and len(param.mean_value) in (0, 1, channels):
            mean = tuple(param.mean_value) or (0.0,)
            return mean * (channels // len(mean)), param.scale
    return None


def _is_depthwise(layer: object) -> bool:
    kind, param = layer.type, layer.convolution_param  # type: ignore[attr-defined]
    if kind in ("ConvolutionDepthwise", "DepthwiseConvolution"):
        return True
    return bool(kind == "Convolution" and 8 <= param.group == param.num_output)
