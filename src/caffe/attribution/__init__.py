"""Which places of a picture a class's score comes from.

Saliency, Grad-CAM, integrated gradients and occlusion. The maps are plain arrays; `caffe.vis` lays
them over the picture. They ask nothing of how the net was loaded: it needs no ``force_backward``,
and its blobs stay as they are.
"""

from .gradients import (
    grad_cam_map,
    integrated_gradients_map,
    last_spatial_blob,
    saliency_map,
)
from .kept import KeptForward
from .occlusion import occlusion_map

__all__ = [
    "KeptForward",
    "grad_cam_map",
    "integrated_gradients_map",
    "last_spatial_blob",
    "occlusion_map",
    "saliency_map",
]
