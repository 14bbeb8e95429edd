"""A model's files in the cache directory: there, or brought there."""

from __future__ import annotations

import os
import shutil
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..atomic import atomic_write
from ..errors import CaffeWarning, FetchError, WriteError
from ..guarded import guarded
from ..installation import install_command
from . import cache
from .fetch import Expected, download, locked, progress_bar, verify
from .record import Published, Record
from .records import record

CAFFENET = "bvlc_reference_caffenet"
CAFFENET_VARIABLE = "RECAFFE_CAFFENET"
MOST_UNPACKED = 4 << 30
"""Bytes of one file in an archive; a few may claim to be any number of zeros."""


@dataclass(frozen=True)
class Files:
    """Where the files of a model are.

    Attributes
    ----------
    net : Path or None
        The prototxt; None for an archive.
    weights : Path or None
        The .caffemodel; None for an archive.
    others : tuple of Path
        What came out of an archive.
    """

    net: Path | None
    weights: Path | None
    others: tuple[Path, ...] = ()


@guarded
def fetch(name: str, quiet: bool = False, unchecked: bool = False) -> Files:
    """Make sure that a model's files are in the cache directory.

    The weights are downloaded, unless they are there already and right: then
    ``CaffeNet found.`` is printed. Files put there by hand under the right name count.

    Parameters
    ----------
    name : str
        A name in the zoo.
    quiet : bool
        Print nothing and show no progress bar.
    unchecked : bool
        Bring files too for which no checksum is known. Without it they are refused.

    Returns
    -------
    Files
        Where the prototxt and the weights are.

    Raises
    ------
    CaffeError
        The zoo has no such model.
    FetchError
        The download failed, is not what it should be, or could not be checked.
    """
    entry = record(name)
    try:
        _unpack_package(entry)
        if not unchecked:
            _refuse_unchecked(entry)
        weights = _weights(entry, quiet)
        needed = (fetch(needed, quiet, unchecked) for needed in entry.needs)
        others = tuple(path for files in needed for path in files.others)
        unpacked = _unpacked(entry, weights) if entry.members else ()
        by_name = {path.name: path for path in unpacked}
        if entry.weights_member is not None:
            weights = by_name[entry.weights_member]
        if not entry.is_model:
            return Files(None, None, unpacked + others)
        if entry.text_member is not None:
            return Files(by_name[entry.text_member], weights, others)
        net = _text(entry, quiet) if entry.text is not None else _net(entry)
        return Files(net, weights, others)
    except OSError as error:
        raise FetchError(
            f"{entry.title} cannot be kept in {cache.cache_dir()}: {error};"
            " set RECAFFE_HOME to a folder that can be written"
        ) from error


def published_text(entry: Record) -> Path:
    """Say where the prototxt of a model that was published with one is kept."""
    folder = cache.cache_dir()
    if entry.text_member is not None:
        return folder / entry.name / entry.text_member
    return folder / entry.net_file_name


def packaged_files(entry: Record) -> tuple[Path, Path] | None:
    """Return the weights and the prototxt of a model that an installed package has, or None."""
    if entry.packaged is None:
        return None
    # Found, and not imported: what is wanted are its files.
    found = find_spec(entry.packaged.package)
    for folder in (found and found.submodule_search_locations) or ():
        files = Path(folder, entry.packaged.weights), Path(folder, entry.packaged.text)
        if all(file.is_file() for file in files):
            return files
    return None


def is_at_hand(name: str) -> bool:
    """Tell whether a model can be had without a download."""
    entry = record(name)
    if not entry.urls or (entry.name == CAFFENET and os.environ.get(CAFFENET_VARIABLE)):
        return True
    return (cache.cache_dir() / entry.file_name).is_file() or packaged_files(entry) is not None


def _unpack_package(entry: Record) -> None:
    """Copy a model's files out of an installed package, where they are not in the cache yet."""
    files = packaged_files(entry)
    if files is None or entry.packaged is None:
        return
    wanted = (_expected(entry), Expected(None, "sha256", entry.packaged.text_sha256))
    places = (cache.cache_dir() / entry.file_name, published_text(entry))
    for source, place, expected in zip(files, places, wanted, strict=True):
        if not place.is_file():
            verify(source, expected)
            with atomic_write(place) as stream, open(source, "rb") as content:
                shutil.copyfileobj(content, stream)


def _refuse_unchecked(entry: Record) -> None:
    """Refuse, before anything is fetched, what is neither there nor can be checked.

    Raises
    ------
    FetchError
        No checksum is known of a file that would have to be fetched.
    """
    published: dict[Path, Record | Published] = {}
    if entry.urls:
        published[cache.cache_dir() / entry.file_name] = entry
    if entry.text is not None:
        published[published_text(entry)] = entry.text
    for path, file in published.items():
        if _expected(file).checksum is None and not path.is_file():
            carried = entry.packaged
            easier = f"{install_command(carried.extra)} brings it; or, " if carried else ""
            raise FetchError(
                f"{entry.title}: no checksum is known of {path.name}, so that what {file.url}"
                f" sends could not be checked; {easier}if you trust it: caffe fetch {entry.name}"
                f" --unchecked, or put the file at {path}"
            )


