"""Who of two runs operations in less time: found out in turns, by the net's own runs.

The rival begins, since how long the champion takes is known from before; where runs take long and
they are far apart that is enough, and PyTorch need not pack its weights once more. A turn is two
runs, of which the second counts: the first finds the other's values in the caches. A run during
which others wanted the CPUs counts only where there is no better one: who waits for other threads
by turning is hurt more by them than who sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TURN = 2
"""How many runs a turn has; the last one counts."""

FEWEST, ROUNDS, MOST_ROUNDS = 2, 3, 10
"""How many turns both have: where it is close and takes long, else, and where they are quick."""

LAST_ROUND = 20
"""After how many it is over, however many runs others were in the way of."""

CLOSE, HOPELESS = 1.15, 1.5
"""By how many times one must be slower for the usual turns to be enough, and for it to be plain."""

BRIEF, SHORT, QUICK, LONG = 0.1, 0.5, 1.0, 4.0
"""How many seconds the runs must have taken where it is plain, where it is not, and where it is
close: whatever else runs for a moment may pass; and after how many it is over, however close."""


@dataclass
class _Times:
    """How long one of them took, in seconds: runs that count, and `quiet` first ones among them."""

    counted: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    quiet: list[float] = field(default_factory=list)
    turns: int = 0

    @property
    def best(self) -> list[float]:
        return self.counted or self.disturbed


class Contest:
    """The turns of a champion and a rival.

    Parameters
    ----------
    known : float, optional
        How many seconds the champion took before, undisturbed.

    Attributes
    ----------
    is_rivals_turn : bool
        Whose turn it is.
    is_over : bool
        Whether it is known who is quicker, or would take too long to know.
    seconds : float
        How long all runs took, together.
    """

    def __init__(self, known: float | None = None) -> None:
        self._known = known
        self._runs = 0
        self._champions, self._rivals = _Times(), _Times()
        self.is_rivals_turn = True
        self.is_over = False
        self.seconds = 0.0

    def note(self, seconds: float, is_disturbed: bool) -> None:
        """Note how long a run took of whose turn it is.

        Parameters
        ----------
        seconds : float
            How long.
        is_disturbed : bool
            Whether others wanted the CPUs meanwhile.
        """
        times = self._rivals if self.is_rivals_turn else self._champions
        self._runs += 1
        self.seconds += seconds
        if not is_disturbed:
            times.quiet.append(seconds)
        if self._runs % TURN == 0:
            times.turns += 1
            (times.disturbed if is_disturbed else times.counted).append(seconds)
            self.is_over = self._is_known()
            self.is_rivals_turn = not self.is_rivals_turn or self._goes_on

    @property
    def champion(self) -> float:
        """How long the champion takes."""
        return min(self._champions.best, default=self._known or 0.0)

    @property
    def rival(self) -> float:
        """How long the rival takes."""
        return min(self._rivals.best)

    @property
    def is_sure(self) -> bool:
        """Whether both have run undisturbed."""
        champions = self._champions.counted or self._known
        return bool(champions and self._rivals.counted)

    def _is_known(self) -> bool:
        """Whether it is known who is quicker, or would take too long to know."""
        rounds = self._champions.turns
        apart = self._apart if self.is_sure else 1.0
        quiet = min(len(times.counted) for times in (self._champions, self._rivals))
        if apart >= HOPELESS and (quiet >= ROUNDS or self.seconds >= BRIEF):
            return True
        if rounds == 0:
            is_enough = self.seconds >= QUICK or (self._takes_long and self._rivals.turns >= ROUNDS)
            return apart >= CLOSE and is_enough
        if self.is_rivals_turn:
            return False
        if rounds >= LAST_ROUND or (rounds >= FEWEST and self.seconds >= LONG):
            return True
        if apart >= CLOSE and self.seconds >= QUICK:
            return True
        enough = SHORT if apart >= CLOSE else QUICK
        return quiet >= MOST_ROUNDS or (quiet >= ROUNDS and self.seconds >= enough)

    @property
    def _goes_on(self) -> bool:
        """Whether the rival has another turn at once."""
        is_alone = self._champions.turns == 0 and self._rivals.turns < ROUNDS
        return is_alone and self._takes_long and self.is_sure and self._apart >= CLOSE

    @property
    def _takes_long(self) -> bool:
        return self.seconds >= BRIEF * (self._rivals.turns + self._champions.turns)

    @property
    def _apart(self) -> float:
        """By how many times one is slower; by all runs, since a slow one makes nothing plain."""
        rival, champion = min(self._rivals.quiet), min(self._champions.quiet or [self.champion])
        return max(rival / champion, champion / rival)
