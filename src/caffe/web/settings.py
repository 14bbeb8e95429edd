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
        The most requests at work at once, from when the picture is there to the answer; whoever
        comes when all places are taken is asked to come back.
    places_each : int or None
        The most of these places for one address; a quarter of them if nothing is said. This machine
        has them all.
    batch : int
        The most pictures that go through a net together.
    most_bytes, most_pixels : int
        The largest picture, as a file and unpacked.
    head_seconds, upload_seconds, link_seconds, answer_seconds, sending_seconds : float
        How long a request's first lines, an upload, a link, a net and the sending of an answer may
        take.
    arrivals, arriving_bytes : int
        The most pictures on their way in at once, and the most of their bytes; where there are
        more, the oldest of whoever has most of them is given up.
    connections : int
        The most connections at once, also of those who say nothing; where there are more, the
        oldest of whoever has most of them is closed.
    kept_bytes : int
        The most of what nets made of the last pictures, so that another look at one of them needs
        no forward.
    kept_seconds : float
        After so long without a look that is forgotten.
    links_each : int
        The most links of one address that are followed at once.
    redirects : int
        How often a link may lead on.
    permitted : tuple of str
        Addresses, as ``"127.0.0.1:8080"``, that links may lead to although they are not public.
    """

    host: str = LOOPBACK
    host_names: tuple[str, ...] = ()
    gpu: int = 0
    queue: int = 64
    places_each: int | None = None
    batch: int = 16
    most_bytes: int = 16 << 20
    most_pixels: int = 50_000_000
    head_seconds: float = 10.0
    upload_seconds: float = 30.0
    link_seconds: float = 15.0
    answer_seconds: float = 60.0
    sending_seconds: float = 30.0
    arrivals: int = 512
    arriving_bytes: int = 256 << 20
    kept_bytes: int = 256 << 20
    kept_seconds: float = 120.0
    links_each: int = 4
    connections: int = 900
    redirects: int = 5
    permitted: tuple[str, ...] = ()
