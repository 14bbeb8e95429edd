"""Caffe's file formats: nets and solvers as text or binary, weights, and their upgrades.

Nothing is imported here, so that ``from caffe.proto import caffe_pb2`` costs only that module.

- ``caffe_pb2``: the messages, generated from ``caffe.proto``.
- ``text``: prototxt read and written, with errors that say where.
- ``files``: nets and solvers read from text or binary and upgraded.
- ``upgrade``: V0, V1 and other old forms to today's.
- ``weights``: ``.caffemodel``, ``.caffemodel.h5`` and ``.binaryproto`` files.
"""
