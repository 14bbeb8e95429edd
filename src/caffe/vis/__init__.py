"""Figures of what is in a net: filters, responses, values, and what a class's score comes from.

Each function returns a matplotlib figure that a notebook shows by itself and that
``figure.savefig("figure.png")`` writes; none opens a window. Given axes of your own they draw
into those. matplotlib comes with the extra ``vis``.

>>> model = caffe.zoo.load()
>>> predictions = model.classify(np.zeros((224, 224, 3)))
>>> caffe.vis.responses(model, "stem").savefig("responses.png")
>>> caffe.vis.grad_cam(model, None, 281).savefig("cat.png")
"""

from ..errors import require

require("matplotlib", "vis", "figures")

from .explanations import grad_cam, occlusion, saliency  # noqa: E402
from .tiles import Tiles, filters, responses, vis_square  # noqa: E402
from .training import rate_search, training_curves  # noqa: E402
from .values import probabilities, top, values  # noqa: E402

__all__ = [
    "Tiles",
    "filters",
    "grad_cam",
    "occlusion",
    "probabilities",
    "rate_search",
    "responses",
    "saliency",
    "top",
    "training_curves",
    "values",
    "vis_square",
]
