"""Fine-tune an ImageNet model to tell other things apart: all of it stays, the last layer learns.

    python examples/training/finetune.py                       # faces, and what is none
    python examples/training/finetune.py --pictures my_folder  # my_folder/cats, my_folder/dogs, ...

scikit-image brings 200 small pictures, cut out of photographs: 100 faces and 100 of other things. A
quarter is held back to test by. The model is the zoo's EfficientNet-Lite0: what its last layer is
called decides that it starts anew, and `lr_mult: 0` that nothing else moves.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pictures
from PIL import Image

import caffe
from caffe import layers as L
from caffe.zoo import nets

BATCH = 10
SIZE = 224


def write_faces(folder: Path) -> None:
    """Write scikit-image's faces and other things as files, a folder for each."""
    pixels = pictures.package("skimage.data").lfw_subset()
    for name, part in (("face", pixels[:100]), ("other", pixels[100:])):
        (folder / name).mkdir(parents=True)
        for number, picture in enumerate(part):
            grey = Image.fromarray(np.uint8(picture * 255))
            grey.save(folder / name / f"{number:03}.png")


def write_lists(source: Path, folder: Path) -> tuple[list[str], dict[str, int]]:
    """List the pictures of each class in files for ImageData layers: every fourth is held back."""
    classes = sorted(entry.name for entry in source.iterdir() if entry.is_dir())
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for label, name in enumerate(classes):
        for number, path in enumerate(sorted((source / name).iterdir())):
            part = "test" if number % 4 == 3 else "train"
            lines[part].append(f"{path.resolve()} {label}\n")
    np.random.default_rng(1).shuffle(lines["train"])
    for part, listed in lines.items():
        (folder / f"{part}.txt").write_text("".join(listed))
    return classes, {part: len(listed) for part, listed in lines.items()}


def describe(listed: Path, classes: int) -> caffe.proto.caffe_pb2.NetParameter:
    """Describe the zoo's net with another beginning, another end, and all else frozen."""
    n = caffe.NetSpec()
    n.data, n.label = L.ImageData(
        source=str(listed),
        batch_size=BATCH,
        new_height=SIZE,
        new_width=SIZE,
        transform_param={"mean_value": [127, 127, 127], "scale": 1 / 128},
        ntop=2,
    )
    net = n.to_proto()
    # The first layer is the old input, the last two the old answer.
    for layer in nets.efficientnet_lite0().layer[1:-2]:
        if layer.type == "BatchNorm":
            layer.batch_norm_param.use_global_stats = True
        del layer.param[:]
        for _ in range({"Convolution": 1, "Scale": 2, "BatchNorm": 3}.get(layer.type, 0)):
            layer.param.add(lr_mult=0, decay_mult=0)
        net.layer.append(layer)
    end = caffe.NetSpec()
    pool = net.layer[-1].top[0]
    end[pool] = L.Input(ntop=1)
    end.fc_mine = L.InnerProduct(
        end[pool], num_output=classes, weight_filler={"type": "gaussian", "std": 0.01}
    )
    end.label = L.Input(ntop=1)
    end.loss = L.SoftmaxWithLoss(end.fc_mine, end.label)
    end.accuracy = L.Accuracy(end.fc_mine, end.label)
    net.layer.extend(layer for layer in end.to_proto().layer if layer.type != "Input")
    return net


def make_solver(folder: Path, classes: int, steps: int) -> caffe.Solver:
    """Make the solver, its nets starting from the zoo's weights."""
    for part in ("train", "test"):
        (folder / f"{part}.prototxt").write_text(str(describe(folder / f"{part}.txt", classes)))
    (folder / "solver.prototxt").write_text(
        f"""
        train_net: "{folder}/train.prototxt"
        test_net: "{folder}/test.prototxt" test_iter: 1 test_interval: 100000
        weights: "{caffe.zoo.fetch("efficientnet_lite0", quiet=True).weights}"
        type: "SGD" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed"
        max_iter: {steps} random_seed: 1 snapshot_prefix: "{folder}/mine"
        """
    )
    solver = caffe.get_solver(str(folder / "solver.prototxt"))
    # ImageData gives blue, green, red; the zoo's model learned from red, green, blue.
    stem = solver.net.params["stem"][0]
    stem.data[...] = stem.data[:, ::-1].copy()
    return solver


def labels_of(listed: Path) -> np.ndarray:
    """Return the labels in a list of pictures."""
    return np.array([int(line.rsplit(" ", 1)[1]) for line in listed.read_text().splitlines()])


def test(net: caffe.Net, count: int) -> np.ndarray:
    """Return the class that the net sees in each of `count` pictures, in the list's order."""
    seen: list[int] = []
    while len(seen) < count:
        net.forward()
        seen.extend(net.blobs["fc_mine"].data.argmax(axis=1))
    return np.array(seen[:count])


def draw(path: str, listed: Path, seen: np.ndarray, classes: list[str]) -> None:
    """Draw the pictures that were held back; a red name is a wrong one."""
    pictures.package("matplotlib").use("Agg")
    pyplot = pictures.package("matplotlib.pyplot")
    lines = listed.read_text().splitlines()
    labels = labels_of(listed)
    wrong = np.flatnonzero(labels != seen)
    figure, axes = pyplot.subplots(3, 8, figsize=(10, 4.5), layout="constrained")
    # The wrong ones first, then some from all over the list.
    right = np.flatnonzero(labels == seen)
    shown = [*wrong, *right[:: max(1, len(right) // max(1, axes.size - len(wrong)))]]
    for place in axes.flat:
        place.axis("off")
    for place, number in zip(axes.flat, shown, strict=False):
        place.imshow(caffe.io.load_image(lines[number].rsplit(" ", 1)[0]))
        colour = "black" if labels[number] == seen[number] else "red"
        place.set_title(classes[seen[number]], color=colour)
    figure.savefig(path, dpi=80)
    print(f"drawn in {path}")


def main() -> None:
    """Fine-tune, say how well it does before and after, draw some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="a folder that has a folder for each class")
    parser.add_argument("--steps", type=int, default=45)
    parser.add_argument("--output", default="finetune.png")
    parser.add_argument("--weights", help="keep the weights here (.caffemodel)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.pictures is None:
            write_faces(folder / "pictures")
        source = options.pictures or folder / "pictures"
        classes, counts = write_lists(source, folder)
        print(f"{', '.join(classes)}: {counts['train']} to learn from, {counts['test']} to test by")
        solver = make_solver(folder, len(classes), options.steps)
        labels = labels_of(folder / "test.txt")
        frozen = solver.net.params["head"][0].data.copy()
        seen = test(solver.test_nets[0], len(labels))
        print(f"before: {np.mean(seen == labels):.2%} right")
        for _ in range(3):
            solver.step(max(1, options.steps // 3))
            loss = float(solver.net.blobs["loss"].data)
            print(f"step {solver.iter:3}  loss {loss:.4f}", flush=True)
        # The data go round: the test begins where the one before ended.
        net = caffe.Net(str(folder / "test.prototxt"), caffe.TEST)
        net.share_with(solver.net)
        seen = test(net, len(labels))
        print(f"after:  {np.mean(seen == labels):.2%} right")
        assert (solver.net.params["head"][0].data == frozen).all()
        draw(options.output, folder / "test.txt", seen, classes)
        if options.weights:
            solver.net.save(options.weights)


if __name__ == "__main__":
    main()
