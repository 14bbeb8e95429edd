"""`caffe serve`: the page that classifies pictures and looks into nets, in the browser."""

from __future__ import annotations

import math
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CaffeError, require
from .option_groups import takes_groups
from .options import Threads, numbers, whole_numbers
from .own_net import OWN, RAW_SCALE, OwnNet
from .terminal import complain

if TYPE_CHECKING:
    from ..web.models import Offer
    from ..web.settings import Settings

PORT = 8000
LIMITS = "Limits and safety"
PURPOSE = "caffe serve"
MOST_PLACES = 10_000
# What is more holds no net's picture, and would only be a way to fill the memory.
MOST_MEBIBYTES = 4096
MOST_MILLIONS = 4000


@takes_groups
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
    *,
    own: OwnNet,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="One class per line.", rich_help_panel=OWN),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            metavar="LOG|FOLDER",
            help="A training to watch: its log, or the table that `caffe train --csv` writes, or a "
            "folder of them; may be given several times.",
            exists=True,
        ),
    ] = None,
    gpu: Annotated[
        int, typer.Option(metavar="N", min=0, help="The GPU to offer beside the CPU.")
    ] = 0,
    threads: Threads = None,
    queue: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_PLACES,
            help="Requests at work at once; who comes then is asked to come back.",
            rich_help_panel=LIMITS,
        ),
    ] = 64,
    queue_each: Annotated[
        int | None,
        typer.Option(
            "--queue-each",
            min=1,
            max=MOST_PLACES,
            help="How many of them one address may have; this machine may have all.",
            show_default="a quarter",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, max=MOST_PLACES, help="Pictures that go through a net at once.")
    ] = 16,
    most_bytes: Annotated[
        float,
        typer.Option(
            "--max-upload",
            metavar="MIB",
            min=0.01,
            max=MOST_MEBIBYTES,
            help="Largest file.",
            rich_help_panel=LIMITS,
        ),
    ] = 16.0,
    most_pixels: Annotated[
        float,
        typer.Option(
            "--max-pixels",
            metavar="MILLIONS",
            min=0.01,
            max=MOST_MILLIONS,
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
    own.check(labels=labels)
    for module in ("starlette", "uvicorn", "python_multipart"):
        require(module, "web", PURPOSE)
    from ..web.settings import Settings

    offers = [_from_zoo(known) for known in dict.fromkeys(model or [])]
    if own.files is not None:
        offers.insert(0, _own(own, *own.files, labels, {offer.name for offer in offers}))
    settings = Settings(
        host=host,
        host_names=tuple(name or ()),
        gpu=gpu,
        queue=queue,
        places_each=queue_each,
        batch=batch,
        most_bytes=int(most_bytes * 2**20),
        most_pixels=int(most_pixels * 1e6),
        permitted=tuple(links_to or ()),
    )
    _run(offers or _here(), settings, run or [], port, open_page)


def _run(
    offers: list[Offer], settings: Settings, runs: list[Path], port: int, open_page: bool
) -> None:
    from ..web.runs import Runs
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

    service = Service(offers, settings, Runs(runs))
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
    from ..zoo.files import is_at_hand

    offer = from_zoo(name)
    zoo.fetch(name, quiet=is_at_hand(name))
    return offer


def _here() -> list[Offer]:
    """The default model, and all others that need no download."""
    from .. import zoo
    from ..web.models import from_zoo, is_offered
    from ..zoo.files import is_at_hand

    others = [name for name in zoo.names() if name != zoo.DEFAULT]
    records = [zoo.record(name) for name in others]
    fetched = [r.name for r in records if is_offered(r) and is_at_hand(r.name)]
    return [from_zoo(name) for name in (zoo.DEFAULT, *fetched)]


def _own(own: OwnNet, net: Path, weights: Path, labels: Path | None, taken: set[str]) -> Offer:
    """Offer a net of the person's own, by what it ends in: boxes, a map of classes, or classes."""
    from ..detect.heads import ends_in_boxes
    from ..detect.object_detector import ObjectDetector
    from ..io.labels import read_labels
    from ..segmenter import Segmenter, ends_in_map
    from ..web.loaded import AnyLoaded, Loaded, LoadedDetector, LoadedSegmenter
    from ..web.models import Offer

    def load() -> AnyLoaded:
        names = None if labels is None else read_labels(labels)
        if ends_in_boxes(net):
            return LoadedDetector(ObjectDetector(net, weights, names, **_preparation(net, own)))
        if ends_in_map(net):
            return LoadedSegmenter(Segmenter(net, weights, names, **_preparation(net, own)))
        loaded = Loaded(own.classifier(), names)
        classes = math.prod(loaded.classifier.blobs[loaded.classifier.outputs[0]].shape[1:])
        if names is not None and len(names) != classes:
            raise CaffeError(f"{labels} names {len(names)} classes, but {net} has {classes}")
        return loaded

    return Offer(f"{net.stem}_own" if net.stem in taken else net.stem, net.name, load)


def _preparation(net: Path, own: OwnNet) -> dict[str, Any]:
    """What the options for classifiers say to a net of another kind; the rest is guessed."""
    from ..io.recipe import SWAPS

    if own.raw_scale not in (None, RAW_SCALE):
        raise CaffeError(f"{net} takes pixels of 0 to 255 and is no classifier: no --raw-scale")
    options: dict[str, Any] = {"scale": own.input_scale}
    if own.mean is not None:
        options["mean"] = numbers(own.mean, "--mean")
    if own.image_dims is not None:
        options["size"] = whole_numbers(own.image_dims, "--image-dims", 2)
    if own.channel_swap is not None:
        swap = tuple(whole_numbers(own.channel_swap, "--channel-swap"))
        known = (name for name, one in SWAPS.items() if (one or (0, 1, 2)) == swap)
        options["order"] = next(known, str(swap))
    return options
