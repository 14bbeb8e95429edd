"""What a server allows, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """The bounds within which a server answers.

    Attributes
    ----------
    host : str
        The address that it listens at.
    host_names : tuple of str
        Names by which it may be called, beside ``localhost``, the machine's own and addresses.
    gpu : int
        The GPU, counted from 0, that is offered beside the CPU.
    queue : int
        The most requests at work at once, from a picture's first byte to the answer; whoever
        comes when all places are taken is asked to come back.
    batch : int
        The most pictures that go through a net together.
    most_bytes, most_pixels : int
        The largest picture, as a file and unpacked.
    head_seconds, upload_seconds, link_seconds, answer_seconds : float
        How long a request's first lines, an upload, a link and a net may take.
    connections : int
        The most connections at once, also of those who say nothing.
    redirects : int
        How often a link may lead on.
    permitted : tuple of str
        Addresses, as ``"127.0.0.1:8080"``, that links may lead to although they are not public.
    """

    host: str = LOOPBACK
    host_names: tuple[str, ...] = ()
    gpu: int = 0
    queue: int = 64
    batch: int = 16
    most_bytes: int = 16 << 20
    most_pixels: int = 50_000_000
    head_seconds: float = 10.0
    upload_seconds: float = 30.0
    link_seconds: float = 15.0
    answer_seconds: float = 60.0
    connections: int = 900
    redirects: int = 5
    permitted: tuple[str, ...] = ()
