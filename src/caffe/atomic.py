"""Writing a file so that it is either whole or not there."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from .errors import CaffeError, WriteError
from .paths import PathLike, path_text

try:
    import fcntl
except ImportError:  # pragma: no cover
    # Without locks nobody can tell a dead writer's file from a live one's: none is cleared.
    fcntl = None  # type: ignore[assignment]

CHUNK = 1 << 20
# A short name of its own, so that the file itself may have as long a name as the system allows.
_HIDDEN = re.compile(r"\.recaffe-[0-9a-f]{16}\.part")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_cleared: set[str] = set()


@contextmanager
def atomic_write(path: PathLike, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file under way that takes its name only when all went well.

    An exception or Ctrl-C inside the block leaves whatever stood at `path` untouched, and so does
    the end of the process: what is under way has no name where the system knows files without
    one (Linux), else a hidden one (``.recaffe-*.part``), which the next process that writes into
    that folder takes away.

    A file that stood there keeps its mode, its owner and its other names; symbolic links are
    followed. Where a new file cannot have all of these, and where the folder takes none, the old
    one is written over once the new content is complete. Devices and pipes are written into.

    Parameters
    ----------
    path : path-like
        The file to write.
    mode : {"wb", "w"}
        Binary, or UTF-8 text.

    Raises
    ------
    WriteError
        The operating system refuses; the text names `path`, not the file under way.
    """
    try:
        with _draft_of(path_text(path), mode) as stream:
            yield stream
    except OSError as error:
        if isinstance(error, CaffeError) or error.errno is None:
            raise
        raise WriteError(path, error) from error


def create_file(path: PathLike, content: bytes) -> bool:
    """Write a file that is not there yet, whole or not at all.

    Of several who write the same name at once one does, and the others are told so. A system that
    knows no second names for a file (FAT) cannot decide that; there the last one's stays.

    Parameters
    ----------
    path : path-like
        The file.
    content : bytes
        All that it holds. It is on the disk when this returns.

    Returns
    -------
    bool
        Whether it was written; False where a file of that name stands already.

    Raises
    ------
    WriteError
        The operating system refuses.
    """
    target = os.path.realpath(path_text(path))
    try:
        folder = os.path.dirname(target)
        _clear(folder)
        draft = _Draft(folder)
        try:
            with os.fdopen(os.dup(draft.handle), "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            return draft.take_free_name(target)
        finally:
            draft.close()
    except OSError as error:
        raise WriteError(path, error) from error


@contextmanager
def _draft_of(path: str, mode: str) -> Iterator[IO[Any]]:
    if not os.path.basename(path) or "\0" in path:
        raise OSError(errno.EINVAL, "this is no file's name")
    target = os.path.realpath(path)
    old = _open_old(path)
    draft = None
    try:
        draft = _draft_for(old, target)
        encoding = None if "b" in mode else "utf-8"
        with os.fdopen(os.dup(draft.handle), mode, encoding=encoding) as stream:
            yield stream
        if old is None:
            draft.take_name(target)
        elif draft.folder is None or not draft.replace(target, os.fstat(old)):
            _overwrite(old, draft.handle)
    finally:
        if draft is not None:
            draft.close()
        if old is not None:
            os.close(old)


def _open_old(path: str) -> int | None:
    """What stands at a path, open for writing, or None."""
    try:
        # Waits where it is a pipe that nobody reads yet, as any writer does.
        return os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    except FileNotFoundError:
        return None


def _draft_for(old: int | None, target: str) -> _Draft:
    if old is not None and not stat.S_ISREG(os.fstat(old).st_mode):
        return _Draft(None)
    folder = os.path.dirname(target)
    _clear(folder)
    try:
        return _Draft(folder, private=old is not None)
    except OSError:
        # The folder takes no new files; the old one may be written all the same.
        if old is None:
            raise
        return _Draft(None)


class _Draft:
    """A file under way.

    Parameters
    ----------
    folder : str or None
        Where it will stand; None for one whose content will be copied.
    private : bool
        Let nobody else read it.
    """

    def __init__(self, folder: str | None, private: bool = False) -> None:
        self.folder = folder
        self._mode = 0o600 if private else 0o666
        self._name: str | None = None
        if folder is None:
            with tempfile.TemporaryFile() as file:
                self.handle = os.dup(file.fileno())
        else:
            handle = self._unnamed()
            self.handle = self._named() if handle is None else handle

    def take_name(self, target: str) -> None:
        """Stand at `target` from now on."""
        assert self.folder is not None
        if self._name is None and _link(self.handle, target):
            return
        os.replace(self._hidden(), target)
        self._name = None

    def take_free_name(self, target: str) -> bool:
        """Stand at `target` from now on, or return False where another file does."""
        if self._name is None and _link(self.handle, target):
            return True
        if os.path.lexists(target):
            return False
        hidden = self._hidden()
        try:
            os.link(hidden, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.replace(hidden, target)
            self._name = None
        return True

    def replace(self, target: str, old: os.stat_result) -> bool:
        """Stand at `target` like the file there, or return False where that cannot be."""
        # A path such as /proc/self/fd/1 may lead to a file that has no name any more.
        try:
            if old.st_nlink != 1 or not os.path.samestat(old, os.stat(target)):
                return False
            _make_alike(self.handle, target, old)
            self.take_name(target)
        except OSError as error:
            if error.errno in _FULL:
                raise
            return False
        return True

    def close(self) -> None:
        """Let go of it; it is gone unless it took a name."""
        if self._name is not None:
            os.unlink(self._name)
        os.close(self.handle)

    def _unnamed(self) -> int | None:
        flag = getattr(os, "O_TMPFILE", None)
        if flag is None or not os.path.isdir("/proc/self/fd"):
            return None
        try:
            handle = os.open(str(self.folder), flag | os.O_RDWR, self._mode)
        except OSError:
            return None
        _lock(handle)
        return handle

    def _named(self) -> int:
        while True:
            name = self._new_name()
            handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, self._mode)
            _lock(handle)
            # Before it was locked it may have been taken for one that nobody writes.
            if os.fstat(handle).st_nlink:
                self._name = name
                return handle
            os.close(handle)

    def _hidden(self) -> str:
        """The name under which it can be moved."""
        if self._name is None:
            name = self._new_name()
            if _link(self.handle, name):
                self._name = name
            else:
                unnamed, self.handle = self.handle, self._named()
                _copy(unnamed, self.handle)
                os.close(unnamed)
        assert self._name is not None
        return self._name

    def _new_name(self) -> str:
        return os.path.join(str(self.folder), f".recaffe-{secrets.token_hex(8)}.part")


def _link(handle: int, name: str) -> bool:
    """Name a file that has no name; False where one of that name stands, or the system cannot."""
    try:
        # Only with a folder given does Python call the function that follows the link.
        os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=handle, follow_symlinks=True)
    except (OSError, NotImplementedError):
        return False
    return True


