"""A model of the zoo as a ready classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classifier import Classifier
from ..errors import ShapeError
from ..io import load_image
from ..paths import PathLike
from ..predictions import Predictions, likeliest
from .files import Files
from .records import Record


class Model(Classifier):
    """A ``caffe.Classifier`` that knows its labels and how pictures go into it.

    Attributes
    ----------
    record : Record
        What the zoo knows of the model.
    labels : list of str
        The names of the classes, in order.
    """

    def __init__(self, record: Record, files: Files) -> None:
        recipe = record.recipe
        # An archive has none of these; zoo.load refuses archives before this.
        assert recipe is not None
        assert record.labels is not None
        assert files.net is not None
        assert files.weights is not None
        super().__init__(files.net, files.weights)
        self.recipe = recipe.because(f"the zoo's record of {record.name}")
        self.record = record
        self.labels = record.labels()

    def classify(
        self,
        image: PathLike | NDArray[Any],
        top: int = 5,
        oversample: bool = False,
    ) -> Predictions:
        """Return the most likely classes of a picture.

        Parameters
        ----------
        image : path, bytes or array
            A picture's path, its encoded content, or H x W x 3 in RGB order: floats in [0, 1] as
            ``caffe.io.load_image`` gives them, or bytes in 0..255.
        top : int
            How many classes.
        oversample : bool
            Average over ten crops instead of taking the centre.

        Returns
        -------
        Predictions
            A list of (str, float): label and probability, the likeliest first.

        Raises
        ------
        ImageError
            The picture cannot be read.
        ShapeError
            The array is no picture.
        """
        picture = image if isinstance(image, np.ndarray) else load_image(image)
        if picture.dtype == np.uint8:
            picture = picture / np.float32(255)
        crops = 10 if oversample else 1
        blob = self.blobs[self.inputs[0]]
        if blob.shape[0] != crops:
            blob.reshape(crops, *list(blob.shape)[1:])
        scores = self.predict([picture], oversample=oversample)[0].ravel()
        if len(scores) != len(self.labels):
            raise ShapeError(
                f"{self.record.name} has {len(scores)} outputs but {len(self.labels)} labels"
            )
        return Predictions((self.labels[i], float(scores[i])) for i in likeliest(scores, top))
