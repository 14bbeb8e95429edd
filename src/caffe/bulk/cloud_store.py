"""A store in an object storage: Amazon's S3 and what speaks as it does, Google's, Azure's."""

from __future__ import annotations

import errno
import io
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import IO, Any, TypeVar

from ..errors import (
    CaffeError,
    FetchError,
    ImageError,
    MissingFileError,
    WriteError,
    first_line,
    require,
)
from .stores import SilentStoreError, Stored

Result = TypeVar("Result")

EXTRA = "cloud"
# Of each request: obstore waits a random time between tries, longer each time.
_RETRIES: dict[str, Any] = {
    "max_retries": 8,
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=10),
        "base": 2,
    },
    "retry_timeout": timedelta(minutes=2),
}
_CLIENT: dict[str, Any] = {"connect_timeout": "15s", "timeout": "120s"}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# What breaks off in the middle is no answer that obstore would ask for again.
_TRIES = 4
_LISTED = 1000
_BUFFER = 1 << 20


class CloudStore:
    """A prefix of a bucket. Keys and endpoints are found as the storage's own tools find them.

    Parameters
    ----------
    place : str
        Its address, such as ``s3://bucket/prefix``, ``gs://bucket`` or ``az://container``.

    Raises
    ------
    MissingExtraError
        obstore is not installed.
    CaffeError
        There is no such kind of address.
    """

    def __init__(self, place: str) -> None:
        self._obstore = require("obstore", EXTRA, f"object storage ({place})")
        self._errors = self._obstore.exceptions
        scheme, _, rest = place.partition("://")
        bucket, _, prefix = rest.partition("/")
        self.place = place.rstrip("/")
        self._prefix = prefix.strip("/")
        client = dict(_CLIENT)
        # Who names such an endpoint means it.
        if any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS):
            client["allow_http"] = True
        from_url = self._obstore.store.from_url
        try:
            self._store = from_url(
                f"{scheme}://{bucket}", client_options=client, retry_config=_RETRIES
            )
        except (self._errors.BaseError, ValueError) as error:
            raise CaffeError(f"{place}: no object storage: {first_line(error)}") from error

    def read(self, name: str) -> bytes:
        return self._asked(name, lambda path: bytes(self._obstore.get(self._store, path).bytes()))

    def read_range(self, name: str, start: int, length: int) -> bytes:
        def ask(path: str) -> bytes:
            return bytes(self._obstore.get_range(self._store, path, start=start, length=length))

        return self._asked(name, ask)

    def open(self, name: str) -> IO[bytes]:
        return io.BufferedReader(_Content(self, name, self.head(name).size), _BUFFER)

    def head(self, name: str) -> Stored:
        found = self._asked(name, lambda path: self._obstore.head(self._store, path))
        return Stored(name, found["size"], found["e_tag"])

    def create(self, name: str, content: bytes) -> bool:
        def put(path: str) -> bool:
            try:
                self._obstore.put(self._store, path, content, mode="create", use_multipart=False)
            except self._errors.AlreadyExistsError:
                return False
            return True

        return self._asked(name, put, writes=True)

    def replace(self, name: str, content: bytes | IO[bytes]) -> None:
        start = 0 if isinstance(content, bytes) else content.tell()

        def put(path: str) -> None:
            if not isinstance(content, bytes):
                content.seek(start)
            self._obstore.put(self._store, path, content)

        self._asked(name, put, writes=True)

    def names(self, folder: str) -> Iterator[str]:
        prefix = self._path(f"{folder}/" if folder else "")
        prefix = prefix and f"{prefix.rstrip('/')}/"
        for stored in self._listed(prefix or None, None):
            name = stored.name[len(prefix) :]
            if "/" not in name:
                yield name

    def below(self, after: str | None = None) -> Iterator[Stored]:
        """Yield all that is kept below the store's prefix, by the bytes of their names.

        Parameters
        ----------
        after : str, optional
            A name in the bucket, to go on behind it.

        Yields
        ------
        Stored
            Named as in the bucket.
        """
        yield from self._listed(f"{self._prefix}/" if self._prefix else None, after)

    def _listed(self, prefix: str | None, after: str | None) -> Iterator[Stored]:
        last = after
        for attempt in range(_TRIES):
            try:
                pages = self._obstore.list(self._store, prefix, offset=last, chunk_size=_LISTED)
                for page in pages:
                    for found in page:
                        last = found["path"]
                        yield Stored(last, found["size"], found["e_tag"])
                return
            except (self._errors.BaseError, ValueError) as error:
                self._give_up_or_wait(attempt, self.place, "cannot be listed", error)

    def _asked(self, name: str, ask: Callable[[str], Result], writes: bool = False) -> Result:
        """Ask for a thing until there is an answer, a bounded number of times."""
        place = f"{self.place}/{name}"
        for attempt in range(_TRIES):
            try:
                return ask(self._path(name))
            except (self._errors.NotFoundError, FileNotFoundError) as error:
                if writes:
                    raise WriteError(place, OSError(errno.ENOENT, "no such bucket")) from error
                raise MissingFileError("no such object", place) from error
            # Of names that it does not take.
            except ValueError as error:
                reason = first_line(error)
                if writes:
                    raise WriteError(place, OSError(errno.EINVAL, reason)) from error
                raise ImageError(f"{place}: cannot be read: {reason}") from error
            except self._errors.BaseError as error:
                what = "cannot be written" if writes else "cannot be read"
                self._give_up_or_wait(attempt, place, what, error, writes)
        raise AssertionError(place)

    def _give_up_or_wait(
        self, attempt: int, place: str, what: str, error: Exception, writes: bool = False
    ) -> None:
        hopeless = (
            self._errors.NotFoundError,
            self._errors.PermissionDeniedError,
            self._errors.UnauthenticatedError,
            self._errors.NotSupportedError,
            self._errors.InvalidPathError,
            ValueError,
        )
        is_hopeless = isinstance(error, hopeless)
        if attempt == _TRIES - 1 or is_hopeless:
            reason = first_line(error)
            if writes:
                raise WriteError(place, OSError(errno.EIO, reason)) from error
            kind = FetchError if is_hopeless else SilentStoreError
            raise kind(f"{place}: {what}: {reason}") from error
        time.sleep(random.uniform(0.1, 0.5) * 2**attempt)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


class _Content(io.RawIOBase):
    """What is kept in a store, for who reads here and there."""

    def __init__(self, store: CloudStore, name: str, size: int) -> None:
        super().__init__()
        self._store, self._name, self._size = store, name, size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), max(0, self._size - self._place))
        if not count:
            return 0
        found = self._store.read_range(self._name, self._place, count)
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)
