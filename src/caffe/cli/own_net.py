"""Which classifier a command line means: one of the zoo, or a net of the person's own."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CaffeError
from . import completion
from .options import whole_numbers
from .terminal import complain

if TYPE_CHECKING:
    from ..bulk.model_files import ModelFiles
    from ..classifier import Classifier
    from ..io.recipe import PictureRecipe
    from ..zoo.model import Model

OWN = "A net of your own"
# The convention of BVLC's nets: 0 to 255, blue first.
RAW_SCALE = 255.0
CHANNEL_SWAP = "2,1,0"

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A model that `caffe zoo` lists; efficientnet_lite0 if nothing is said.",
        autocompletion=completion.models,
    ),
]
OwnNet = Annotated[
    Path | None,
    typer.Option(metavar="PROTOTXT", help="The net.", rich_help_panel=OWN),
]
OwnWeights = Annotated[
    Path | None,
    typer.Option(metavar="CAFFEMODEL", help="Its weights.", rich_help_panel=OWN),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|B,G,R",
        help="The mean to subtract: a .npy or .binaryproto file, or one number per channel.",
        rich_help_panel=OWN,
    ),
]
RawScale = Annotated[
    float | None,
    typer.Option(
        help="Factor for pixels of 0 to 1, before the mean is subtracted.",
        show_default=f"{RAW_SCALE:g}",
        rich_help_panel=OWN,
    ),
]
InputScale = Annotated[
    float | None,
    typer.Option(
        help="Factor after the mean is subtracted.", show_default="1", rich_help_panel=OWN
    ),
]
ChannelSwap = Annotated[
    str | None,
    typer.Option(
        metavar="I,I,I",
        help="Order of the channels: 2,1,0 for a net that takes BGR, as Caffe's do; 0,1,2 "
        "for RGB. Nets of one channel get the picture in grey.",
        show_default=CHANNEL_SWAP,
        rich_help_panel=OWN,
    ),
]
ImageDims = Annotated[
    str | None,
    typer.Option(
        metavar="HEIGHT,WIDTH",
        help="Resize to this before the crop of the net's size is cut out (256,256 is "
        "common); the net's own size if nothing is said.",
        rich_help_panel=OWN,
    ),
]


def check_own(model: str | None, net: Path | None, own: Mapping[str, object]) -> None:
    """Check that the options of a net of one's own go together.

    Parameters
    ----------
    model, net : optional
        What --model and --net say.
    own : mapping of str to object
        The options that go with --net, --weights among them.
    """
    given = ", ".join(name for name, value in own.items() if value is not None)
    if net is None and given:
        raise typer.BadParameter(f"{given}: only with --net; models of the zoo know theirs")
    if net is not None and (model is not None or own["--weights"] is None):
        raise typer.BadParameter("--net goes with --weights, and not with --model")


def zoo_classifier(name: str | None) -> Model:
    """A classifier of the zoo, the default one if it has no name; fetched if need be."""
    from .. import zoo
    from ..zoo.files import is_at_hand

    name = name or zoo.DEFAULT
    if zoo.record(name).recipe is None:
        raise CaffeError(f"{name} is no model that classifies; `caffe zoo` lists those that are")
    # What a first download says must not stand among the results.
    with redirect_stdout(sys.stderr):
        return zoo.load(name, quiet=is_at_hand(name))


def own_classifier(
    net: Path,
    weights: Path,
    mean: str | None,
    raw_scale: float | None,
    input_scale: float | None,
    channel_swap: str | None,
    image_dims: str | None,
) -> Classifier:
    """A classifier of a person's own net, as these options set it up.

    Where standard error is a terminal, what was taken without being said is told there.
    """
    from ..classifier import Classifier

    recipe = own_recipe(mean, raw_scale, input_scale, channel_swap, image_dims)
    classifier = Classifier(net, weights)
    if classifier.recipe.channels == 1:
        recipe = recipe.changed("a net of one channel", channel_swap=None)
    classifier.recipe = recipe
    if sys.stderr.isatty():
        tell_recipe(classifier.recipe)
    return classifier


def frozen_classifier(
    model: str | None,
    net: Path | None,
    weights: Path | None,
    mean: str | None,
    raw_scale: float | None,
    input_scale: float | None,
    channel_swap: str | None,
    image_dims: str | None,
) -> tuple[ModelFiles, PictureRecipe, list[str] | None]:
    """What other processes make a command line's classifier of: files, recipe and labels."""
    from ..bulk.model_files import ModelFiles

    if net is None or weights is None:
        from ..zoo import fetch

        of_zoo = zoo_classifier(model)
        files = fetch(of_zoo.record.name, quiet=True)
        found = ModelFiles(str(files.net), str(files.weights))
        return found, of_zoo.recipe, of_zoo.labels
    own = own_classifier(net, weights, mean, raw_scale, input_scale, channel_swap, image_dims)
    return ModelFiles(str(net.absolute()), str(weights.absolute())), own.recipe, None


def own_recipe(
    mean: str | None,
    raw_scale: float | None,
    input_scale: float | None,
    channel_swap: str | None,
    image_dims: str | None,
) -> PictureRecipe:
    """How pictures go into a net of a person's own, as these options say; for any input."""
    from ..io.recipe import PictureRecipe

    recipe = PictureRecipe(mean=None, raw_scale=RAW_SCALE, image_dims=None, crop=None)
    recipe = recipe.because("Caffe's usual")
    if channel_swap is not None:
        swap = tuple(whole_numbers(channel_swap, "--channel-swap"))
        recipe = recipe.changed("--channel-swap", channel_swap=swap)
    if raw_scale is not None:
        recipe = recipe.changed("--raw-scale", raw_scale=raw_scale)
    if input_scale is not None:
        recipe = recipe.changed("--input-scale", input_scale=input_scale)
    if image_dims is not None:
        dims = tuple(whole_numbers(image_dims, "--image-dims", 2))
        recipe = recipe.changed("--image-dims", image_dims=dims)
    return recipe if mean is None else _with_mean(recipe, mean)


def _with_mean(recipe: PictureRecipe, mean: str) -> PictureRecipe:
    from ..io import load_mean

    try:
        numbers = tuple(float(number) for number in mean.split(","))
    except ValueError:
        return recipe.changed(f"from {mean}", mean=load_mean(mean))
    if not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"--mean takes a file or finite numbers, not {mean!r}")
    return recipe.changed("--mean", mean=numbers)


def tell_recipe(recipe: PictureRecipe) -> None:
    """Say on standard error how pictures go in, and why so."""
    complain(f"pictures go in as {recipe} ({recipe.why})")