def _weights(entry: Record, quiet: bool) -> Path:
    named = os.environ.get(CAFFENET_VARIABLE) if entry.name == CAFFENET else None
    if named:
        return _named_by_user(entry, Path(named).expanduser())
    path = cache.cache_dir() / entry.file_name
    if _found(entry, path, quiet):
        return path
    with locked(path, _say(quiet)):
        # Another process may have brought it while this one waited.
        if not _found(entry, path, quiet):
            _bring(entry, path, quiet)
    return path


def _bring(entry: Record, path: Path, quiet: bool) -> None:
    if not entry.urls:
        from .efficientnet import convert

        convert(path)
        return
    expected = _expected(entry)
    if quiet:
        download(entry.urls, path, expected)
    else:
        with progress_bar(entry.title) as report:
            download(entry.urls, path, expected, report)
    if expected.checksum is None:
        known = "only its size was checked" if expected.size else "it could not be checked"
        _say(quiet)(f"No checksum is published for {entry.title}; {known}.")
    _say(quiet)(f"{entry.title} fetched.")


def _found(entry: Record, path: Path, quiet: bool, expected: Expected | None = None) -> bool:
    if not path.is_file():
        return False
    try:
        verify(path, expected or _expected(entry))
    except FetchError as error:
        _say(quiet)(f"{error}; it is kept as {_set_aside(path).name}.")
        return False
    _say(quiet)(f"{entry.title} found.")
    return True


def _named_by_user(entry: Record, path: Path) -> Path:
    if not path.is_file():
        raise FetchError(f"{CAFFENET_VARIABLE} names {path}, which is not a file")
    try:
        verify(path, _expected(entry))
    except FetchError as error:
        # A person who names a file of their own means it: fine-tuned weights, for example.
        warnings.warn(f"these are not the published weights: {error}", CaffeWarning, stacklevel=4)
    return path


def _text(entry: Record, quiet: bool) -> Path:
    """Bring the published prototxt."""
    assert entry.text is not None
    path = published_text(entry)
    expected = _expected(entry.text)
    if not _found(entry, path, True, expected):
        with locked(path, _say(quiet)):
            if not _found(entry, path, True, expected):
                download((entry.text.url,), path, expected)
    return path


def _expected(entry: Record | Published) -> Expected:
    for algorithm in ("md5", "sha1", "sha256", "sha384"):
        checksum = getattr(entry, algorithm)
        if checksum is not None:
            return Expected(entry.size, algorithm, checksum)
    return Expected(entry.size, "sha1", None)


def _net(entry: Record) -> Path:
    """Write the prototxt, unless it stands there already as it should."""
    from ..proto.text import format_text

    assert entry.net is not None
    path = cache.cache_dir() / entry.net_file_name
    text = format_text(entry.net())
    try:
        if path.read_text(encoding="utf-8") == text:
            return path
    except (OSError, ValueError):
        pass
    with atomic_write(path, "w") as stream:
        stream.write(text)
    return path


def _unpacked(entry: Record, archive: Path) -> tuple[Path, ...]:
    folder = cache.cache_dir() / entry.name
    paths = tuple(folder / member for member in entry.members)
    if all(path.is_file() for path in paths):
        return paths
    try:
        folder.mkdir(exist_ok=True)
        with tarfile.open(archive) as tar:
            for item in tar:
                # Only by their last name: no path in an archive may lead out of the folder.
                name = Path(item.name).name
                source = tar.extractfile(item) if name in entry.members else None
                if source is not None and item.size > MOST_UNPACKED:
                    raise FetchError(f"{name} is of {item.size} bytes")
                if source is not None:
                    with atomic_write(folder / name) as stream:
                        shutil.copyfileobj(source, stream)
    except WriteError:
        # A full disk says nothing of the archive.
        raise
    # Of a damaged one tarfile and what unpacks it raise errors of every kind.
    except Exception as error:
        rejected = _set_aside(archive)
        raise FetchError(f"{archive} cannot be unpacked ({error}); kept as {rejected}") from error
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FetchError(f"{archive}: has no {', '.join(missing)}")
    return paths


def _set_aside(path: Path) -> Path:
    rejected = path.with_name(f"{path.name}.rejected")
    os.replace(path, rejected)
    return rejected


def _say(quiet: bool) -> Callable[[str], None]:
    return (lambda text: None) if quiet else print
