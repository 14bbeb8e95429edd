"""Pictures by link: fetched from public addresses only, within bounds of time and size.

A server that fetches what strangers name could be made to ask machines that only it can reach
(server-side request forgery, SSRF). So a name is resolved once, every address that it has must be
public, the connection goes to the address that was checked, so that a name that points elsewhere
a moment later leads nowhere (DNS rebinding), and each redirect goes through the same again.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import certifi

from ..version import __version__
from .refusals import Refusal
from .settings import Settings

CHUNK = 1 << 16
PORTS = {"http": 80, "https": 443}
FIRST_FREE_PORT = 1024
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = {
    "User-Agent": f"recaffe/{__version__}",
    "Accept": "image/*",
    # What is packed could unpack to any size.
    "Accept-Encoding": "identity",
    "Connection": "close",
}
_NO_NAME = re.compile(r"[^0-9A-Za-z._:-]")
# Behind these prefixes of IPv6 stands an address of IPv4.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_TEREDO = ipaddress.IPv6Network("2001::/32")


@dataclass(frozen=True)
class Target:
    """Where a link leads: what to ask for, and the one address to ask."""

    scheme: str
    name: str
    port: int
    path: str
    address: str

    @property
    def host(self) -> str:
        """What the Host header says."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == PORTS[self.scheme] else f"{name}:{self.port}"


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and to one machine of it.

    Examples
    --------
    >>> [is_public(a) for a in ("93.184.216.34", "127.0.0.1", "10.0.0.1", "::ffff:10.0.0.1")]
    [True, False, False, False]
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found not in _PUBLIC_IPV6 or found in _TEREDO:
            return False
    return found.is_global and not (
        found.is_multicast or found.is_reserved or found.is_unspecified or found.is_link_local
    )


def fetch_link(link: str, settings: Settings) -> bytes:
    """Return what a link leads to.

    Parameters
    ----------
    link : str
        An http or https address.
    settings : Settings
        The bounds, and which addresses are permitted beside public ones.

    Raises
    ------
    Refusal
        The link is none that is followed (400), gives no file (502), is too slow (504), or
        gives too many bytes (413).
    """
    deadline = time.monotonic() + settings.link_seconds
    for _ in range(settings.redirects + 1):
        content, onward = _ask(locate(link, settings), deadline, settings)
        if onward is None:
            return content
        link = _joined(link, onward)
    raise Refusal(502, "link_failed", f"the link leads on more than {settings.redirects} times")


def _joined(link: str, onward: str) -> str:
    try:
        return urljoin(link, onward)
    except ValueError as error:
        raise Refusal(502, "link_failed", "the link leads on to what is no web address") from error


def too_slow(settings: Settings) -> Refusal:
    """What is told of a link that takes longer than it may."""
    return Refusal(504, "link_slow", f"the link took longer than {settings.link_seconds:g} s")


def locate(link: str, settings: Settings) -> Target:
    """Say where a link leads; raises Refusal (400, 502) where nobody is to go."""
    parts = _split(link)
    name = parts.hostname or ""
    port = parts.port or PORTS[parts.scheme]
    try:
        name = name if ":" in name else name.encode("idna").decode("ascii")
        if _NO_NAME.search(name):
            # A Host header holds what is not printed, too, but no web server has such a name.
            raise Refusal(400, "link_refused", "this is no web address")
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refusal(502, "link_failed", f"no address is known for {name!r}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        a_web_port = port in PORTS.values() or port >= FIRST_FREE_PORT
        permitted = f"{address}:{port}" in settings.permitted
        if not permitted and not (a_web_port and is_public(address)):
            where = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
            raise Refusal(
                400,
                "link_refused",
                f"the link leads to {where}, which is no web server on the public internet",
            )
    path = quote(parts.path or "/", safe="/%:=&?~#+!$,;'@()*[]")
    query = f"?{quote(parts.query, safe='/%:=&?~+!$,;@()*[]')}" if parts.query else ""
    return Target(parts.scheme, name, port, path + query, addresses[0])


def _split(link: str) -> SplitResult:
    try:
        # Half a character, which JSON can say, has no bytes: UnicodeEncodeError is a ValueError.
        link.encode()
        parts = urlsplit(link.strip())
        port = parts.port
    except ValueError as error:
        raise Refusal(400, "link_refused", "this is no web address") from error
    if parts.scheme not in PORTS:
        raise Refusal(400, "link_refused", "only http and https addresses are followed")
    if not parts.hostname or port == 0:
        raise Refusal(400, "link_refused", "this is no web address")
    if parts.username is not None or parts.password is not None:
        raise Refusal(400, "link_refused", "a link with a password in it is not followed")
    return parts


def _ask(target: Target, deadline: float, settings: Settings) -> tuple[bytes, str | None]:
    """What a target answers: its content, or where it leads on."""
    try:
        with _connection(target, deadline) as connection:
            connection.request("GET", target.path, headers={"Host": target.host, **HEADERS})
            response = connection.getresponse()
            if response.status in REDIRECTS and (onward := response.getheader("Location")):
                return b"", onward
            if response.status != 200:
                reason = f"the link's server answers {response.status}"
                raise Refusal(502, "link_failed", reason)
            if response.getheader("Content-Encoding", "identity").lower() != "identity":
                raise Refusal(502, "link_failed", "the link's server sends a packed file")
            content = _read(response, settings.most_bytes)
            if time.monotonic() >= deadline:
                raise TimeoutError
            if not content:
                raise Refusal(502, "link_failed", "the link leads to an empty file")
            return content, None
    except Refusal:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= deadline or isinstance(error, TimeoutError):
            raise too_slow(settings) from error
        reason = "its certificate is not valid" if isinstance(error, ssl.SSLError) else "no answer"
        raise Refusal(502, "link_failed", f"the link cannot be fetched: {reason}") from error


@contextmanager
def _connection(target: Target, deadline: float) -> Iterator[http.client.HTTPConnection]:
    """A connection to the target's address that ends at the deadline, whatever it is doing."""
    left = max(deadline - time.monotonic(), 0.001)
    stream = socket.create_connection((target.address, target.port), left)
    if target.scheme == "https":
        context = ssl.create_default_context(cafile=certifi.where())
        stream = context.wrap_socket(
            stream, server_hostname=target.name, do_handshake_on_connect=False
        )
    # A server that sends a byte now and then never runs into a socket's own time limit.
    end = threading.Timer(max(deadline - time.monotonic(), 0.001), _cut, [stream])
    end.daemon = True
    end.start()
    try:
        if isinstance(stream, ssl.SSLSocket):
            stream.do_handshake()
        connection = http.client.HTTPConnection(target.name, target.port)
        connection.sock = stream
        yield connection
    finally:
        end.cancel()
        stream.close()


def _cut(stream: socket.socket) -> None:
    """Wake whoever waits for the other side; not by TLS's own farewell, which could wait too."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(stream, socket.SHUT_RDWR)


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    most = f"{limit / 2**20:g} MiB"
    too_many = Refusal(413, "too_large", f"the picture has more than the {most} allowed")
    length = response.length
    if length is not None and length > limit:
        raise too_many
    content = bytearray()
    while chunk := response.read1(CHUNK):
        content += chunk
        if len(content) > limit:
            raise too_many
    if length is not None and len(content) != length:
        raise http.client.IncompleteRead(bytes(content[:0]), length - len(content))
    return bytes(content)
