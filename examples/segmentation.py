"""Say of each place in a picture what is there, and lay the classes over it in colours.

    python examples/segmentation.py --net X.prototxt --weights X.caffemodel --labels voc photo.jpg
    python examples/segmentation.py                       a net that it builds

Any net that gives scores or a class for each place will do: FCN, SegNet, DeepLab, PSPNet, ENet.
Without arguments it takes the zoo's classifier apart: without its pooling, and with its last layer
as a convolution, EfficientNet-Lite0 names what it sees at each place (Long et al., 2015).
"""

from __future__ import annotations

import argparse

import numpy as np

import caffe
from caffe.io.labels import imagenet
from caffe.segmenter import Segmentation, Segmenter

SHOWN = 5
LEAST = 0.01


def build() -> tuple[caffe.Net, list[str]]:
    """Make a segmentation net of the zoo's classifier, without learning anything anew."""
    record = caffe.zoo.record(caffe.zoo.DEFAULT)
    files = caffe.zoo.fetch(record.name, quiet=True)
    whole = caffe.Net(files.net, files.weights, caffe.TEST)
    param = record.net()
    kinds = [layer.type for layer in param.layer]
    last = len(kinds) - 1 - kinds[::-1].index("Pooling")
    dense = next(layer for layer in param.layer[last:] if layer.type == "InnerProduct")
    del param.layer[last + 1 :]
    pooling = param.layer[last].pooling_param
    pooling.Clear()
    pooling.pool, pooling.kernel_size, pooling.stride, pooling.pad = pooling.AVE, 3, 1, 1
    scores = param.layer.add(name="scores", type="Convolution", bottom=param.layer[last].top[:1])
    scores.top.append("scores")
    scores.convolution_param.num_output = dense.inner_product_param.num_output
    scores.convolution_param.kernel_size.append(1)
    soft = param.layer.add(name="prob", type="Softmax", bottom=["scores"], top=["prob"])
    soft.softmax_param.axis = 1
    net = caffe.Net(param, caffe.TEST)
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            source = whole.params[dense.name if name == "scores" else name][i]
            blob.data[...] = source.data.reshape(blob.data.shape)
    return net, [name.split(maxsplit=1)[1].split(",")[0] for name in imagenet()]


def most_common(found: Segmentation, count: int) -> Segmentation:
    """Leave only the classes that cover most."""
    kept = [area.label for area in found.areas()[:count]]
    return Segmentation(np.where(np.isin(found.classes, kept), found.classes, -1), found.names)


def main() -> None:
    """Segment a picture and write it with the classes laid over it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", help="a photograph")
    parser.add_argument("--net", help="the prototxt")
    parser.add_argument("--weights", help="the caffemodel")
    parser.add_argument("--labels", help="a file of names, or voc, ade20k, cityscapes, camvid")
    parser.add_argument("--mean", type=float, nargs="+", default=[104.0, 117.0, 123.0])
    parser.add_argument("--size", type=int, nargs=2, help="height and width")
    parser.add_argument("--output", default="segmentation.png")
    options = parser.parse_args()
    if options.picture:
        picture = caffe.io.load_image(options.picture)
    else:
        import skimage.data

        picture = skimage.data.chelsea().astype(np.float32) / 255
    if options.net:
        segmenter = Segmenter(
            options.net, options.weights, options.labels, mean=options.mean, size=options.size
        )
        print(f"the net {options.net}" + ("" if options.weights else ", without weights"))
        found = segmenter.segment(picture)
    else:
        net, names = build()
        largest = max(picture.shape[:2])
        size = options.size or [round(n * 448 / largest / 32) * 32 for n in picture.shape[:2]]
        segmenter = Segmenter(net, None, names, mean=127, scale=1 / 128, order="rgb", size=size)
        print("EfficientNet-Lite0, at each place")
        found = most_common(segmenter.segment(picture), SHOWN)
    for area in found.areas():
        if area.share >= LEAST:
            print(f"  {area.name}  {area.share:.0%}")
    found.overlay(picture).save(options.output)
    print(f"drawn in {options.output}")


if __name__ == "__main__":
    main()
