"""The Net of pycaffe."""

from .net import Net, checked_net

__all__ = ["Net", "checked_net"]
