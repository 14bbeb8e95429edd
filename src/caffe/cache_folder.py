"""Where the user's cache folder is."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return ``$RECAFFE_HOME``, or the user's cache folder; it need not be there."""
    import platformdirs

    home = os.environ.get("RECAFFE_HOME")
    # What is no user's home stays as it is, as in a shell.
    return Path(os.path.expanduser(home)) if home else Path(platformdirs.user_cache_dir("recaffe"))
