"""The cache directory, and which files in it have been verified."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ..atomic import atomic_write
from ..cache_folder import cache_folder
from ..errors import FetchError

VERIFIED = "verified.json"
CHUNK = 1 << 20


def cache_dir() -> Path:
    """The folder where models are kept: ``$RECAFFE_HOME``, or the user's cache folder.

    Raises
    ------
    FetchError
        It cannot be made.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(
            f"{folder}: cannot make the cache directory ({error.strerror});"
            " set RECAFFE_HOME to a folder that can be written"
        ) from error
    return folder


def checksum(path: Path, algorithm: str) -> str:
    """The hexadecimal checksum of a file, remembered as long as its size and time stay.

    CaffeNet has 244 MB: hashing them at each load would take longer than loading them.

    Parameters
    ----------
    path : Path
        The file.
    algorithm : str
        A name that hashlib knows, such as ``"sha1"``.
    """
    stat = path.stat()
    key = f"{algorithm}:{path.resolve()}"
    state = [stat.st_size, stat.st_mtime_ns]
    known = _read_verified().get(key)
    if isinstance(known, list) and known[:2] == state and len(known) == 3:
        return str(known[2])
    digest = hashlib.new(algorithm)
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    remember(path, algorithm, digest.hexdigest(), state)
    return digest.hexdigest()


def remember(path: Path, algorithm: str, value: str, state: list[int] | None = None) -> None:
    """Note a file's checksum together with its size and time of change."""
    if state is None:
        stat = path.stat()
        state = [stat.st_size, stat.st_mtime_ns]
    entries = _read_verified()
    entries[f"{algorithm}:{path.resolve()}"] = [*state, value]
    try:
        with atomic_write(cache_dir() / VERIFIED, "w") as stream:
            json.dump(entries, stream, indent=1)
    except OSError:
        # The notes only save time: a cache on a read-only disk works without them.
        return


def _read_verified() -> dict[str, object]:
    # A note lost to another process that wrote at the same moment costs one more hashing.
    try:
        entries = json.loads((cache_dir() / VERIFIED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
