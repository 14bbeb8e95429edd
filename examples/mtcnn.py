"""Find faces and their landmarks with MTCNN's cascade of three nets (Zhang et al., 2016).

A small net looks at every place of a pyramid of pictures, a second one at what it kept, a third one
at what that kept, each moving the boxes a bit.

    python examples/mtcnn.py --models FOLDER photo.jpg     det1 to det3 .prototxt and .caffemodel
    python examples/mtcnn.py                               nets that it builds, on a drawn picture

(On a developer's machine that has the tests' reference material, its models and a photograph are
taken instead.)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import drawn
import numpy as np

import caffe
from caffe import layers as L
from caffe.io.annotate import Mark, draw_marks

SIZES = (12, 24, 48)
STRIDE = 2
SMALLEST = 24
PYRAMID = 0.709
THRESHOLDS = (0.6, 0.7, 0.7)
OVERLAPS = (0.5, 0.7, 0.7)


@dataclass
class Nets:
    """The cascade: nets for 12, 24 and 48 pixels, and what they call their tops."""

    nets: list[caffe.Net]

    def __call__(self, stage: int, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """Run one of the nets; tops by what they hold: prob, bbox_pred, landmark_pred."""
        net = self.nets[stage]
        blob = net.blobs[net.inputs[0]]
        if tuple(blob.shape) != pictures.shape:
            blob.reshape(*pictures.shape)
            net.reshape()
        return {name: top.copy() for name, top in net.forward(data=pictures).items()}


def load(folder: Path) -> Nets:
    """Load det1, det2 and det3 of a folder."""
    paths = [folder / f"det{i}" for i in (1, 2, 3)]
    return Nets([caffe.Net(f"{p}.prototxt", f"{p}.caffemodel", caffe.TEST) for p in paths])


def build() -> Nets:
    """Build a cascade of the same form whose weights are templates of a yellow disc."""
    nets = []
    for size in SIZES:
        n = caffe.NetSpec()
        n.data = L.Input(shape={"dim": [1, 3, size, size]})
        stride = STRIDE if size == SIZES[0] else 1
        for name, count in (("score", 2), ("bbox_pred", 4), ("landmark_pred", 10)):
            n[name] = L.Convolution(n.data, num_output=count, kernel_size=size, stride=stride)
        n.prob = L.Softmax(n.score)
        net = caffe.Net(str(n.to_proto()), caffe.TEST)
        net.params["score"][0].data[1] = 40 * drawn.template(size)
        net.params["score"][1].data[:] = 0, -42
        # Eyes, nose and mouth where the drawn faces have them, in parts of the box.
        points = [[0.31, 0.37], [0.69, 0.37], [0.5, 0.55], [0.3, 0.72], [0.7, 0.72]]
        net.params["landmark_pred"][1].data[:] = np.ravel(points)
        nets.append(net)
    return Nets(nets)


def as_input(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a picture (H x W x 3, RGB, 0 to 1) to a size, and to MTCNN's BGR of -1 to 1."""
    pixels = caffe.io.resize_image(picture, size)[:, :, ::-1] * 255
    return (pixels.transpose(2, 0, 1) - 127.5) * 0.0078125


def overlaps(box: np.ndarray, boxes: np.ndarray, by_smaller: bool) -> np.ndarray:
    """How much of the union, or of the smaller box, is common."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    one, others = np.prod(box[2:] - box[:2]), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / (np.minimum(one, others) if by_smaller else one + others - shared)


def thin_out(boxes: np.ndarray, scores: np.ndarray, limit: float, by_smaller: bool) -> np.ndarray:
    """Return which boxes stay: none that overlaps a better one by more than `limit`."""
    order, kept = np.argsort(-scores), []
    while len(order):
        kept.append(order[0])
        rest = order[1:]
        order = rest[overlaps(boxes[order[0]], boxes[rest], by_smaller) <= limit]
    return np.array(kept, dtype=int)


def square(boxes: np.ndarray) -> np.ndarray:
    """Return boxes made square about their middles."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([center - half, center + half], 1)


