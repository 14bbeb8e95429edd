"""A picture as it stands in a manifest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture: what it is called, and where its bytes are.

    Attributes
    ----------
    key : str
        Its path or address; of one in an archive or a table that one's, "#", and its name there.
    size : int or None
        Its bytes, where that is known.
    etag : str or None
        What changes when it is written anew.
    container : str or None
        The archive or table that it is in.
    offset : int or None
        There, its first byte (archives) or its row (tables).
    """

    key: str
    size: int | None = None
    etag: str | None = None
    container: str | None = None
    offset: int | None = None

    @property
    def is_inside(self) -> bool:
        """Whether its bytes are in the container, and not only its name."""
        return self.container is not None and self.key.startswith(f"{self.container}#")
