"""How to install more of what this installation was made from.

The hint is to be true wherever it is printed, so it names the place that this copy came from: a
clone, a file or an address (as installers note it, PEP 610), or a package index.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTION = "recaffe"
PYPROJECT = "pyproject.toml"


def install_command(extra: str) -> str:
    """Return the command line that adds an extra to this installation.

    Parameters
    ----------
    extra : str
        The extra's name; several with commas between.
    """
    return f"{_pip()} install {_requirement(extra)}"


def _pip() -> str:
    """The pip of this Python, which need not be the one that a shell finds first."""
    found = shutil.which("pip")
    if found and Path(found).parent == Path(sys.executable).parent:
        return "pip"
    return f"{shlex.quote(sys.executable)} -m pip"


def _requirement(extra: str) -> str:
    clone = Path(__file__).parents[2]
    if (clone / PYPROJECT).is_file():
        return f"-e {_folder(clone, extra)}"
    noted = _noted()
    url = str(noted.get("url", ""))
    if url.startswith("file:"):
        place = _path_of(url)
        editable = "-e " if noted.get("dir_info", {}).get("editable") else ""
        return editable + _folder(place, extra)
    version = noted.get("vcs_info", {})
    if version:
        url = f"{version['vcs']}+{url}@{version['commit_id']}"
    return shlex.quote(f"{DISTRIBUTION}[{extra}]" + (f" @ {url}" if url else ""))


def _folder(place: Path, extra: str) -> str:
    """A folder, or a file in one, with an extra; short where the person stands in it."""
    try:
        here = place == Path.cwd()
    except OSError:  # Somebody removed the current folder.
        here = False
    return shlex.quote(f"{'.' if here else place}[{extra}]")


def _path_of(url: str) -> Path:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return Path(url2pathname(urlsplit(url).path))


def _noted() -> dict[str, Any]:
    """What the installer noted of the place that this came from; nothing for a package index."""
    try:
        text = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        noted = json.loads(text or "{}")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
