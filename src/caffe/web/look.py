"""A picture inside a model: one forward, which later looks go back to."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from .. import mode
from ..attribution.gradients import Map
from .kept import Kept, Key, Tops
from .loaded import AnyLoaded
from .models import Mode
from .pictures import PreparedPicture


@dataclass(frozen=True)
class Look:
    """A model, the picture that it looks at, and where its results are kept.

    Attributes
    ----------
    name : str
        The model's.
    loaded : Loaded or LoadedDetector
        The model; the looks are taken by the thread that owns it.
    prepared : PreparedPicture
        The picture.
    mode : Mode
        Where it is computed.
    store : Kept
        What the last pictures left.
    """

    name: str
    loaded: AnyLoaded
    prepared: PreparedPicture
    mode: Mode
    store: Kept

    def tops(self) -> Tops:
        """What each layer left in its first top, by the layers' names."""
        key = self._key()
        found = self.store.get(key)
        return self._run(key) if found is None else found

    def grad_cam(self, class_index: int, layer: str | None) -> tuple[str, Map]:
        """Where the picture shows a class, by a layer's maps or the last ones."""
        kept, key = self.loaded.kept, self._key()
        if self.loaded.shown == key:
            return kept.grad_cam(class_index, layer)
        if layer is None:
            mode.set_precision("float32")
            self.loaded.shown = None
            inputs = self.loaded.inputs(self.prepared.crops, self.prepared.frame)
            return kept.grad_cam_at_once(inputs, class_index)
        self._run(key)
        return kept.grad_cam(class_index, layer)

    def _key(self) -> Key:
        digest = blake2b(self.prepared.crops.tobytes(), digest_size=16).digest()
        return self.name, self.mode.device, digest

    def _run(self, key: Key) -> Tops:
        # Looking inside is always in float32: the values are to be the net's own.
        mode.set_precision("float32")
        self.loaded.shown = None
        tops = self.loaded.kept.run(self.loaded.inputs(self.prepared.crops, self.prepared.frame))
        self.loaded.shown = key
        self.store.put(key, tops)
        return tops
