"""Name what is in a photograph, with a model and a picture that need no download.

Run it with ``make demo``, or ``python examples/demo.py`` where scikit-image is installed.
"""

from __future__ import annotations

import time

import skimage.data

import caffe


def main() -> None:
    """Classify scikit-image's photograph of a cat with the zoo's default model."""
    picture = skimage.data.chelsea()
    height, width, _ = picture.shape
    print(f"The picture: scikit-image's cat Chelsea, {width} x {height} pixels.")

    start = time.perf_counter()
    model = caffe.zoo.load()
    loaded = time.perf_counter()
    predictions = model.classify(picture, top=5)
    done = time.perf_counter()
    print(f"The model:   {model.record.title}, 1000 classes of ImageNet.")
    print(f"Loaded in {loaded - start:.1f} s, classified in {done - loaded:.2f} s. It sees:\n")
    for label, probability in predictions:
        print(f"  {probability:.4f}  {label}")

    print(
        """
Now try it yourself:

  . .venv/bin/activate              puts the command caffe within reach
  caffe demo-picture coffee         writes coffee.jpg, to have something to try
  caffe classify coffee.jpg         or your own picture, a folder of them, an address on the web
  caffe serve --open                the same in the browser, and a look inside
  caffe zoo                         the other models, such as CaffeNet and GoogLeNet
  caffe --help                      all commands

Or in Python, as in pycaffe: examples/classification.py"""
    )


if __name__ == "__main__":
    main()
