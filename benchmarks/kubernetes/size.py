"""How much of everything is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Counts and seconds.

    Attributes:
        samples: of each case with single rollouts.
        outage_s: how long each Prometheus stays away.
        rollouts: at once, in the crowd.
        steady_s: how long the crowd is left alone while its cost is taken.
        hands_poll_s: poll of the rollouts that people interfere with; 5 is the default of a spec.
        a_namespace: rollouts of the crowd that share a namespace.
    """

    samples: int = 10
    outage_s: float = 210
    rollouts: int = 200
    steady_s: float = 30
    hands_poll_s: float = 5
    a_namespace: int = 10


QUICK = Size(samples=1, outage_s=8, rollouts=3, steady_s=3, hands_poll_s=1)