def crop(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Cut a box out; what lies outside the picture is black."""
    x1, y1, x2, y2 = np.round(box).astype(int)
    out = np.zeros((max(1, y2 - y1), max(1, x2 - x1), 3), np.float32)
    high, wide = picture.shape[:2]
    top, left = max(0, y1), max(0, x1)
    part = picture[top : min(high, y2), left : min(wide, x2)]
    out[top - y1 : top - y1 + part.shape[0], left - x1 : left - x1 + part.shape[1]] = part
    return out


def first_stage(nets: Nets, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The small net over the whole picture, at each scale of the pyramid."""
    every, scores = [np.zeros((0, 4))], [np.zeros(0)]
    scale = SIZES[0] / SMALLEST
    while min(picture.shape[:2]) * scale >= SIZES[0]:
        size = tuple(int(np.ceil(n * scale)) for n in picture.shape[:2])
        tops = nets(0, as_input(picture, size)[None])
        prob, moved = tops["prob"][0, 1], tops["bbox_pred"][0]
        row, column = np.nonzero(prob > THRESHOLDS[0])
        corner = np.stack([column, row], 1) * STRIDE
        boxes = np.concatenate([corner, corner + SIZES[0]], 1) / scale
        boxes = boxes + moved[:, row, column].T * SIZES[0] / scale
        kept = thin_out(boxes, prob[row, column], OVERLAPS[0], False)
        every.append(boxes[kept])
        scores.append(prob[row, column][kept])
        scale *= PYRAMID
    boxes, found = np.concatenate(every), np.concatenate(scores)
    kept = thin_out(boxes, found, OVERLAPS[1], False)
    return boxes[kept], found[kept]


def find_faces(nets: Nets, picture: np.ndarray) -> list[Mark]:
    """Return boxes with five landmarks each, the best first."""
    boxes, scores = first_stage(nets, picture)
    print(f"12 x 12: {len(boxes)} boxes")
    points = np.zeros((len(boxes), 5, 2))
    for stage, size in enumerate(SIZES[1:], 1):
        if not len(boxes):
            break
        boxes = square(boxes)
        crops = np.stack([as_input(crop(picture, box), (size, size)) for box in boxes])
        tops = {k: v.reshape(len(boxes), -1) for k, v in nets(stage, crops).items()}
        chosen = tops["prob"][:, 1] > THRESHOLDS[stage]
        sides = boxes[:, 2:] - boxes[:, :2]
        places = tops["landmark_pred"].reshape(-1, 5, 2)
        points = (boxes[:, None, :2] + places * sides[:, None])[chosen]
        boxes = (boxes + tops["bbox_pred"] * np.tile(sides, 2))[chosen]
        scores = tops["prob"][chosen, 1]
        kept = thin_out(boxes, scores, OVERLAPS[stage], by_smaller=stage == 2)
        boxes, scores, points = boxes[kept], scores[kept], points[kept]
        print(f"{size} x {size}: {len(boxes)} boxes")
    return [
        Mark(tuple(box), f"{score:.2f}", 0, [tuple(p) for p in places])
        for box, score, places in zip(boxes.tolist(), scores, points.tolist(), strict=True)
    ]


def main() -> None:
    """Find faces and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", help="a photograph")
    parser.add_argument("--models", type=Path, help="folder of det1 to det3")
    parser.add_argument("--own", action="store_true", help="build the nets, whatever is there")
    parser.add_argument("--output", default="mtcnn.png")
    options = parser.parse_args()
    folder = options.models or drawn.reference("mtcnn")
    own = options.own or folder is None
    nets = build() if own else load(folder)
    if options.picture:
        picture = caffe.io.load_image(options.picture)
    elif own:
        picture = np.asarray(drawn.faces(), np.float32) / 255
    else:
        import skimage.data

        picture = skimage.data.astronaut().astype(np.float32) / 255
    print("nets built here, for yellow discs" if own else f"the nets of {folder}")
    marks = find_faces(nets, picture)
    for mark in marks:
        print(f"  {mark.text}  ({', '.join(f'{c:.0f}' for c in mark.box)})")
        landmarks = ", ".join(f"{x:.0f} {y:.0f}" for x, y in mark.points)
        print(f"        eyes, nose and corners of the mouth at {landmarks}")
    draw_marks(picture, marks).save(options.output)
    print(f"drawn in {options.output}")


if __name__ == "__main__":
    main()
