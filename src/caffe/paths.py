"""What names a file."""

from __future__ import annotations

import os

PathLike = str | os.PathLike[str]
"""A path as text, or an object that stands for one."""
