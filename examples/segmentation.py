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
from PIL import Image, ImageDraw, ImageFont

import caffe
from caffe.io.annotate import color_of, to_picture
from caffe.io.labels import imagenet, read_labels

SHOWN = 5
LEAST = 0.01
VEIL = 0.55


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


def run(net: caffe.Net, blob: np.ndarray) -> np.ndarray:
    """Return the scores of each class, or the class itself, (C, H, W)."""
    data = net.blobs[net.inputs[0]]
    data.reshape(1, *blob.shape)
    net.reshape()
    net.forward(**{net.inputs[0]: blob[None]})
    return net.blobs[net.outputs[0]].data[0].copy()


def classes(scores: np.ndarray, size: tuple[int, int], shown: int) -> np.ndarray:
    """Return the class of each pixel, of those that are most common; -1 for the others."""
    if len(scores) == 1:
        found = np.asarray(Image.fromarray(scores[0]).resize(size[::-1], Image.Resampling.NEAREST))
        return found.astype(int)
    likely = np.argsort(-scores.mean((1, 2)))[:shown]
    others = np.delete(scores, likely, axis=0)
    maps = [*scores[likely], others.max(0)] if len(others) else list(scores[likely])
    # Enlarged before the choice, so that borders are smooth.
    large = [
        np.asarray(Image.fromarray(m).resize(size[::-1], Image.Resampling.BILINEAR)) for m in maps
    ]
    return np.array([*likely, -1])[np.argmax(large, axis=0)]


def overlay(picture: np.ndarray, found: np.ndarray, names: list[str] | None) -> Image.Image:
    """Lay the classes over the picture, with a legend below."""
    counts = {int(k): float((found == k).mean()) for k in np.unique(found) if k >= 0}
    kept = [k for k, share in sorted(counts.items(), key=lambda x: -x[1]) if share >= LEAST]
    pixels = np.asarray(to_picture(picture), np.float32)
    for number, k in enumerate(kept):
        place = found == k
        pixels[place] = (1 - VEIL) * pixels[place] + VEIL * np.array(color_of(number))
        # A line where the class ends.
        around = [np.roll(place, step, axis) for step in (1, -1) for axis in (0, 1)]
        pixels[place & ~np.all(around, axis=0)] = color_of(number)
    height, width = found.shape
    font = ImageFont.load_default(max(13, min(height, width) // 24))
    line = int(font.size * 1.6)
    sheet = Image.new("RGB", (width, height + line * len(kept) + 8), "white")
    sheet.paste(Image.fromarray(pixels.astype(np.uint8)), (0, 0))
    draw = ImageDraw.Draw(sheet)
    for number, k in enumerate(kept):
        top = height + 4 + number * line
        draw.rectangle((8, top + 4, 8 + line, top + line - 4), fill=color_of(number))
        name = names[k] if names is not None and k < len(names) else f"class {k}"
        text = f"{name}  {counts[k]:.0%}"
        print(f"  {text}")
        draw.text((16 + line, top + line / 2), text, fill="black", font=font, anchor="lm")
    return sheet


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
        net = caffe.Net(options.net, caffe.TEST, weights=options.weights)
        names = read_labels(options.labels) if options.labels else None
        own = net.blobs[net.inputs[0]].shape
        size = options.size or own[2:]
        blob = caffe.io.resize_image(picture, size)[:, :, ::-1] * 255 - options.mean
        scores = run(net, blob.transpose(2, 0, 1))
        if names is not None and len(names) == len(scores) - 1:
            names = ["background", *names]
        print(f"the net {options.net}" + ("" if options.weights else ", without weights"))
    else:
        net, names = build()
        largest = max(picture.shape[:2])
        size = options.size or [round(n * 448 / largest / 32) * 32 for n in picture.shape[:2]]
        blob = (caffe.io.resize_image(picture, size) * 255 - 127) / 128
        scores = run(net, blob.transpose(2, 0, 1))
        print("EfficientNet-Lite0, at each place")
    found = classes(scores, picture.shape[:2], SHOWN if not options.net else len(scores))
    overlay(picture, found, names).save(options.output)
    print(f"drawn in {options.output}")


if __name__ == "__main__":
    main()
