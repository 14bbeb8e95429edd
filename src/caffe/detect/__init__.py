"""Objects in pictures: nets that end in boxes, from a picture to boxes in its coordinates.

>>> from caffe import detect
>>> detector = detect.ObjectDetector(                             # doctest: +SKIP
...     "deploy.prototxt", "weights.caffemodel", labels="voc"
... )
>>> for found in detector.detect("street.jpg"):                   # doctest: +SKIP
...     print(found.name, found.score, found.box)
"""

from .object_detector import Detection, ObjectDetector, as_picture, draw

__all__ = ["Detection", "ObjectDetector", "as_picture", "draw"]