def _make_alike(handle: int, target: str, old: os.stat_result) -> None:
    """Give a file the owner, the access list and the mode of the one at `target`."""
    os.fchown(handle, old.st_uid, old.st_gid)
    for name in os.listxattr(target) if hasattr(os, "listxattr") else ():
        os.setxattr(handle, name, os.getxattr(target, name))
    os.fchmod(handle, stat.S_IMODE(old.st_mode) & 0o777)


def _overwrite(old: int, handle: int) -> None:
    """Put a file's content into what is open as `old`."""
    if not stat.S_ISREG(os.fstat(old).st_mode):
        _copy(handle, old)
        return
    before, size = os.fstat(old).st_size, os.fstat(handle).st_size
    if size > before and hasattr(os, "posix_fallocate"):
        try:
            # A full disk shows before anything is lost.
            os.posix_fallocate(old, before, size - before)
        except OSError as error:
            if error.errno in _FULL:
                os.ftruncate(old, before)
                raise
    _copy(handle, old)
    os.ftruncate(old, size)


def _copy(source: int, target: int) -> None:
    os.lseek(source, 0, os.SEEK_SET)
    while chunk := os.read(source, CHUNK):
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(target, rest) :]


def _lock(handle: int) -> None:
    """Show that the file's writer lives."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)


def _clear(folder: str) -> None:
    """Take away what dead writers left in a folder; once, as large folders take time to list."""
    if folder in _cleared or fcntl is None:
        return
    _cleared.add(folder)
    with suppress(OSError):
        for name in filter(_HIDDEN.fullmatch, os.listdir(folder)):
            with suppress(OSError):
                _clear_one(os.path.join(folder, name))


def _clear_one(path: str) -> None:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.lstat(path)):
            os.unlink(path)
    finally:
        os.close(handle)
