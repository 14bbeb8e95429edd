"""The loss that is shown: the mean of the last few."""

from __future__ import annotations

from typing import Any


class SmoothedLoss:
    """The mean of the last few losses.

    Parameters
    ----------
    count : int
        How many.

    Attributes
    ----------
    value : float
        The mean.
    """

    def __init__(self, count: int) -> None:
        self._count = max(1, count)
        self.restart()

    def restart(self) -> None:
        """Forget them."""
        self._losses: list[float] = []
        self._added = 0
        self.value = 0.0

    def add(self, loss: float) -> None:
        """Take in the newest."""
        if len(self._losses) < self._count:
            self._losses.append(loss)
            size = len(self._losses)
            self.value = (self.value * (size - 1) + loss) / size
        else:
            place = self._added % self._count
            self.value += (loss - self._losses[place]) / self._count
            self._losses[place] = loss
        self._added += 1

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, in JSON's types."""
        return {"losses": list(self._losses), "added": self._added, "value": self.value}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was returned."""
        self._losses = [float(loss) for loss in state["losses"]][-self._count :]
        self._added, self.value = int(state["added"]), float(state["value"])
