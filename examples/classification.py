"""Instant recognition with Caffe: load a net, classify a picture, and look inside.

The steps are those of the first notebook that came with Caffe, in its order and with its calls:

    python examples/classification.py
    python examples/classification.py --image cat.jpg --model bvlc_reference_caffenet
    python examples/classification.py --url-or-path https://example.org/picture.jpg

It prints what it finds and puts the figures into a folder. It needs the extras
``vis`` and ``demo``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import caffe


def main(arguments: list[str] | None = None) -> None:
    """Go through all the steps."""
    options = read_options(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    plt.rcParams["figure.constrained_layout.use"] = True

    net, transformer, labels = load_model(options.model)
    classify_picture(net, transformer, labels, options)
    compare_speed(net)
    look_inside(net, transformer, labels, options.output)
    if options.url_or_path:
        classify_another(net, transformer, labels, options.url_or_path)


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Classify a picture and look inside the net.")
    parser.add_argument("--model", default=caffe.zoo.DEFAULT, help="as `caffe zoo` lists them")
    parser.add_argument("--image", help="a picture's path; a cat by default")
    parser.add_argument("--output", type=Path, default=Path("figures"), help="the figures' folder")
    parser.add_argument("--batch", type=int, default=50, help="pictures per forward pass")
    parser.add_argument("--url-or-path", help="another picture, to be classified at the end")
    return parser.parse_args(arguments)


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


# 1. Load the net and say how pictures go into it.


def load_model(name: str) -> tuple[caffe.Net, caffe.io.Transformer, list[str]]:
    """Load the net in CPU mode, and prepare its Transformer."""
    heading("Loading the net")
    record = caffe.zoo.record(name)
    files = caffe.zoo.fetch(name)  # a prototxt and a caffemodel, like any of your own

    caffe.set_mode_cpu()
    net = caffe.Net(
        str(files.net),  # the structure of the net
        str(files.weights),  # its trained weights
        caffe.TEST,  # no dropout: this is no training
    )
    print(f"{record.title}: input {net.inputs}, output {net.outputs}")

    # Pictures are loaded as height x width x RGB from 0 to 1. Each model has its own idea of
    # what they should be: CaffeNet for one wants BGR x height x width from 0 to 255, less the
    # mean of ImageNet's pictures.
    recipe = record.recipe
    assert recipe is not None
    assert record.labels is not None
    mean = np.array(recipe.mean)
    channels = "BGR" if recipe.channel_swap else "RGB"
    print("mean to subtract:", list(zip(channels, mean.tolist(), strict=True)))
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))  # channels go first
    transformer.set_mean("data", mean)  # in the scale and order that the net takes
    transformer.set_raw_scale("data", recipe.raw_scale)  # from [0, 1] to [0, 255]
    if recipe.channel_swap:
        transformer.set_channel_swap("data", recipe.channel_swap)  # from RGB to BGR
    if recipe.input_scale:
        transformer.set_input_scale("data", recipe.input_scale)
    return net, transformer, record.labels()


# 2. Classify a picture on the CPU.


def classify_picture(
    net: caffe.Net,
    transformer: caffe.io.Transformer,
    labels: list[str],
    options: argparse.Namespace,
) -> None:
    """Put a picture into every place of the batch, and print what the net says of it."""
    heading("Classifying a picture")
    # The batch may have any size; the layers follow at the next forward pass.
    height, width = net.blobs["data"].data.shape[2:]
    net.blobs["data"].reshape(options.batch, 3, height, width)

    image = load_picture(options.image)
    transformed_image = transformer.preprocess("data", image)
    show_picture(image, options.output / "picture.png")

    net.blobs["data"].data[...] = transformed_image
    output = net.forward()

    probabilities = output[net.outputs[0]][0].ravel()  # those of the batch's first picture
    print(f"predicted class: {probabilities.argmax()}")
    print(f"its label:       {labels[probabilities.argmax()]}")
    print_top_five(probabilities, labels)


def load_picture(path: str | None) -> np.ndarray:
    """Load a picture, scikit-image's cat by default, as floats from 0 to 1."""
    if path is not None:
        return caffe.io.load_image(path)
    import skimage.data

    return skimage.data.chelsea() / np.float32(255)


