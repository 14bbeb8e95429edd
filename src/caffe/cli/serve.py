"""`caffe serve`: the page that classifies pictures and looks into nets, in the browser."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CaffeError, require
from .classify import CHANNEL_SWAP, OWN, RAW_SCALE, _numbers, _own_classifier, _read_labels
from .terminal import complain

if TYPE_CHECKING:
    from ..web.models import Offer
    from ..web.settings import Settings

PORT = 8000
LIMITS = "Limits and safety"
PURPOSE = "caffe serve"


def serve(
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where to listen: 127.0.0.1 is for this machine only, 0.0.0.0 for everybody who "
            "can reach it.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes any that is free.")
    ] = PORT,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model that `caffe zoo` lists; may be given several times, the first is the "
            "default. If nothing is said: efficientnet_lite0 and those that are fetched already.",
        ),
    ] = None,
    net: Annotated[
        Path | None,
        typer.Option(metavar="PROTOTXT", help="The net.", rich_help_panel=OWN),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="CAFFEMODEL", help="Its weights.", rich_help_panel=OWN),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|B,G,R",
            help="The mean to subtract: a .npy or .binaryproto file, or one number per channel.",
            rich_help_panel=OWN,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="One class per line.", rich_help_panel=OWN),
    ] = None,
    raw_scale: Annotated[
        float | None,
        typer.Option(
            help="Factor for pixels of 0 to 1, before the mean is subtracted.",
            show_default=str(RAW_SCALE),
            rich_help_panel=OWN,
        ),
    ] = None,
    input_scale: Annotated[
        float | None,
        typer.Option(
            help="Factor after the mean is subtracted.", show_default="1", rich_help_panel=OWN
        ),
    ] = None,
    channel_swap: Annotated[
        str | None,
        typer.Option(
            metavar="I,I,I",
            help="Order of the channels.",
            show_default=CHANNEL_SWAP,
            rich_help_panel=OWN,
        ),
    ] = None,
    image_dims: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="Resize to this before the crop of the net's size is cut out.",
            rich_help_panel=OWN,
        ),
    ] = None,
    gpu: Annotated[int, typer.Option(metavar="N", help="The GPU to offer beside the CPU.")] = 0,
    queue: Annotated[
        int,
        typer.Option(
            min=1,
            help="Requests at work at once; who comes then is asked to come back.",
            rich_help_panel=LIMITS,
        ),
    ] = 64,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that go through a net at once.")] = 16,
    most_bytes: Annotated[
        float,
        typer.Option(
            "--max-upload", metavar="MIB", min=0.01, help="Largest file.", rich_help_panel=LIMITS
        ),
    ] = 16.0,
    most_pixels: Annotated[
        float,
        typer.Option(
            "--max-pixels",
            metavar="MILLIONS",
            min=0.01,
            help="Largest picture.",
            rich_help_panel=LIMITS,
        ),
    ] = 50.0,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="A name under which the server may be asked, beside localhost, this machine's own "
            "and its addresses; may be given several times.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    links_to: Annotated[
        list[str] | None,
        typer.Option(
            "--links-to",
            metavar="IP:PORT",
            help="An address that links may lead to although it is not on the public internet; "
            "may be given several times.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
) -> None:
    """Classify pictures and look into nets in the browser.

    Nothing of a picture is kept. Ctrl-C ends it.
    """
    own = {
        "--weights": weights,
        "--mean": mean,
        "--labels": labels,
        "--raw-scale": raw_scale,
        "--input-scale": input_scale,
        "--channel-swap": channel_swap,
        "--image-dims": image_dims,
    }
    given = ", ".join(option for option, value in own.items() if value is not None)
    if net is None and given:
        raise typer.BadParameter(f"{given}: only with --net; models of the zoo know theirs")
    if net is not None and weights is None:
        raise typer.BadParameter("--net goes with --weights")
    for module in ("starlette", "uvicorn", "python_multipart"):
        require(module, "web", PURPOSE)
    from ..web.settings import Settings

    offers = [_from_zoo(known) for known in dict.fromkeys(model or [])]
    if net is not None and weights is not None:
        dims = None if image_dims is None else _numbers(image_dims, "--image-dims", 2)
        swap = _numbers(channel_swap or CHANNEL_SWAP, "--channel-swap")
        scale = RAW_SCALE if raw_scale is None else raw_scale
        offers.insert(0, _own(net, weights, mean, labels, scale, input_scale, swap, dims, offers))
    settings = Settings(
        host=host,
        host_names=tuple(name or ()),
        gpu=gpu,
        queue=queue,
        batch=batch,
        most_bytes=int(most_bytes * 2**20),
        most_pixels=int(most_pixels * 1e6),
        permitted=tuple(links_to or ()),
    )
    _run(offers or _here(), settings, port, open_page)


def _run(offers: list[Offer], settings: Settings, port: int, open_page: bool) -> None:
    from ..web.server import Server, address_of, bind, share_one_heap
    from ..web.service import Service

    share_one_heap()
    # Before the models: a port that is taken is to be told at once.
    bound = bind(settings.host, port)
    address = address_of(bound)

    def listening() -> None:
        print(f"Recaffe is at {address} (Ctrl-C ends it)", flush=True)
        if settings.host not in ("127.0.0.1", "::1", "localhost"):
            complain("everybody who can reach this machine can use the page")
        if open_page:
            # Some browsers of the terminal return only when they are closed.
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()

    service = Service(offers, settings)
    try:
        service.load(service.default)
        Server(service, listening).run(sockets=[bound])
    except KeyboardInterrupt:
        # How a server is ended, and nothing that went wrong.
        print("Stopped.", flush=True)
    finally:
        service.stop()
        bound.close()


def _from_zoo(name: str) -> Offer:
    """Offer a model, and have its files brought now: nobody on the page is to wait for them."""
    from .. import zoo
    from ..web.models import from_zoo
    from .models import is_here

    offer = from_zoo(name)
    record = zoo.record(name)
    if not is_here(record):
        zoo.fetch(name, quiet=not record.urls)
    return offer


def _here() -> list[Offer]:
    """The default model, and all others that need no download."""
    from .. import zoo
    from ..web.models import from_zoo
    from .models import is_here

    others = [name for name in zoo.names() if name != zoo.DEFAULT]
    records = [zoo.record(name) for name in others]
    fetched = [r.name for r in records if r.recipe is not None and is_here(r)]
    return [from_zoo(name) for name in (zoo.DEFAULT, *fetched)]


def _own(
    net: Path,
    weights: Path,
    mean: str | None,
    labels: Path | None,
    raw_scale: float,
    input_scale: float | None,
    channel_swap: list[int],
    image_dims: list[int] | None,
    others: list[Offer],
) -> Offer:
    from ..web.models import Loaded, Offer

    def load() -> Loaded:
        classifier = _own_classifier(
            net, weights, mean, raw_scale, input_scale, channel_swap, image_dims
        )
        names = None if labels is None else _read_labels(labels)
        classes = classifier.blobs[classifier.outputs[0]].count
        classes //= classifier.blobs[classifier.inputs[0]].shape[0]
        if names is not None and len(names) != classes:
            raise CaffeError(f"{labels} names {len(names)} classes, but {net} has {classes}")
        return Loaded(classifier, net, names)

    name = net.stem
    if name in {other.name for other in others}:
        name += "_own"
    return Offer(name, net.name, load)
