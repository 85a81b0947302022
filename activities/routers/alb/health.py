"""Whether a target group can carry its share: counted here, because a load balancer does not care.

It sends a weight's share to an empty group (503), and to one whose targets are all unhealthy (it "fails open"). Groups
that no rule names are not checked at all; their targets are `unused`, which says nothing against them.
"""

import math
from collections import Counter

from activities.aws import AwsClients
from rollout.base import Told, percent_text
from rollout.errors import Misconfigured

_FIT = frozenset({("healthy", ""), ("unavailable", "Target.HealthCheckDisabled")})
_UNCHECKED = ("unused", "Target.NotInUse")
_LASTING_S = 2.0


class Health(Told):
    """Targets of a group.

    Attributes:
        states: state, with its reason where AWS gives one → how many targets.
    """

    states: dict[tuple[str, str], int]

    @property
    def fit(self) -> int:
        """Targets that take traffic."""
        return sum(count for (state, reason), count in self.states.items() if {(state, ""), (state, reason)} & _FIT)

    @property
    def unchecked(self) -> int:
        """Targets whose health AWS does not know, because no rule names their group."""
        return self.states.get(_UNCHECKED, 0)

    @property
    def draining(self) -> int:
        """Targets that were taken out and finish their requests."""
        return sum(count for (state, _), count in self.states.items() if state == "draining")

    def __str__(self) -> str:
        """`2 healthy, 1 unhealthy (Target.ResponseCodeMismatch)`."""
        words = [f"{count} {state}{f' ({reason})' * bool(reason)}" for (state, reason), count in self.states.items()]
        return ", ".join(words) or "no targets at all"


async def health(aws: AwsClients, group: str, *, fresh: bool = False) -> Health:
    """The health of a group's targets, at most two seconds old.

    Args:
        aws: of its connection.
        group: target group's ARN.
        fresh: ask anew.

    Raises:
        SluiceError: AWS's answer, or none.
    """
    within_s = 0 if fresh else min(_LASTING_S, 2 * aws.connection.remember.total_seconds())
    try:
        answer = await aws.recent("elbv2", "describe_target_health", within_s, TargetGroupArn=group)
    except Misconfigured:
        aws.forget("elbv2", lasting=True)  # the group was deleted behind its name
        raise
    told = [each["TargetHealth"] for each in answer.get("TargetHealthDescriptions", [])]
    return Health(states=dict(sorted(Counter((each["State"], each.get("Reason", "")) for each in told).items())))


def lacking(candidate: Health, stable: Health | None, percent: float, min_healthy: int | None) -> str | None:
    """What the candidate lacks to carry its share; None if nothing.

    Args:
        candidate: its targets.
        stable: those that carry the traffic now; None if they are not known.
        percent: the share that is wanted.
        min_healthy: healthy targets wanted, whatever stable has; None for the percent's share of stable's.
    """
    share = math.ceil(round(percent * (stable.fit if stable else 0), 2) / 100)
    needed = min_healthy or max(share, 1)
    if candidate.fit >= needed:
        return None
    return f"{percent_text(percent)} needs {needed} healthy targets, and there are {candidate.fit}: {candidate}"