def print_top_five(probabilities: np.ndarray, labels: list[str]) -> None:
    """Print the five most probable classes."""
    print("probabilities and labels:")
    for index in probabilities.argsort()[::-1][:5]:
        print(f"  {probabilities[index]:.6f}  {labels[index]}")


# 3. How long does it take, and how long on a GPU?


def compare_speed(net: caffe.Net) -> None:
    """Time a forward pass on the CPU, and on the GPU if there is one."""
    heading("Speed")
    batch = net.blobs["data"].data.shape[0]
    print(f"CPU, batch of {batch}: {seconds_of_forward(net):.3f} s")
    try:
        caffe.set_device(0)  # the first of several GPUs
        caffe.set_mode_gpu()
    except caffe.DeviceError as error:
        print(f"GPU: {error}")
        return
    net.forward()  # once, to set things up there
    print(f"GPU, batch of {batch}: {seconds_of_forward(net):.3f} s")


def seconds_of_forward(net: caffe.Net) -> float:
    """Run one forward pass, and look at its output: a GPU may still be at work before that."""
    start = time.perf_counter()
    net.forward()
    _ = net.blobs[net.outputs[0]].data
    return time.perf_counter() - start


# 4. Look at what happens in the middle.


def look_inside(
    net: caffe.Net, transformer: caffe.io.Transformer, labels: list[str], output: Path
) -> None:
    """Print the shapes of all blobs and parameters; draw some of their values."""
    heading("Blobs: what flows through the net (batch, channels, height, width)")
    width = max(map(len, net.blobs))
    for name, blob in net.blobs.items():
        print(f"{name:<{width}}  {blob.data.shape}")

    heading("Parameters: what the net has learned (weights and biases, as a rule)")
    width = max(map(len, net.params))
    for name, parameters in net.params.items():
        print(f"{name:<{width}}  {', '.join(str(blob.data.shape) for blob in parameters)}")

    heading("Figures")
    conv1 = layers_of_type(net, "Convolution")[0]
    filters = net.params[conv1][0].data
    if "data" in transformer.channel_swap:
        filters = filters[:, ::-1]  # BGR, to be shown as RGB
    title = f"The {len(filters)} filters of {conv1}, {shape_of(filters[0, 0])} each, in colour"
    if not filters[:, :, 0].any():
        title += "\n(their first row and column are zero: this net pads on one side only)"
    show_tiles(filters.transpose(0, 2, 3, 1), title, output / "conv1-filters.png")

    top = net.top_names[conv1][0]
    responses = net.blobs[top].data[0, :36]
    title = f"Responses of {top}: the first {len(responses)} maps, {shape_of(responses[0])} each"
    show_tiles(responses, title, output / "conv1-responses.png")

    top = net.top_names[layers_of_type(net, "Pooling")[-1]][0]
    responses = net.blobs[top].data[0]
    title = f"Responses of {top}: all {len(responses)} maps, {shape_of(responses[0])} each"
    show_tiles(responses, title, output / "last-pool-responses.png")

    connected = layers_of_type(net, "InnerProduct") or layers_of_type(net, "Convolution")[-1:]
    top = net.top_names[connected[0]][0]
    show_values(net.blobs[top].data[0].ravel(), top, output / "fully-connected.png")
    probabilities = net.blobs[net.outputs[0]].data[0].ravel()
    show_probabilities(probabilities, labels, output / "probabilities.png")


def layers_of_type(net: caffe.Net, layer_type: str) -> list[str]:
    """The names of all layers of a type, in the net's order."""
    return [name for name, layer in net.layer_dict.items() if layer.type == layer_type]


