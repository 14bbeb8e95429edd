"""Find faces with an SSD net: libfacedetection's, or one that is built here.

    python examples/face_detection.py --net X.prototxt --weights X.caffemodel photo.jpg
    python examples/face_detection.py               a net that it builds, on a drawn picture

The same from a shell: caffe detect photo.jpg --net X.prototxt --weights X.caffemodel -o boxes.png.
(On a developer's machine that has the tests' reference material, its model and a photograph are
taken instead.)
"""

from __future__ import annotations

import argparse

import drawn
import numpy as np

import caffe
from caffe import detect
from caffe import layers as L
from caffe import params as P

STRIDE = 8
BOXES = (40, 48, 64, 80, 96, 112, 136)


def build(width: int, height: int) -> detect.ObjectDetector:
    """Build an SSD net for yellow discs: its features are templates, one for each size of box."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 3, height, width]})
    confidences, locations, priors = [], [], []
    for size in BOXES:
        # A kernel of even size and this padding has its middle where the prior box has its own.
        pad = (size - STRIDE) // 2
        settings = {"kernel_size": size, "stride": STRIDE, "pad": pad}
        conf = L.Convolution(n.data, num_output=2, **settings)
        loc = L.Convolution(n.data, num_output=4, **settings)
        n[f"conf{size}"], n[f"loc{size}"] = conf, loc
        for kind, blob, flat in (("conf", conf, confidences), ("loc", loc, locations)):
            n[f"{kind}{size}_perm"] = L.Permute(blob, order=[0, 2, 3, 1])
            n[f"{kind}{size}_flat"] = L.Flatten(n[f"{kind}{size}_perm"])
            flat.append(n[f"{kind}{size}_flat"])
        n[f"prior{size}"] = L.PriorBox(
            conf, n.data, min_size=size, step=STRIDE, clip=False, variance=[0.1, 0.1, 0.2, 0.2]
        )
        priors.append(n[f"prior{size}"])
    n.loc, n.conf = L.Concat(*locations, axis=1), L.Concat(*confidences, axis=1)
    n.priors = L.Concat(*priors, axis=2)
    n.scores = L.Reshape(n.conf, shape={"dim": [0, -1, 2]})
    n.prob = L.Softmax(n.scores, axis=2)
    n.flat = L.Flatten(n.prob)
    n.found = L.DetectionOutput(
        n.loc,
        n.flat,
        n.priors,
        num_classes=2,
        confidence_threshold=0.1,
        keep_top_k=50,
        code_type=P.PriorBox.CENTER_SIZE,
        nms_param={"nms_threshold": 0.2, "top_k": 200},
    )
    detector = detect.ObjectDetector(n.to_proto(), labels=["face"], mean=[0.0], scale=1 / 128)
    for size in BOXES:
        weights, bias = detector.net.params[f"conf{size}"]
        weights.data[1] = 40 * drawn.template(size)
        bias.data[:] = 0, -50
    return detector


def main() -> None:
    """Find faces and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", help="a photograph")
    parser.add_argument("--net", help="the prototxt")
    parser.add_argument("--weights", help="the caffemodel")
    parser.add_argument("--own", action="store_true", help="build the net, whatever is there")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--output", default="faces.png")
    options = parser.parse_args()
    name = "yufacedetectnet-open-v1"
    net = options.net or drawn.reference("libfacedetection_v1", f"{name}.prototxt")
    weights = options.weights or drawn.reference("libfacedetection_v1", f"{name}.caffemodel")
    own = options.own or net is None
    if options.picture:
        picture = caffe.io.load_image(options.picture)
    elif own:
        picture = np.asarray(drawn.faces(), np.float32) / 255
    else:
        import skimage.data

        picture = skimage.data.astronaut().astype(np.float32) / 255
    if own:
        detector = build(picture.shape[1], picture.shape[0])
    else:
        # The net takes pictures of any size; its own is small.
        size = [-(-n // 32) * 32 for n in picture.shape[:2]]
        detector = detect.ObjectDetector(net, weights, labels=["face"], size=size)
    print("a net built here, for yellow discs" if own else f"the net {net}")
    print(f"pictures go in as {detector.preparation}")
    found = detector.detect(picture, options.threshold)
    for face in found:
        print(f"  {face.score:.2f}  ({', '.join(f'{c:.0f}' for c in face.box)})")
    detect.draw(picture, found).save(options.output)
    print(f"drawn in {options.output}")


if __name__ == "__main__":
    main()
