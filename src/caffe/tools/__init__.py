"""The original's tools that people call by name: ``python -m caffe.tools.NAME``, or by name alone.

Each module is one tool, with its arguments as they were. What they do is done by the library.
"""