def shape_of(array: np.ndarray) -> str:
    """A shape to be read by people."""
    return " x ".join(str(extent) for extent in array.shape)


def tiled(pictures: np.ndarray) -> np.ndarray:
    """Arrange n pictures, (n, height, width, 3) from 0 to 1, in a square with white gaps."""
    # A gap is one pixel wide, so that pictures of a few pixels are enlarged first.
    enlarge = -(-24 // pictures.shape[1])
    pictures = pictures.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    side = int(np.ceil(np.sqrt(len(pictures))))
    padding = ((0, side**2 - len(pictures)), (0, 1), (0, 1), (0, 0))
    pictures = np.pad(pictures, padding, constant_values=1)
    height, width = pictures.shape[1:3]
    grid = pictures.reshape(side, side, height, width, 3).swapaxes(1, 2)
    return grid.reshape(side * height, side * width, 3)[:-1, :-1]


def show_tiles(data: np.ndarray, title: str, path: Path) -> None:
    """Draw pictures, (n, height, width) or (n, height, width, 3), on one scale for them all."""
    figure, axes = plt.subplots(figsize=(8, 8.2))
    scale = matplotlib.colors.Normalize(data.min(), data.max())
    if data.ndim == 3:
        colors = matplotlib.cm.ScalarMappable(scale, "viridis")
        figure.colorbar(colors, ax=axes, shrink=0.5, pad=0.02)
        axes.imshow(tiled(colors.cmap(scale(data))[..., :3]))
    else:
        axes.imshow(tiled(np.asarray(scale(data))))
    axes.set_title(title)
    axes.axis("off")
    save(figure, path)


def show_picture(image: np.ndarray, path: Path) -> None:
    """Draw the picture itself."""
    figure, axes = plt.subplots()
    axes.imshow(image)
    axes.set_title("The picture")
    axes.axis("off")
    save(figure, path)


def show_values(values: np.ndarray, name: str, path: Path) -> None:
    """Draw the values of a fully connected layer, and how those above zero are spread."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 7))
    above.plot(values, linewidth=0.7)
    above.set(title=f"Values of {name}", xlabel="unit", ylabel="value")
    above.set_xlim(0, len(values) - 1)
    below.hist(values[values > 0], bins=100)
    below.set(title="Those above zero", xlabel="value", ylabel="number of units")
    save(figure, path)


def show_probabilities(probabilities: np.ndarray, labels: list[str], path: Path) -> None:
    """Draw the probability of every class, and name the most probable one."""
    figure, axes = plt.subplots(figsize=(12, 3.5))
    axes.plot(probabilities)
    axes.set(title="Probabilities", xlabel="class", ylabel="probability")
    axes.set_xlim(0, len(probabilities) - 1)
    axes.set_ylim(bottom=0)
    best = probabilities.argmax()
    on_the_left = best < len(probabilities) / 2
    axes.annotate(
        labels[best],
        (best, probabilities[best]),
        xytext=(8 if on_the_left else -8, -4),
        textcoords="offset points",
        horizontalalignment="left" if on_the_left else "right",
        verticalalignment="top",
    )
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure to its file."""
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(path)


# 5. Now a picture of your own.


def classify_another(
    net: caffe.Net, transformer: caffe.io.Transformer, labels: list[str], url_or_path: str
) -> None:
    """Classify a picture from the web or the disk."""
    heading(f"Classifying {url_or_path}")
    on_the_web = url_or_path.startswith(("http://", "https://"))
    content = caffe.zoo.fetch_url(url_or_path) if on_the_web else url_or_path
    image = caffe.io.load_image(content)
    net.blobs["data"].data[...] = transformer.preprocess("data", image)
    output = net.forward()
    print_top_five(output[net.outputs[0]][0].ravel(), labels)


if __name__ == "__main__":
    main()
