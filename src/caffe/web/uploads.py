"""A request's picture: read from the wire within bounds, kept in memory only."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .arrivals import Arrivals, whose
from .refusals import Refusal
from .settings import Settings

FORM = "multipart/form-data"
FIELD, LINK = "picture", "link"
# What a form adds to a picture: boundaries, headers, other fields.
FORM_BYTES = 1 << 16


@dataclass(frozen=True)
class Sent:
    """What a request holds: a picture's bytes, or a link to them."""

    content: bytes = b""
    link: str | None = None


async def read_sent(request: Request, settings: Settings, arrivals: Arrivals) -> Sent:
    """Read a picture or a link: a form, JSON with a link, or the picture itself.

    Raises
    ------
    Refusal
        It is too large (413), too slow (408), not finished (400), or a form that cannot be read
        (400); or others need the room, or the server ends (503).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content = await _read(request, settings, arrivals)
    if kind == FORM:
        return await _from_form(request, content, settings)
    if kind == "application/json":
        return Sent(link=_from_json(content))
    return _checked(Sent(content), settings)


def _checked(sent: Sent, settings: Settings) -> Sent:
    if len(sent.content) > settings.most_bytes:
        raise _too_large(settings)
    return sent


async def _read(request: Request, settings: Settings, arrivals: Arrivals) -> bytes:
    limit = settings.most_bytes + FORM_BYTES
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise _too_large(settings)
    content = bytearray()
    try:
        with (
            arrivals.begin(whose(request.scope["client"])) as arrival,
            # The whole of it, and not each piece: a byte a second would never be too slow.
            anyio.move_on_after(settings.upload_seconds) as waiting,
            arrival.scope,
        ):
            async for chunk in request.stream():
                content += chunk
                arrivals.grow(arrival, len(chunk))
                if len(content) > limit:
                    break
    except ClientDisconnect as error:
        raise Refusal(400, "broken_off", "the upload was broken off") from error
    if arrival.refusal is not None:
        raise arrival.refusal
    if waiting.cancelled_caught:
        reason = f"the upload took longer than {settings.upload_seconds:g} s"
        raise Refusal(408, "upload_slow", reason, closes=True)
    if len(content) > limit:
        del content
        raise _too_large(settings)
    return bytes(content)


async def _from_form(request: Request, content: bytes, settings: Settings) -> Sent:
    form = await _parsed(request, content, 1)
    try:
        link, file = form.get(LINK), form.get(FIELD)
        if isinstance(link, str) and link.strip():
            return Sent(link=link)
        if not isinstance(file, UploadFile):
            wanted = f"the form has no file '{FIELD}' and no field '{LINK}'"
            raise Refusal(400, "empty", wanted)
        return _checked(Sent(await file.read()), settings)
    finally:
        await form.close()


async def read_files(
    request: Request, settings: Settings, arrivals: Arrivals, names: tuple[str, ...]
) -> dict[str, bytes]:
    """Read a form's files of these names; raises Refusal as `read_sent` does."""
    content = await _read(request, settings, arrivals)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        wanted = " and ".join(f"'{name}'" for name in names)
        raise Refusal(400, "bad_form", f"this takes a form ({FORM}) with {wanted}")
    form = await _parsed(request, content, len(names))
    try:
        files = {name: form.get(name) for name in names}
        return {
            name: await file.read() for name, file in files.items() if isinstance(file, UploadFile)
        }
    finally:
        await form.close()


async def _parsed(request: Request, content: bytes, files: int) -> FormData:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield content

    parser = MultiPartParser(request.headers, chunks(), max_files=files, max_fields=4)
    # Never into a file: nothing of what is sent is to be kept.
    parser.spool_max_size = len(content) + 1
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Refusal(400, "bad_form", "the form cannot be read") from error


def _from_json(content: bytes) -> str:
    try:
        link = json.loads(content)[LINK]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refusal(400, "bad_json", f'the JSON must be {{"{LINK}": "..."}}') from error
    if not isinstance(link, str):
        raise Refusal(400, "bad_json", f"'{LINK}' must be a text")
    return link


def _too_large(settings: Settings) -> Refusal:
    most = f"{settings.most_bytes / 2**20:g} MiB"
    return Refusal(413, "too_large", f"the picture has more than the {most} allowed")
