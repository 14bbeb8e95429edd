"""What stands at web addresses."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import FetchError
from ..version import __version__

if TYPE_CHECKING:
    import requests

CONNECT_TIMEOUT = 15.0
USER_AGENT = f"recaffe/{__version__} (python-requests)"


@contextmanager
def opened(url: str, headers: dict[str, str], timeout: float) -> Iterator[requests.Response]:
    """Open `url`; whatever the network does wrong becomes a FetchError that names it."""
    # Most programs fetch nothing, and loading these takes a while.
    import requests
    import urllib3

    if not url.lower().startswith(("http://", "https://")):
        raise FetchError(f"{url}: only http and https addresses can be fetched")
    waits = (min(CONNECT_TIMEOUT, timeout), timeout)
    try:
        with requests.get(url, headers=headers, stream=True, timeout=waits) as response:
            yield response
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        cause = _innermost(error)
        # For urllib3 a refused connection is a kind of timeout.
        if isinstance(
            cause, (requests.Timeout, urllib3.exceptions.TimeoutError)
        ) and not isinstance(cause, urllib3.exceptions.NewConnectionError):
            raise FetchError(f"{url}: no answer for {timeout:g} s") from error
        # urllib3 begins with the address of a Python object.
        reason = re.sub(r"^.*?: (?=Failed to|\[)", "", str(cause))
        if isinstance(cause, urllib3.exceptions.ProtocolError):
            reason = f"the connection broke ({cause.args[-1]})"
        elif isinstance(error, requests.ConnectionError):
            reason = f"no connection ({reason})"
        raise FetchError(f"{url}: {reason}") from error


def _innermost(error: BaseException) -> BaseException:
    """What lies at the bottom of what requests and urllib3 wrap around a failure."""
    import requests

    inner = getattr(error, "reason", None)
    if inner is None and isinstance(error, requests.RequestException) and error.args:
        inner = error.args[0]
    return _innermost(inner) if isinstance(inner, BaseException) else error


def content_length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def fetch_url(url: str, limit: int = 32 << 20, timeout: float = 20.0) -> bytes:
    """Return what stands at a web address, a picture for example.

    Parameters
    ----------
    url : str
        An http or https address.
    limit : int
        The most bytes to take.
    timeout : float
        Seconds that the server may be silent, and that the whole may take.

    Raises
    ------
    FetchError
        Another kind of address, no answer, a status such as 404, too many bytes, too slow.
    """
    deadline = time.monotonic() + timeout
    content = bytearray()
    with opened(url, {"User-Agent": USER_AGENT}, timeout) as response:
        if response.status_code != 200:
            raise FetchError(f"{url}: {response.status_code} {response.reason}")
        length = content_length(response)
        if length is not None and length > limit:
            raise FetchError(f"{url}: has {length} bytes, more than the {limit} allowed")
        # Not iter_content, which waits until a chunk is full, however slowly the bytes come.
        while chunk := response.raw.read1(1 << 16, decode_content=True):
            content += chunk
            if len(content) > limit:
                raise FetchError(f"{url}: has more than the {limit} bytes allowed")
            if time.monotonic() > deadline:
                raise FetchError(f"{url}: took longer than {timeout:g} s")
    if length is not None and "Content-Encoding" not in response.headers and len(content) != length:
        raise FetchError(f"{url}: the connection broke after {len(content)} of {length} bytes")
    return bytes(content)
