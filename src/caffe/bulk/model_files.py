"""A model's files, as they go to other processes and machines."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import MissingFileError


@dataclass(frozen=True)
class ModelFiles:
    """A net's text and its weights.

    Attributes
    ----------
    net, weights : str
        Their paths here.
    contents : (bytes, bytes) or None
        What they hold, for machines that have no such files; see `packed`.
    """

    net: str
    weights: str
    contents: tuple[bytes, bytes] | None = None

    def packed(self) -> ModelFiles:
        """Return a record that holds the files' contents; it can be pickled and sent anywhere.

        Raises
        ------
        MissingFileError
            There is no such file.
        """
        return replace(self, contents=(_content(self.net), _content(self.weights)))

    def facts(self) -> dict[str, str]:
        """Return the files' SHA-256 by what they are, which tell one model from another."""
        names = ("net", "weights")
        contents = self.contents or (_content(self.net), _content(self.weights))
        return {
            name: hashlib.sha256(content).hexdigest()
            for name, content in zip(names, contents, strict=True)
        }

    @contextmanager
    def at_hand(self) -> Iterator[tuple[str, str]]:
        """Yield paths of the net and the weights that hold while the block runs."""
        if self.contents is None:
            yield self.net, self.weights
            return
        with tempfile.TemporaryDirectory(prefix="recaffe-") as folder:
            paths: list[str] = []
            # The ending tells HDF5 and others apart.
            for name, content in zip((self.net, self.weights), self.contents, strict=True):
                path = Path(folder, f"{len(paths)}-{os.path.basename(name)}")
                path.write_bytes(content)
                paths.append(str(path))
            yield paths[0], paths[1]


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError("no such file", path) from error
