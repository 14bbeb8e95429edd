"""The classifier: a net with the preprocessing of its pictures around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import homes, mode
from .errors import CaffeError, NetError, ShapeError
from .io.given import Picture, is_one_picture, read_given, several
from .io.read_ahead import read_ahead
from .io.recipe import STRETCH, PictureRecipe, said_recipe
from .io.resizing import cut_crops
from .io.transformer import Transformer, recipe_of, transformer_of
from .net.checks import known_blobs
from .net.net import Net
from .paths import PathLike, path_text
from .preparing import Preparer
from .proto import caffe_pb2
from .uploads import Items, Sender, put_items

CROPS = 10
"""Of a picture that is oversampled."""

BATCH = 16
"""How many pictures go through at once where nobody says otherwise."""


def __getattr__(name: str) -> Any:
    return homes.imported(__name__, name, ("caffe",))


class Classifier(Net):
    """A net that classifies pictures, from the picture's array to the probabilities.

    Parameters
    ----------
    model_file : path
        The net's prototxt; its first input takes the pictures.
    pretrained_file : path
        The weights.
    image_dims : (int, int), optional
        Height and width that pictures are resized to before crops of the input's size are cut
        out. The input's own by default.
    mean : array, optional
        Mean to subtract, see `caffe.io.Transformer.set_mean`.
    input_scale, raw_scale : float, optional
        Factors after and before the mean is subtracted. Pictures hold 0 to 1, so nets that were
        trained with 0 to 255 take ``raw_scale=255``.
    channel_swap : sequence of int, optional
        ``(2, 1, 0)`` for nets that take BGR.

    Attributes
    ----------
    transformer : caffe.io.Transformer
        The preprocessing of crops.
    image_dims, crop_dims : numpy.ndarray
        Height and width of the resized picture and of the crops.
    recipe : caffe.io.recipe.PictureRecipe
        How pictures go in, and why; another may be set.

    Raises
    ------
    NetError
        The net has no input.
    ShapeError
        The input takes no pictures, or a setting does not fit it.
    """

    def __init__(
        self,
        model_file: PathLike,
        pretrained_file: PathLike,
        image_dims: Sequence[int] | None = None,
        mean: ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, pretrained_file, caffe_pb2.TEST)
        if not self.inputs:
            raise NetError(f"{path_text(model_file)}: the net has no input to put pictures into")
        self.recipe = said_recipe(mean, input_scale, raw_scale, channel_swap, image_dims)

    @property
    def recipe(self) -> PictureRecipe:
        """How pictures go in, as `transformer` and `image_dims` say now.

        Setting another sets both anew.

        Raises
        ------
        ShapeError
            The input takes no pictures, or a value of the recipe that is set does not fit it.
        CaffeError
            The recipe that is set does not stretch pictures, as classifiers do; or `transformer`
            orders axes as no recipe does.
        """
        now = recipe_of(self.transformer, self.inputs[0], self.image_dims)
        return now.explained_by(self._settled, otherwise="set on the transformer")

    @recipe.setter
    def recipe(self, recipe: PictureRecipe) -> None:
        if recipe.fit != STRETCH:
            raise CaffeError(f"a classifier stretches pictures to their size, not: {recipe}")
        in_ = self.inputs[0]
        shape = tuple(self.blobs[in_].shape)
        self.transformer = transformer_of(recipe, in_, shape)
        self.crop_dims = np.array(shape[2:])
        dims = recipe.image_dims
        self.image_dims = self.crop_dims if dims is None else np.array(dims)
        # As the transformer has it: a mean picture has the crop's size there.
        settled = recipe_of(self.transformer, in_, self.image_dims)
        self._settled = replace(settled, reasons=recipe.for_input(shape).reasons)

    def make_room(self, size: int) -> None:
        """Let so many crops go through the net at once, unless its layers fix another number.

        Parameters
        ----------
        size : int
            The batch; the input keeps its own where the output would not follow.
        """
        blob = self.blobs[self.inputs[0]]
        own = list(blob.shape)
        if own[0] == size:
            return
        blob.reshape(size, *own[1:])
        try:
            self.reshape()
            fits = list(self.blobs[self.outputs[0]].shape)[:1] == [size]
        except CaffeError:
            fits = False
        if not fits:
            blob.reshape(*own)
            self.reshape()

    def predict(self, inputs: Iterable[NDArray[Any]], oversample: bool = True) -> NDArray[Any]:
        """Classify pictures.

        Threads prepare the next ones while the net runs, so a generator may hand over any number
        of pictures without their filling the memory.

        Each is resized to `image_dims`; then crops of the input's size are cut out, and only they
        are preprocessed, so a mean picture is subtracted at the crop's size, as in Caffe.

        Parameters
        ----------
        inputs : iterable of arrays
            Pictures, H x W x K each, as `caffe.io.load_image` gives them; sizes may differ.
        oversample : bool
            Average over ten crops (corners, centre, and their mirror images) if true; take the
            centre alone if false.

        Returns
        -------
        numpy.ndarray
            One row per picture. With `oversample` N x classes; without, the net's first output
            as it is.

        Raises
        ------
        ShapeError
            There are no pictures, one of them is not H x W x K with the input's K, or the
            crops are larger than `image_dims`.

        Examples
        --------
        >>> net = caffe.Classifier("deploy.prototxt", "net.caffemodel", raw_scale=255,
        ...                        channel_swap=(2, 1, 0))        # doctest: +SKIP
        >>> net.predict([caffe.io.load_image("cat.jpg")]).argmax()  # doctest: +SKIP
        281
        """

        def prepare(numbered: tuple[int, NDArray[Any]]) -> NDArray[np.float32]:
            number, image = numbered
            if np.ndim(image) != 3:
                raise ShapeError(
                    f"predict takes a list of H x W x K arrays (see caffe.io.load_image); "
                    f"item {number} has shape {np.shape(image)}"
                )
            return self.prepare(image, oversample)

        # Two batches: one that is ready when the net wants it, and one that is being made.
        ahead = 2 * -(-self.blobs[self.inputs[0]].shape[0] // (CROPS if oversample else 1))
        with closing(read_ahead(prepare, enumerate(inputs), ahead)) as prepared:
            return self.predict_prepared(prepared)

    def prepare(
        self, image: NDArray[Any], oversample: bool = True, white: float = 1
    ) -> NDArray[np.float32]:
        """Resize a picture, cut its crops out and preprocess them; threads may do so at once.

        Parameters
        ----------
        image : array
            H x W x K.
        oversample : bool
            Ten crops (corners, centre, and their mirror images) if true; the centre alone if
            false.
        white : float
            What the picture's numbers are to be divided by: 255 for bytes, where the net is set
            up for the 0 to 1 of `caffe.io.load_image`.

        Returns
        -------
        numpy.ndarray
            Crops x the shape of the input's items.

        Raises
        ------
        ShapeError
            The picture is not H x W x K with the input's K, or the crops are larger than
            `image_dims`.
        """
        image = np.asarray(image)
        if image.ndim != 3 or image.size == 0:
            raise ShapeError(f"a picture is an H x W x K array, not one of shape {image.shape}")
        in_ = self.inputs[0]
        crops = cut_crops(image, self.image_dims, self.crop_dims, oversample, white)
        prepared = np.empty((len(crops), *self.transformer.inputs[in_][1:]), dtype=np.float32)
        for crop, slot in zip(crops, prepared, strict=True):
            self.transformer.preprocess(in_, crop.transpose(1, 2, 0), out=slot)
        return prepared

    def preparer(self, oversample: bool = True) -> Callable[[NDArray[Any], float], Items]:
        """Return what prepares pictures for this thread's nets; other threads may call it at once.

        Where this thread computes on a GPU, bytes are sent there as they are, and prepared there.

        Parameters
        ----------
        oversample : bool
            See `prepare`.

        Returns
        -------
        callable
            Given a picture and its white, see `prepare`, returns what `run_prepared` takes.
        """
        store = mode.current_store()
        # Whoever writes a class of their own for this is asked.
        is_own = type(self.transformer) is Transformer and type(self).prepare is Classifier.prepare
        if not is_own or tuple(self.crop_dims) != self.recipe.crop:
            return lambda image, white: self.prepare(image, oversample, white)
        if store is None:
            return self._maker(oversample)
        sender = Sender(self.recipe, store)

        def prepare(image: NDArray[Any], white: float) -> Items:
            if sender.takes(image):
                return sender.items(image, oversample, white)
            return self.prepare(image, oversample, white)

        return prepare

    def _maker(self, oversample: bool) -> Callable[[NDArray[Any], float], Items]:
        """What `preparer` returns where this thread computes on the CPU."""
        preparer = None if oversample else Preparer(self.recipe)

        def prepare(image: NDArray[Any], white: float) -> Items:
            taken = None if preparer is None else preparer.take(image, white)
            return self.prepare(image, oversample, white) if taken is None else taken.kept()

        return prepare

    def predict_prepared(self, pictures: Iterable[Items]) -> NDArray[Any]:
        """Classify pictures that went through `prepare`, in batches of the input's size.

        Only one batch of pictures is held at a time.

        Parameters
        ----------
        pictures : iterable of arrays
            Crops x the shape of the input's items; all with as many crops.

        Returns
        -------
        numpy.ndarray
            As `predict` does: N x classes, averaged over a picture's crops if there are several.

        Raises
        ------
        ShapeError
            There are no pictures.
        """
        rows = list(self.run_prepared(pictures))
        if not rows:
            raise ShapeError("predict was given no pictures")
        return np.concatenate(rows)

    def run_prepared(
        self, pictures: Iterable[Items], blob: str | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield what a blob holds for pictures that went through `prepare`, batch by batch.

        Parameters
        ----------
        pictures : iterable of arrays
            As `predict_prepared` takes them.
        blob : str, optional
            Its name; the net's first output if nothing is said.

        Yields
        ------
        numpy.ndarray
            One row for each of some pictures, in their order: the blob's own shape but for its
            first axis; averaged over a picture's crops, and flat, if there are several.

        Raises
        ------
        CaffeError
            The net has no such blob.
        ShapeError
            The blob has no row for each crop.
        """
        (name,) = known_blobs([blob or self.outputs[0]], self.blobs)
        pictures = iter(pictures)
        first = next(pictures, None)
        if first is None:
            return
        count = len(first)
        crops = chain.from_iterable(chain([first], pictures))
        data = self.blobs[self.inputs[0]]
        rows: list[NDArray[np.float32]] = []
        while batch := list(islice(crops, data.shape[0])):
            put_items(data, batch)
            found = self.forward(blobs=[name])[name]
            if found.ndim == 0 or len(found) != data.shape[0]:
                raise ShapeError(
                    f"the blob '{name}' of shape {found.shape} has no row for each of "
                    f"{data.shape[0]} pictures"
                )
            rows.extend(found[: len(batch)].copy())
            whole = len(rows) // count
            if whole:
                done = np.asarray(rows[: whole * count])
                del rows[: whole * count]
                yield done if count == 1 else done.reshape(whole, count, -1).mean(axis=1)

    def run(
        self,
        pictures: Iterable[Picture],
        blob: str | None = None,
        oversample: bool = False,
        batch: int = BATCH,
    ) -> Iterator[NDArray[np.float32]]:
        """Yield what a blob holds for pictures, batch by batch.

        Threads read and prepare the next pictures while the net runs. No more than three batches
        of them are held at a time, however many there are.

        Parameters
        ----------
        pictures : iterable of Picture
            Paths, addresses, bytes, `PIL.Image.Image`s or arrays, see `caffe.io.given.Picture`.
        blob : str, optional
            Its name; the net's first output if nothing is said.
        oversample : bool
            Average over ten crops, see `predict`.
        batch : int
            How many pictures go through at once; fewer where there are not so many.

        Yields
        ------
        numpy.ndarray
            See `run_prepared`.

        Raises
        ------
        ImageError, FetchError
            A picture cannot be read.
        CaffeError
            The net has no such blob.
        """
        if batch < 1:
            raise CaffeError(f"a batch must hold at least one picture, not {batch}")
        known_blobs([blob or self.outputs[0]], self.blobs)
        color, prepared_for_net = self.recipe.color, self.preparer(oversample)

        def prepare(picture: Picture) -> Items:
            return prepared_for_net(*read_given(picture, color))

        pictures = iter(pictures)
        first = list(islice(pictures, batch))
        if first:
            self.make_room(len(first) * (CROPS if oversample else 1))
        with closing(read_ahead(prepare, chain(first, pictures), 2 * batch)) as prepared:
            yield from self.run_prepared(prepared, blob)

    def feature_blob(self) -> str:
        """Return the blob that the last layer with weights is given: what the classes are told by.

        Raises
        ------
        NetError
            No layer has weights.
        """
        for layer in reversed(self.params):
            return str(self.bottom_names[layer][0])
        raise NetError("no layer of the net has weights; say which blob is wanted")

    def features(
        self,
        pictures: Picture | Iterable[Picture],
        blob: str | None = None,
        batch: int = BATCH,
    ) -> NDArray[np.float32]:
        """Return what a blob holds for one or several pictures.

        Parameters
        ----------
        pictures : Picture or iterable of Picture
            Paths, addresses, bytes, `PIL.Image.Image`s or arrays, see `caffe.io.given.Picture`. A
            generator may hand over any number, as only a few batches are held at a time.
        blob : str, optional
            Its name; that of `feature_blob` if nothing is said. Of a blob that layers change in
            place it is what the last of them leaves.
        batch : int
            How many pictures go through at once.

        Returns
        -------
        numpy.ndarray
            float32. N rows for several pictures, in their order, each of the blob's shape for one
            picture without the axes of length 1 at its end: (N, 1280) for a blob of
            (N, 1280, 1, 1). Of one picture the row alone.

        Raises
        ------
        CaffeError
            The net has no such blob.
        ImageError, FetchError
            A picture cannot be read.
        ShapeError
            There are no pictures, or the blob has no row for each.

        See Also
        --------
        iterate_features : The same, batch by batch, for more than memory holds.

        Examples
        --------
        >>> model = caffe.zoo.load()
        >>> model.features([np.zeros((8, 9, 3)), np.ones((9, 8, 3))], blob="pool").shape
        (2, 1280)
        """
        rows = list(self.iterate_features(several(pictures), blob, batch))
        if not rows:
            raise ShapeError("features was given no pictures")
        return rows[0][0] if is_one_picture(pictures) else np.concatenate(rows)

    def iterate_features(
        self, pictures: Iterable[Picture], blob: str | None = None, batch: int = BATCH
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of `features`, as many at a time as go through the net."""
        for rows in self.run(pictures, blob or self.feature_blob(), batch=batch):
            yield without_last_ones(rows)


def without_last_ones(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows without the axes of length 1 at the end of their shape.

    Examples
    --------
    >>> without_last_ones(np.zeros((2, 1280, 1, 1), np.float32)).shape
    (2, 1280)
    """
    shape = rows.shape
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return rows.reshape(shape)
