"""Python: layers that people write themselves, found on ``sys.path``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ..errors import NetError
from ..memory.blob import Blob
from ..phases import TEST
from ..proto.caffe_pb2 import PythonParameter
from ..vectors import BlobVec, BoolVec
from . import layer as base

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import LayerParameter


_imports_modules: ContextVar[bool] = ContextVar("imports_modules", default=True)


@contextmanager
def modules_left_alone() -> Iterator[None]:
    """Import no module that a net names: who only looks at a stranger's net runs no code of theirs.

    Modules that the program has imported itself are used.
    """
    token = _imports_modules.set(False)
    try:
        yield
    finally:
        _imports_modules.reset(token)


BUILT_IN = {
    ("rpn.proposal_layer", "ProposalLayer"): "detection.proposal",
    ("rpn.anchor_target_layer", "AnchorTargetLayer"): "detection.rpn_targets",
    ("rpn.proposal_target_layer", "ProposalTargetLayer"): "detection.rpn_targets",
}
"""Published layers that nets name as Python modules, and the module here that has each. A module
of that name on ``sys.path`` goes first."""


class Layer:
    """What a layer of one's own derives from: ``caffe.Layer``.

    Blobs give their values as ``blob.data`` and their gradients as ``blob.diff``, numpy arrays
    that are to be written in place.

    Attributes
    ----------
    param_str : str
        ``python_param.param_str`` of the net's text.
    phase : int
        caffe.TRAIN or caffe.TEST.
    blobs : BlobVec
        The parameters; ``self.blobs.add_blob(2, 3)`` in `setup` adds one. They are saved,
        loaded, shared and trained like any layer's.
    type : str
        "Python".

    Examples
    --------
    A module ``scaling.py`` on ``sys.path``::

        import caffe

        class Scale(caffe.Layer):
            def setup(self, bottom, top):
                self.factor = float(self.param_str)

            def reshape(self, bottom, top):
                top[0].reshape(*bottom[0].shape)

            def forward(self, bottom, top):
                top[0].data[...] = self.factor * bottom[0].data

            def backward(self, top, propagate_down, bottom):
                bottom[0].diff[...] = self.factor * top[0].diff

    and in the net's text::

        layer { name: "s" type: "Python" bottom: "x" top: "y"
                python_param { module: "scaling" layer: "Scale" param_str: "3" } }
    """

    type = "Python"

    def __init__(self, layer_param: LayerParameter | None = None, *args: Any, **kwargs: Any):
        self.param_str = ""
        self.phase = TEST
        if layer_param is not None:
            self.param_str = layer_param.python_param.param_str
            self.phase = layer_param.phase

    @property
    def blobs(self) -> BlobVec:
        """The parameters; a list that is put here becomes a vector."""
        # Here and not in `__init__`, which a subclass may have written without its parent's.
        found: BlobVec = vars(self).setdefault("blobs", BlobVec())
        return found

    @blobs.setter
    def blobs(self, blobs: Sequence[Blob]) -> None:
        vars(self)["blobs"] = blobs if isinstance(blobs, BlobVec) else BlobVec(blobs)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read `param_str` and make parameters; called once."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give the tops their shapes; called before each forward."""
        raise NotImplementedError(f"{type(self).__name__} has no method reshape(bottom, top)")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Write the tops' data."""
        raise NotImplementedError(f"{type(self).__name__} has no method forward(bottom, top)")

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        """Write the diffs of those bottoms that `propagate_down` marks."""
        raise NotImplementedError(
            f"{type(self).__name__} has no method backward(top, propagate_down, bottom)"
        )


@base.register("Python")
class PythonLayer(base.Layer[PythonParameter]):
    """The class `layer` of the module `module`; what it raises passes through as it is.

    `share_in_parallel` does nothing, as nets do not run in parallel here.
    """

    message = "python_param"
    bottoms = (0, None)
    tops = (0, None)
    on_blobs = True
    is_pure = False
    passes_errors_on = True

    def __init__(self, layer_param: LayerParameter) -> None:
        super().__init__(layer_param)
        self._own = self._find_class()(layer_param)

    @property
    def face(self) -> Any:
        return self._own

    def _find_class(self) -> type[Layer]:
        where = f"layer '{self.name}' (Python)"
        module_name, class_name = self.param.module, self.param.layer
        if not module_name or not class_name:
            raise NetError(f"{where}: python_param needs module and layer", word=self.name)
        if not all(module_name.split(".")) or "\0" in module_name:
            raise NetError(f"{where}: {module_name!r} is no name of a module", word=self.name)
        is_built_in = (module_name, class_name) in BUILT_IN
        may_import = _imports_modules.get() or module_name in sys.modules
        if not may_import and not is_built_in:
            raise NetError(
                f"{where}: the module '{module_name}' is not run for a look at the net; "
                "--run-python, or the argument run_python, lets it",
                word=module_name,
            )
        try:
            if not may_import:
                return self._find_built_in()
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # A module that the person's own module misses is their traceback to see.
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            if is_built_in:
                return self._find_built_in()
            raise NetError(
                f"{where}: there is no module '{module_name}' on sys.path; add its folder to "
                "PYTHONPATH",
                word=module_name,
            ) from error
        found = getattr(module, class_name, None)
        if not (isinstance(found, type) and issubclass(found, Layer)):
            what = "has no class" if found is None else "has no subclass of caffe.Layer called"
            raise NetError(
                f"{where}: module '{module_name}' ({getattr(module, '__file__', 'built in')}) "
                f"{what} '{class_name}'",
                word=class_name,
            )
        return found

    def _find_built_in(self) -> type[Layer]:
        name = BUILT_IN[self.param.module, self.param.layer]
        module = importlib.import_module(f".{name}", __package__)
        found: type[Layer] = getattr(module, self.param.layer)
        return found

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        own = self._own
        own.param_str = self.param.param_str
        own.phase = self.phase
        own.setup(bottoms, tops)
        self.blobs = own.blobs

    def reshape_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        self._own.reshape(bottoms, tops)

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        self._own.forward(bottoms, tops)

    def backward_blobs(
        self, tops: list[Blob], propagate_down: list[bool], bottoms: list[Blob]
    ) -> None:
        self._own.backward(tops, BoolVec(propagate_down), bottoms)
