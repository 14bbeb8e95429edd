"""Make a picture twice as large: by WeChat's net for QR codes, and by SRCNN (Dong et al., 2014).

    python examples/super_resolution.py photo.jpg
    python examples/super_resolution.py --net sr.prototxt --weights sr.caffemodel photo.jpg

The picture is halved, made large again in each way, and compared with what it was. SRCNN's weights
were not published with its text: here they are fitted to the halved picture itself, by least
squares. (On a developer's machine that has the tests' reference material, WeChat's net is there.)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import drawn
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import caffe
from caffe import layers as L

KERNELS = (9, 1, 5)


def build_srcnn() -> caffe.Net:
    """Build SRCNN: 9 x 9 features, 1 x 1 mapping, 5 x 5 reconstruction."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, 64, 64]})
    n.conv1 = L.Convolution(n.data, num_output=64, kernel_size=9, pad=4)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.conv2 = L.Convolution(n.relu1, num_output=32, kernel_size=1)
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.conv3 = L.Convolution(n.relu2, num_output=1, kernel_size=5, pad=2)
    return caffe.Net(str(n.to_proto()), caffe.TEST)


def run(net: caffe.Net, grey: np.ndarray) -> np.ndarray:
    """Put a grey picture (H x W, 0 to 1) through a net."""
    blob = net.blobs[net.inputs[0]]
    blob.reshape(1, 1, *grey.shape)
    net.reshape()
    net.forward(**{net.inputs[0]: grey[None, None]})
    return net.blobs[net.outputs[0]].data[0, 0].copy()


def resized(grey: np.ndarray, size: tuple[int, int], way: Image.Resampling) -> np.ndarray:
    """Resize a grey picture."""
    return np.asarray(Image.fromarray(np.float32(grey)).resize(size[::-1], way), np.float32)


def fit(net: caffe.Net, small: np.ndarray) -> None:
    """Fit SRCNN to a picture: what makes it of its own half, by least squares.

    Values are positive and ReLU lets them pass, so that one chain of channels is one 9 x 9 kernel.
    """
    rows, columns = (n // 2 * 2 for n in small.shape)
    small = small[:rows, :columns]
    half = resized(small, (rows // 2, columns // 2), Image.Resampling.BOX)
    blurred = resized(half, (rows, columns), Image.Resampling.BICUBIC)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(blurred, 4, mode="edge"), (9, 9))
    samples = around.reshape(-1, 81)[::3]
    weak = 0.1 * np.eye(81)
    middle = np.zeros(81)
    middle[40] = 1
    wanted = small.reshape(-1)[::3] - blurred.reshape(-1)[::3]
    kernel = middle + np.linalg.solve(samples.T @ samples + weak, samples.T @ wanted)
    for name in net.params:
        weights, bias = net.params[name]
        weights.data[:] = 0
        bias.data[:] = 0
        center = weights.data.shape[2] // 2
        weights.data[0, 0, center, center] = 1
    next(iter(net.params.values()))[0].data[0, 0] = kernel.reshape(9, 9)


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    """The peak signal-to-noise ratio of two pictures of 0 to 1, leaving out the border."""
    cut = (slice(8, -8), slice(8, -8))
    return float(-10 * np.log10(np.mean((one[cut] - other[cut]) ** 2)))


def side_by_side(pictures: dict[str, np.ndarray]) -> Image.Image:
    """The pictures in a row, each with its name."""
    height, width = next(iter(pictures.values())).shape
    font = ImageFont.load_default(max(14, height // 18))
    band = int(font.size * 1.8)
    sheet = Image.new("L", (width * len(pictures) + 4 * (len(pictures) - 1), height + band), 255)
    draw = ImageDraw.Draw(sheet)
    for i, (name, pixels) in enumerate(pictures.items()):
        at = i * (width + 4)
        sheet.paste(Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8)), (at, band))
        draw.text((at + width / 2, band / 2), name, fill=0, font=font, anchor="mm")
    return sheet


def main() -> None:
    """Enlarge a picture in each way and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", help="a photograph")
    parser.add_argument("--net", type=Path, help="a net that doubles grey pictures")
    parser.add_argument("--weights", type=Path, help="its weights")
    parser.add_argument("--srcnn", type=Path, help="SRCNN's prototxt")
    parser.add_argument("--own", action="store_true", help="build the nets, whatever is there")
    parser.add_argument("--output", default="super_resolution.png")
    options = parser.parse_args()
    if options.picture:
        colors = caffe.io.load_image(options.picture)
    else:
        import skimage.data

        colors = skimage.data.chelsea().astype(np.float32) / 255
    whole = (colors @ np.float32([0.299, 0.587, 0.114]))[: 2 * 140, 60 : 60 + 2 * 140]
    whole = whole[: whole.shape[0] // 2 * 2, : whole.shape[1] // 2 * 2]
    small = resized(whole, (whole.shape[0] // 2, whole.shape[1] // 2), Image.Resampling.BOX)
    bicubic = resized(small, whole.shape, Image.Resampling.BICUBIC)
    results = {"bicubic": bicubic}

    text = options.srcnn or drawn.reference("srcnn", "SRCNN_deploynet.prototxt")
    own = options.own or text is None
    srcnn = build_srcnn() if own else caffe.Net(text, caffe.TEST)
    fit(srcnn, small)
    enlarged = run(srcnn, bicubic)
    # A text without padding gives less at the border.
    room = [(n - m) // 2 for n, m in zip(whole.shape, enlarged.shape, strict=True)]
    srcnn_picture = bicubic.copy()
    inside = tuple(slice(r, r + n) for r, n in zip(room, enlarged.shape, strict=True))
    srcnn_picture[inside] = enlarged
    results["SRCNN, fitted here"] = srcnn_picture

    net = options.net or drawn.reference("wechat_qrcode", "sr.prototxt")
    weights = options.weights or drawn.reference("wechat_qrcode", "sr.caffemodel")
    if not options.own and net is not None and weights is not None:
        doubled = run(caffe.Net(net, weights, caffe.TEST), small)
        picture = bicubic.copy()
        picture[: doubled.shape[0], : doubled.shape[1]] = doubled
        results["WeChat's net"] = picture
        print("WeChat's net is made for QR codes: it draws edges sharper than they were.")
    for name, picture in results.items():
        print(f"  {name.ljust(20)} {decibels(picture, whole):.2f} dB")
    side_by_side({**results, "what it was": whole}).save(options.output)
    print(f"drawn in {options.output}")


if __name__ == "__main__":
    main()
