"""Published models by name: their records, their files, and ready classifiers.

>>> from caffe import zoo
>>> zoo.names()[0]
'efficientnet_lite0'
>>> model = zoo.load()                                            # doctest: +SKIP
>>> model.classify("cat.jpg", top=1)                              # doctest: +SKIP
[('n02124075 Egyptian cat', 0.42)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import CaffeError
from ..guarded import guarded
from ..io.addresses import fetch_url
from .cache import cache_dir
from .files import Files, fetch
from .forks import DETECTION, SEGMENTATION
from .model_names import ClassifierName, DetectorName, SegmenterName
from .records import DEFAULT, DEFAULT_DETECTOR, Recipe, Record, names, record

if TYPE_CHECKING:
    from ..detect.object_detector import ObjectDetector
    from ..segmenter import Segmenter
    from .model import Model

__all__ = [
    "DEFAULT",
    "DEFAULT_DETECTOR",
    "ClassifierName",
    "DetectorName",
    "Files",
    "Recipe",
    "Record",
    "SegmenterName",
    "cache_dir",
    "fetch",
    "fetch_url",
    "load",
    "load_detector",
    "load_segmenter",
    "names",
    "record",
]


@guarded
def load(name: ClassifierName | str = DEFAULT, quiet: bool = True) -> Model:
    """Return a ready classifier: a ``caffe.Classifier`` that knows its labels and recipe.

    Parameters
    ----------
    name : str
        A name in the zoo, a model's title or a short form of it, see `record`. The default needs
        no network: its weights come from an installed package.
    quiet : bool
        Print nothing and show no progress bar if the model must be fetched first.

    Raises
    ------
    CaffeError
        The zoo has no such model, or it is an archive.
    FetchError
        The model could not be fetched.
    """
    entry = record(name)
    if not entry.is_model:
        raise CaffeError(
            f"{name} is no model but an archive ({entry.title}); get it with: caffe fetch {name}"
        )
    if entry.recipe is None:
        way = f"caffe.zoo.load_detector({name!r})"
        if entry.task == SEGMENTATION:
            way = f"caffe.zoo.load_segmenter({name!r})"
        elif entry.task != DETECTION:
            way = f"caffe.zoo.fetch({name!r}) and caffe.Net"
        raise CaffeError(f"{name} classifies no pictures but is for {entry.task}; use {way}")
    from .model import Model

    return Model(entry, fetch(entry.name, quiet))


@guarded
def load_detector(
    name: DetectorName | str = DEFAULT_DETECTOR, quiet: bool = True, **options: Any
) -> ObjectDetector:
    """Return a ready detector: a `caffe.detect.ObjectDetector` that knows its labels.

    Parameters
    ----------
    name : str
        A name in the zoo, of a model for detection. The default finds faces; with the extra
        'faces' it needs no network.
    quiet : bool
        Print nothing and show no progress bar if the model must be fetched first.
    **options
        Passed on to `ObjectDetector`; they go before what the zoo knows.

    Raises
    ------
    CaffeError
        The zoo has no such model, or it finds no objects.
    FetchError
        The model could not be fetched.
    """
    from ..detect.object_detector import ObjectDetector

    entry, settings = _prepared(name, DETECTION, "finds no objects", options)
    files = fetch(entry.name, quiet)
    assert files.net is not None
    return ObjectDetector(files.net, files.weights, **settings)


@guarded
def load_segmenter(name: SegmenterName | str, quiet: bool = True, **options: Any) -> Segmenter:
    """Return a ready net that says what is where: a `caffe.segmenter.Segmenter`.

    Parameters
    ----------
    name : str
        A name in the zoo, of a model for segmentation.
    quiet : bool
        Print nothing and show no progress bar if the model must be fetched first.
    **options
        Passed on to `Segmenter`; they go before what the zoo knows.

    Raises
    ------
    CaffeError
        The zoo has no such model, or it segments no pictures.
    FetchError
        The model could not be fetched.
    """
    from ..segmenter import Segmenter

    entry, settings = _prepared(name, SEGMENTATION, "segments no pictures", options)
    files = fetch(entry.name, quiet)
    assert files.net is not None
    return Segmenter(files.net, files.weights, **settings)


def _prepared(
    name: str, task: str, not_so: str, options: dict[str, Any]
) -> tuple[Record, dict[str, Any]]:
    """The record of a model for a task, and what it is made with: what the zoo knows, and is said.

    Raises
    ------
    CaffeError
        The zoo has no such model, or it is for something else; `not_so` says so.
    """
    entry = record(name)
    if entry.task != task:
        known = [n for n in names() if record(n).task == task]
        raise CaffeError(f"{name} {not_so} but is for {entry.task}; there are {', '.join(known)}")
    entered: dict[str, Any] = dict(entry.preparation or {})
    said = {key: value for key, value in options.items() if value is not None}
    reasons = {
        **dict.fromkeys(entered, f"the zoo's record of {entry.name}"),
        **dict.fromkeys(said, "as said"),
        **said.pop("reasons", {}),
    }
    labels = None if entry.labels is None else entry.labels()
    return entry, {"labels": labels, **entered, **said, "reasons": reasons}
