"""The models that a server offers, and the modes in which they run."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import devices as gpus
from .. import mode
from ..errors import CaffeError, CaffeWarning
from .loaded import AnyLoaded, Loaded, LoadedDetector, LoadedSegmenter

if TYPE_CHECKING:
    from ..zoo.record import Record

DEVICES = ("cpu", "gpu")


@dataclass(frozen=True)
class Mode:
    """Where and in what a net computes."""

    device: str = "cpu"
    precision: str = "float32"
    gpu: int = 0

    def enter(self) -> None:
        """Set the calling thread's modes; raises CaffeError where they are not possible."""
        # OpenVINO prepares each size of batch anew, and somebody would wait for that.
        mode.set_engine("torch")
        if self.device == "gpu":
            mode.set_gpu(self.gpu)
        else:
            mode.set_mode_cpu()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CaffeWarning)
            mode.set_precision(self.precision)


@dataclass(frozen=True)
class Offer:
    """A model that can be chosen.

    Attributes
    ----------
    name, title : str
        What requests and what people call it.
    load : callable
        Brings it into memory.
    about : dict
        What else is known: licence, citation, page.
    """

    name: str
    title: str
    load: Callable[[], AnyLoaded]
    about: Mapping[str, str] = field(default_factory=dict)


def is_offered(record: Record) -> bool:
    """Whether a model of the zoo classifies, finds objects, or tells what is where."""
    from ..zoo.forks import DETECTION, SEGMENTATION

    finds = record.task in (DETECTION, SEGMENTATION)
    return record.is_model and (record.recipe is not None or finds)


def from_zoo(name: str) -> Offer:
    """Offer a model of the zoo.

    Raises
    ------
    CaffeError
        There is no such model, or it neither classifies nor finds objects.
    """
    from .. import zoo
    from ..zoo.forks import DETECTION, SEGMENTATION

    record = zoo.record(name)
    if not is_offered(record):
        raise CaffeError(
            f"{name} neither classifies nor finds or outlines objects; `caffe zoo` lists what does"
        )

    def load() -> AnyLoaded:
        if record.task == DETECTION:
            return LoadedDetector(zoo.load_detector(name))
        if record.task == SEGMENTATION:
            return LoadedSegmenter(zoo.load_segmenter(name))
        model = zoo.load(name)
        return Loaded(model, model.labels)

    about = {"licence": record.licence, "citation": record.citation, "page": record.page}
    return Offer(name, record.title, load, about)


def devices(gpu: int = 0) -> list[dict[str, Any]]:
    """The CPU and the GPU, with the precisions of each, and why what cannot be chosen cannot.

    Returns
    -------
    list of dict
        Of each: name, title, reason (None where it is usable), precisions; of each of these name,
        reason, and note.
    """
    facts = gpus.device_facts()
    reason = gpus.why_unusable(facts, gpu)
    if reason is not None:
        reason = reason.replace(gpus.CPU_ADVICE, "").strip()
    title = "GPU" if reason else f"GPU: {facts.cards[gpu].name}"
    return [
        {"name": "cpu", "title": "CPU", "reason": None, "precisions": _precisions("cpu", gpu)},
        {
            "name": "gpu",
            "title": title,
            "reason": reason,
            "precisions": [] if reason else _precisions("gpu", gpu),
        },
    ]


def _precisions(device: str, gpu: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def look() -> None:
        Mode(device, "float32", gpu).enter()
        for precision in mode.PRECISIONS:
            reason = note = None
            try:
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    mode.set_precision(precision)
                note = str(said[0].message) if said else None
            except CaffeError as error:
                reason = str(error)
            if precision == "tf32" and device == "cpu":
                reason = "tf32 is a mode of NVIDIA GPUs"
            found.append({"name": precision, "reason": reason, "note": note})

    # Modes are a thread's own: asking must not leave one behind.
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found
