"""Layers that read data, one file for each kind of source."""
