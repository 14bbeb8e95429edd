"""A model of the zoo as a ready classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import overload

from ..classifier import BATCH, Classifier
from ..errors import ShapeError
from ..io.given import Picture, is_one_picture, name_of, several
from ..predictions import ManyPredictions, Predictions
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

    # A path is an iterable of text, too.
    @overload
    def classify(  # type: ignore[overload-overlap]
        self, image: Picture, top: int = 5, oversample: bool = False, batch: int = BATCH
    ) -> Predictions: ...

    @overload
    def classify(
        self, image: Iterable[Picture], top: int = 5, oversample: bool = False, batch: int = BATCH
    ) -> ManyPredictions: ...

    def classify(
        self,
        image: Picture | Iterable[Picture],
        top: int = 5,
        oversample: bool = False,
        batch: int = BATCH,
    ) -> Predictions | ManyPredictions:
        """Return the most likely classes of a picture, or of each of several.

        Parameters
        ----------
        image : Picture or iterable of Picture
            A picture's path, its http(s) address, its encoded content (bytes), a file open for
            reading, a `PIL.Image.Image`, or an array: H x W x 3 in RGB order, floats in [0, 1] as
            ``caffe.io.load_image`` gives them, or bytes in 0..255. Or a list or a generator of
            such, or an array of N x H x W x 3.
        top : int
            How many classes.
        oversample : bool
            Average over ten crops instead of taking the centre.
        batch : int
            How many of several pictures go through at once.

        Returns
        -------
        Predictions or ManyPredictions
            Of one picture a list of `Prediction`, label and probability, the likeliest first; of
            several a list of such lists, in their order.

        Raises
        ------
        ImageError, FetchError
            A picture cannot be read.
        ShapeError
            An array is no picture.

        Examples
        --------
        >>> model = caffe.zoo.load()
        >>> best = model.classify(np.zeros((224, 224, 3)), top=1)[0]
        >>> best.label == model.labels[best.index], 0 < best.probability < 1
        (True, True)
        """
        names: list[str | None] = []

        def named() -> Iterator[Picture]:
            for picture in several(image):
                names.append(name_of(picture))
                yield picture

        found = ManyPredictions()
        for rows in self.run(named(), None, oversample, batch):
            for row in rows:
                scores = row.ravel()
                if len(scores) != len(self.labels):
                    raise ShapeError(
                        f"{self.record.name} has {len(scores)} outputs but "
                        f"{len(self.labels)} labels"
                    )
                name = names[len(found)]
                found.append(Predictions.of_scores(scores, self.labels, top, picture=name))
        return found[0] if is_one_picture(image) else found
