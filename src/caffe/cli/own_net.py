"""Which classifier a command line means: one of the zoo, or a net of the person's own."""

from __future__ import annotations

import math
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
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


@dataclass(frozen=True)
class OwnNet:
    """The options of a person's own net that takes pictures as Caffe's classifiers do."""

    net: Annotated[
        Path | None, typer.Option(metavar="PROTOTXT", help="The net.", rich_help_panel=OWN)
    ] = None
    weights: Annotated[
        Path | None, typer.Option(metavar="CAFFEMODEL", help="Its weights.", rich_help_panel=OWN)
    ] = None
    mean: Mean = None
    raw_scale: RawScale = None
    input_scale: InputScale = None
    channel_swap: ChannelSwap = None
    image_dims: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="Resize to this before the crop of the net's size is cut out (256,256 is "
            "common); the net's own size if nothing is said.",
            rich_help_panel=OWN,
        ),
    ] = None

    @property
    def files(self) -> tuple[Path, Path] | None:
        """The net's and the weights' files, where they are said."""
        return None if self.net is None or self.weights is None else (self.net, self.weights)

    def check(self, model: str | None = None, **others: object) -> None:
        """Check that the options go together.

        Parameters
        ----------
        model : str, optional
            What --model says.
        **others : object
            The values of other options that go with --net, by their names.
        """
        own = {field.name: getattr(self, field.name) for field in fields(OwnNet)} | others
        del own["net"]
        given = ", ".join(
            f"--{name.replace('_', '-')}" for name, value in own.items() if value is not None
        )
        if self.net is None and given:
            raise typer.BadParameter(f"{given}: only with --net; models of the zoo know theirs")
        if self.net is not None and (model is not None or self.weights is None):
            raise typer.BadParameter("--net goes with --weights, and not with --model")

    def classifier(self) -> Classifier:
        """The net as a classifier, as these options set it up.

        Where standard error is a terminal, what was taken without being said is told there.
        """
        from ..classifier import Classifier

        assert self.files is not None
        recipe = own_recipe(
            self.mean, self.raw_scale, self.input_scale, self.channel_swap, self.image_dims
        )
        classifier = Classifier(*self.files)
        if classifier.recipe.channels == 1:
            recipe = recipe.changed("a net of one channel", channel_swap=None)
        classifier.recipe = recipe
        if sys.stderr.isatty():
            tell_recipe(classifier.recipe)
        return classifier


@dataclass(frozen=True)
class AnyClassifier(OwnNet):
    """The options by which a command line names a classifier: one of the zoo, or an own net."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model that `caffe zoo` lists; efficientnet_lite0 if nothing is said.",
            autocompletion=completion.models,
        ),
    ] = None

    def load(self) -> tuple[Classifier, list[str] | None]:
        """The classifier, fetched if need be, and the names of its classes where it knows them."""
        if self.files is not None:
            return self.classifier(), None
        of_zoo = zoo_classifier(self.model)
        return of_zoo, of_zoo.labels

    def frozen(self) -> tuple[ModelFiles, PictureRecipe, list[str] | None]:
        """What other processes make the classifier of: files, recipe, names of classes."""
        from .. import zoo

        classifier, names = self.load()
        return model_files(self.files, self.model or zoo.DEFAULT), classifier.recipe, names


def model_files(own: tuple[Path, Path] | None, name: str) -> ModelFiles:
    """The files of a person's own net or, where there is none, of a model of the zoo."""
    from .. import zoo
    from ..bulk.model_files import ModelFiles

    net: Path | None
    weights: Path | None
    if own is None:
        files = zoo.fetch(zoo.record(name).name, quiet=True)
        net, weights = files.net, files.weights
        assert net is not None
        assert weights is not None
    else:
        net, weights = own
    return ModelFiles(str(net.absolute()), str(weights.absolute()))


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


def own_recipe(
    mean: str | None,
    raw_scale: float | None = None,
    input_scale: float | None = None,
    channel_swap: str | None = None,
    image_dims: str | None = None,
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
