"""A mixture e-process: bets on several alternatives, placed at several times, added up.

For a null hypothesis under which every factor S has expectation at most 1 given the past, the total worth is an
e-process: the chance that it ever reaches 1/α is at most α (Ville's inequality), however often one looks. State per
alternative r: M_r ← (M_r + w)·S_r, where w is the mass released before S is seen; the value is the mean of the M_r plus
the mass not yet released. Bets placed later are what sees a release that turns bad after hours of health.
Source: Howard, Ramdas et al. on e-processes; `docs/judge.md` has the derivation and the measured figures.
"""

from dataclasses import dataclass
from math import exp

NO_CAP = 600.0
"""Far beyond any decision, and still a finite number."""

MOST = 1e300
"""No worth beyond this: it is decided long before, and must not become infinite."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Bets on several alternatives.

    Attributes:
        worth: one number an alternative, 0 or more; empty before the first bet.
        rest: mass that is not yet placed, 0 to 1.
    """

    worth: tuple[float, ...] = ()
    rest: float = 1.0

    @property
    def value(self) -> float:
        """The e-value: evidence against the null hypothesis; 1 at the start."""
        return (sum(self.worth) / len(self.worth) if self.worth else 0.0) + self.rest

    def after(self, mass: float, logs: list[float], phi: float = 1.0, cap: float = NO_CAP) -> "Mixture":
        """Place some mass, then multiply by what was seen.

        Args:
            mass: to be placed before this observation, at most what is left; must not depend on the observation.
            logs: one an alternative: logarithm of a factor with expectation at most 1 under the null hypothesis.
            phi: dispersion by which the logarithms are divided, 1 or more.
            cap: no logarithm counts for more than this.
        """
        placed = min(mass, self.rest)
        part = 1.0 / phi
        if max(logs) * part > cap:
            logs = [min(value, cap * phi) for value in logs]
        if self.worth:
            moved = [(worth + placed) * exp(value * part) for worth, value in zip(self.worth, logs, strict=True)]
        else:
            moved = [placed * exp(value * part) for value in logs]
        if max(moved) > MOST:
            moved = [min(worth, MOST) for worth in moved]
        return Mixture(tuple(moved), self.rest - placed)
