"""What a request asks for: the words behind its address, and its picture."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .models import Mode
from .refusals import Refusal
from .worker import Worker

MOST_MAPS = 256
TOP, MAPS = 5, 36
PNG = "image/png"


@dataclass(frozen=True)
class Asked:
    """A picture that is there, and what is to look at it."""

    worker: Worker
    mode: Mode
    content: bytes
    since: float = field(default_factory=time.monotonic)


Handler = Callable[[Request], Awaitable[Response]]
PictureHandler = Callable[[Request, Asked], Awaitable[Response]]


def word(request: Request, name: str, default: str | None = None) -> str:
    """A word of the address; raises Refusal (400) where it must be given and is not."""
    value = request.query_params.get(name, default)
    if value is None:
        raise Refusal(400, "bad_option", f"'{name}' is missing")
    return value


def one_of(request: Request, name: str, known: tuple[str, ...]) -> str:
    """One of some words, the first if nothing is said; raises Refusal (400) for another."""
    value = word(request, name, known[0])
    if value not in known:
        raise Refusal(400, "bad_option", f"{name} must be {' or '.join(known)}")
    return value


def whole(request: Request, name: str, default: int | None = None) -> int:
    """A whole number of the address; raises Refusal (400) where it is none."""
    text = word(request, name, None if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal(400, "bad_option", f"'{name}' must be a whole number")
    return int(text)


def share(request: Request, name: str, default: float) -> float:
    """A number from 0 to 1; raises Refusal (400) where it is none."""
    try:
        value = float(word(request, name, str(default)))
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise Refusal(400, "bad_option", f"'{name}' must be a number from 0 to 1")
    return value


def count_of(request: Request) -> int:
    """How many maps; raises Refusal (400) where they are too many."""
    count = whole(request, "count", MAPS)
    if not 1 <= count <= MOST_MAPS:
        raise Refusal(400, "bad_option", f"'count' must be 1 to {MOST_MAPS}")
    return count


def prefers_png(request: Request) -> bool:
    """Whether a client's Accept names PNG, and not JSON before it."""
    weights = {PNG: 0.0, "image/*": 0.0, "application/json": 0.0}
    for kind in ",".join(request.headers.getlist("accept")).split(","):
        name, _, weight = kind.replace(" ", "").partition(";q=")
        try:
            weights[name.lower()] = float(weight or 1)
        except ValueError:
            continue
    return (weights[PNG] or weights["image/*"]) > weights["application/json"]


def finite(value: Any) -> float | None:
    """A number for JSON, which has no infinity."""
    return float(value) if math.isfinite(value) else None


def milliseconds(seconds: float) -> float:
    """A time as answers give it."""
    return round(seconds * 1000, 2)
