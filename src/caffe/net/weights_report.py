"""Which layers have their values from files of weights, and which have not."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from ..errors import CaffeWarning, did_you_mean


@dataclass
class WeightsReport:
    """What became of a net's parameters when weights were read.

    Fine-tuning fails in silence where a layer's name differs by a letter: the layer keeps what
    its filler gave it, and the file's is passed over.

    Attributes
    ----------
    sources : dict of str to str
        For each layer that has parameters, in the net's order, the file that they are from; ""
        for one that keeps its own.
    unused : dict of str to list of str
        For each file its layers with parameters that the net has not.

    Examples
    --------
    >>> report = WeightsReport({"conv1": "a.caffemodel", "fc8x": ""}, {"a.caffemodel": ["fc8"]})
    >>> print(report)
    a.caffemodel: 1 layer taken
      conv1
    not in any file, so that their own values stay: 1 layer
      fc8x (did you mean 'fc8'?)
    a.caffemodel: 1 layer not used, since the net has none of that name
      fc8
    """

    sources: dict[str, str]
    unused: dict[str, list[str]]

    @property
    def missing(self) -> list[str]:
        """The layers whose parameters are from no file."""
        return [name for name, path in self.sources.items() if not path]

    def taken(self, path: str) -> list[str]:
        """Return the layers whose parameters are from this file."""
        return [name for name, source in self.sources.items() if source == path]

    def followed_by(self, later: WeightsReport) -> WeightsReport:
        """Return what both tell together; what the later files hold has replaced the rest."""
        sources = {name: later.sources[name] or path for name, path in self.sources.items()}
        return WeightsReport(sources, self.unused | later.unused)

    def warn_of_nothing(self) -> None:
        """Warn where files hold nothing for the net.

        Warns
        -----
        CaffeWarning
            No layer's parameters are from them.
        """
        if self.sources and not any(self.sources.values()):
            warnings.warn(
                f"{', '.join(self.unused)}: no layer of the net is in the file, so that nothing "
                "was taken: are the weights of another net?",
                CaffeWarning,
                stacklevel=5,
            )

    def __str__(self) -> str:
        lines: list[str] = []
        for path in self.unused:
            lines += _paragraph(f"{path}: {{}} taken", self.taken(path))
        passed = [name for names in self.unused.values() for name in names]
        hints = ((name, did_you_mean(name, passed)) for name in self.missing)
        missing = [f"{name} ({hint})" if hint else name for name, hint in hints]
        lines += _paragraph("not in any file, so that their own values stay: {}", missing)
        for path, names in self.unused.items():
            what = f"{path}: {{}} not used, since the net has none of that name"
            lines += _paragraph(what, names)
        return "\n".join(lines)


def _paragraph(head: str, names: list[str]) -> list[str]:
    if not names:
        return []
    count = f"{len(names)} layer{'s' * (len(names) != 1)}"
    return [head.format(count), *(f"  {name}" for name in names)]
