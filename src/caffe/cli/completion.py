"""What the shell completes: models, nets' files, and the layers and blobs of the net that is named.

A shell asks at every tab, and shows what is printed: whatever fails, there is nothing to complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import NetParameter


def models(incomplete: str) -> list[str]:
    """The models of the zoo whose names begin so."""
    from .. import zoo

    return [name for name in zoo.names() if name.startswith(incomplete)]


def nets(incomplete: str) -> list[str]:
    """The models whose names begin so, and files and folders."""
    return [*models(incomplete), *_files(incomplete)]


def layers(ctx: typer.Context, incomplete: str) -> list[str]:
    """The layers of the net that the command line names, whose names begin so."""
    names = [layer.name for net in _named_net(ctx) for layer in net.layer]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def blobs(ctx: typer.Context, incomplete: str) -> list[str]:
    """The blobs of the net that the command line names, whose names begin so."""
    names = [top for net in _named_net(ctx) for layer in net.layer for top in layer.top]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _files(incomplete: str) -> Iterator[str]:
    from .nets import TEXT_ENDINGS

    folder, _, begin = incomplete.rpartition("/")
    place = Path(folder or ("/" if incomplete.startswith("/") else "."))
    with suppress(OSError):
        for path in sorted(place.iterdir()):
            is_folder = path.is_dir()
            if path.name.startswith(begin) and (is_folder or path.suffix in TEXT_ENDINGS):
                yield incomplete[: len(incomplete) - len(begin)] + path.name + "/" * is_folder


def _named_net(ctx: typer.Context) -> Iterator[NetParameter]:
    """The net, if it can be read."""
    from .. import zoo
    from .nets import read_named_net

    name = ctx.params.get("net") or ctx.params.get("model") or zoo.DEFAULT
    with suppress(Exception):
        yield read_named_net(str(name))
