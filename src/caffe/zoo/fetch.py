"""Downloads: resumed, checked, and in place only when whole.

A download grows in ``NAME.part`` with a note ``NAME.part.json`` of what it is part of. It gets
its name when every byte is there and the checksum is right; whatever breaks it off before that
leaves at most the two ``.part`` files, from which the next run goes on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from filelock import FileLock
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..atomic import atomic_write
from ..errors import FetchError
from ..io.addresses import USER_AGENT, content_length, opened
from . import cache

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

    import requests

CHUNK = 1 << 18
READ_TIMEOUT = 60.0
FULL_DISK = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}

Report = Callable[[int, "int | None"], None]
"""Called with the bytes at hand and, where it is known, how many there will be."""


@dataclass(frozen=True)
class Expected:
    """What a file must be: its size in bytes and its checksum, each None where not published."""

    size: int | None = None
    algorithm: str = "sha1"
    checksum: str | None = None


class _Changed(Exception):
    """The bytes at hand are no beginning of what the server has: start over."""


def verify(path: Path, expected: Expected) -> None:
    """Raise FetchError unless the file at `path` is as expected."""
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        raise FetchError(f"{path} has {size} bytes instead of {expected.size}")
    if expected.checksum is not None:
        found = cache.checksum(path, expected.algorithm)
        if found != expected.checksum:
            raise FetchError(
                f"{path}: {expected.algorithm.upper()} is {found} instead of {expected.checksum}"
            )


def download(
    urls: Sequence[str],
    path: Path,
    expected: Expected | None = None,
    report: Report | None = None,
    timeout: float = READ_TIMEOUT,
) -> None:
    """Download a file to `path`, going on where an earlier run was broken off.

    Parameters
    ----------
    urls : sequence of str
        Where it is to be had; the next one is tried when one fails.
    path : Path
        Where it goes. A file that stands there already is replaced, at the very end.
    expected : Expected, optional
        Size and checksum.
    report : callable, optional
        Called after each chunk with (bytes at hand, bytes in all or None).
    timeout : float
        Seconds that the server may be silent.

    Raises
    ------
    FetchError
        No address gave the file; or what it gave has the wrong checksum, and is kept as
        ``NAME.rejected``; or the disk is full.
    """
    expected = expected or Expected()
    failures: list[str] = []
    for url in urls:
        try:
            _download_from(url, path, expected, report, timeout)
        except FetchError as error:
            failures.append(str(error))
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL_DISK:
                break
        else:
            return
    raise FetchError("; ".join(failures) or f"no address is known for {path.name}")


def _download_from(
    url: str, path: Path, expected: Expected, report: Report | None, timeout: float
) -> None:
    part = path.with_name(f"{path.name}.part")
    for resume in (True, False):
        try:
            digest, resumed = _complete_part(url, part, expected, report, timeout, resume)
            wrong = _difference(part, expected, digest)
            if wrong and resumed:
                raise _Changed(wrong)
        except _Changed as error:
            if not resume:
                raise FetchError(f"{url}: the server contradicts itself: {error}") from error
            continue
        break
    _note_path(part).unlink(missing_ok=True)
    if wrong:
        rejected = path.with_name(f"{path.name}.rejected")
        os.replace(part, rejected)
        raise FetchError(f"{url}: {wrong}; what came is kept as {rejected}")
    os.replace(part, path)
    if expected.checksum is not None:
        cache.remember(path, expected.algorithm, expected.checksum)


def _difference(part: Path, expected: Expected, digest: Digest) -> str | None:
    size, found = part.stat().st_size, digest.hexdigest()
    if expected.checksum not in (None, found):
        return f"{expected.algorithm.upper()} is {found} instead of {expected.checksum}"
    if expected.size not in (None, size):
        return f"{size} bytes came instead of {expected.size}"
    return None


@contextmanager
def locked(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Let one process at a time fetch `path`; the operating system frees a dead one's lock."""
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(blocking=False)
    except TimeoutError:
        report(f"another process is fetching {path.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def progress_bar(title: str) -> Iterator[Report | None]:
    """A bar with bytes, speed and time left on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _writing(part: Path, needed: int | None) -> Iterator[None]:
    """Turn what the disk refuses into a FetchError that says what to do."""
    try:
        if needed is not None and needed > shutil.disk_usage(part.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield
    except OSError as error:
        import requests

        if isinstance(error, requests.RequestException) or error.errno is None:
            raise
        reason = f"cannot be written ({error.strerror})"
        if error.errno in FULL_DISK:
            amount = "an unknown number of" if needed is None else needed
            free = shutil.disk_usage(part.parent).free
            reason = f"the disk is full: {amount} more bytes are needed, {free} are free"
        raise FetchError(f"{part}: {reason}; set RECAFFE_HOME to another folder") from error


def _complete_part(
    url: str, part: Path, expected: Expected, report: Report | None, timeout: float, resume: bool
) -> tuple[Digest, bool]:
    """Bring `part` to its full length; its digest, and whether an earlier run began it."""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    offset = _offset_to_resume(part, url, expected, headers) if resume else 0
    with opened(url, headers, timeout) as response:
        if response.status_code == 416 and offset:
            if _content_range(response)[1] != offset:
                raise _Changed("it refuses the range asked for")
            return _digest(part, expected.algorithm, offset), True
        if response.status_code == 206 and offset:
            start, total = _content_range(response)
            if start != offset:
                raise _Changed(f"byte {offset} was asked for and {start} sent")
        elif response.status_code == 200:
            offset, total = 0, content_length(response)
        else:
            raise FetchError(f"{url}: {response.status_code} {response.reason}")
        if "text/html" in response.headers.get("Content-Type", ""):
            raise FetchError(f"{url}: the server sent a web page instead of the file")
        size = expected.size if total is None else total
        with _writing(part, None if size is None else size - offset):
            digest = _digest(part, expected.algorithm, offset)
            with open(part, "r+b" if offset else "wb") as stream:
                stream.seek(offset)
                stream.truncate()
                # Only now: the note must never speak of bytes that are another file's.
                _note(part, url, response)
                done = _copy(response, stream, digest, offset, total, report)
                stream.flush()
                os.fsync(stream.fileno())
    if total is not None and done != total:
        raise FetchError(f"{url}: the connection broke after {done} of {total} bytes")
    return digest, offset > 0


def _copy(
    response: requests.Response,
    stream: IO[bytes],
    digest: Digest,
    done: int,
    total: int | None,
    report: Report | None,
) -> int:
    # Raw, not iter_content: a server that calls a .tar.gz "gzip-encoded" must not be believed.
    for chunk in response.raw.stream(CHUNK, decode_content=False):
        stream.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if report is not None:
            report(done, total)
    return done


def _offset_to_resume(part: Path, url: str, expected: Expected, headers: dict[str, str]) -> int:
    """How many bytes of `part` may be kept; adds the headers that ask for the rest."""
    try:
        note = json.loads(_note_path(part).read_text(encoding="utf-8"))
        offset = part.stat().st_size
    except (OSError, ValueError):
        return 0
    if not isinstance(note, dict) or offset == 0:
        return 0
    validator = note.get("validator") if note.get("url") == url else None
    # A checksum proves the whole, so that bytes from another mirror will do.
    if validator is None and expected.checksum is None:
        return 0
    headers["Range"] = f"bytes={offset}-"
    if validator is not None:
        headers["If-Range"] = validator
    return offset


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _note(part: Path, url: str, response: requests.Response) -> None:
    etag = response.headers.get("ETag")
    # A weak ETag promises equal meaning, not equal bytes.
    validator = (
        etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    )
    with atomic_write(_note_path(part), "w") as stream:
        json.dump({"url": url, "validator": validator}, stream)


def _digest(part: Path, algorithm: str, length: int) -> Digest:
    """The digest of the first `length` bytes of `part`, to be carried on."""
    digest = hashlib.new(algorithm)
    if length:
        with open(part, "rb") as stream:
            while length and (chunk := stream.read(min(CHUNK, length))):
                digest.update(chunk)
                length -= len(chunk)
    return digest


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and full length of a Content-Range, None for what it leaves open."""
    found = re.match(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if found is None:
        return None, None
    start, total = found.groups()
    return (None if start is None else int(start)), (None if total == "*" else int(total))
