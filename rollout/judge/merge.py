"""One false-alarm budget for the whole rollout: shares, schedules, and the merging of many gates' evidence.

The merged evidence is the weighted mean of the e-values: the only admissible way to merge e-values that may depend on
each other in any manner (Vovk and Wang 2021). It contains the weighted Bonferroni rule and adds weak evidence up; it
does not depend on the order of gates. Gates that roll back and gates that only hold have a budget each. Rules with
`for:` are outside: they have no false-alarm rate that could be promised, so theirs is counted, not controlled.

The schedule says when bets are placed (`mixture.py`): most at the start of each stage, because a release is usually bad
at once, some spread over all of the bakes for what turns bad later. Masses add up to at most 1 over the whole rollout:
evidence is carried from stage to stage, and α is spent once.
"""

from collections.abc import Collection, Mapping, Sequence
from math import fsum
from typing import NamedTuple

from rollout.base import Told
from rollout.gates import AnyGate, CountingGate, ProportionGate
from rollout.judge.evidence import Test

HOLD_ALPHA = 0.05
"""Chance, over the whole rollout, to hold a healthy candidate by gates that only hold."""


class Schedule(NamedTuple):
    """When bets are placed.

    Attributes:
        starts: mass at the start of each stage that watches the gate, in order.
        spread: mass spread over `planned_ms`.
        planned_ms: all of these stages' bakes, milliseconds.
    """

    starts: tuple[float, ...]
    spread: float
    planned_ms: int


class Budget(Told):
    """A false-alarm budget: the chance α, and each gate's share in it, adding up to 1."""

    alpha: float
    shares: dict[str, float]


class Caught(NamedTuple):
    """Merged evidence that has reached its limit.

    Attributes:
        gates: the gates that contribute, most first; the last at least a tenth of the first.
        evidence: the merged e-value.
    """

    gates: tuple[str, ...]
    evidence: float

    @property
    def gate(self) -> str:
        """The gate that contributes most."""
        return self.gates[0]

    @property
    def others(self) -> tuple[str, ...]:
        """The rest."""
        return self.gates[1:]

    def led_by(self, watched: Collection[str]) -> "Caught | None":
        """The same with a watched gate first; None without one: what is not watched now has said nothing new."""
        first = next((name for name in self.gates if name in watched), None)
        if first is None:
            return None
        return Caught((first, *(name for name in self.gates if name != first)), self.evidence)


def schedule(bakes_ms: Sequence[int]) -> Schedule:
    """Masses for the stages that watch a gate.

    Args:
        bakes_ms: their bakes in order, milliseconds; at least one.
    """
    planned = sum(bakes_ms)
    if len(bakes_ms) == 1:
        return Schedule((0.5,), 0.45, planned)
    later = 0.30 / (len(bakes_ms) - 1)
    return Schedule((0.45, *[later] * (len(bakes_ms) - 1)), 0.20, planned)


def shares(gates: Mapping[str, AnyGate]) -> dict[str, float]:
    """Each counting gate's share of the budget of its kind (roll back or hold); each kind's shares add up to 1."""
    counting = {name: gate for name, gate in gates.items() if isinstance(gate, CountingGate)}
    totals = {
        action: fsum(gate.weight for gate in counting.values() if gate.on_breach == action)
        for action in ("rollback", "hold")
    }
    return {name: gate.weight / totals[gate.on_breach] for name, gate in counting.items()}


def alpha_of(gate: AnyGate, false_rollback: float) -> float:
    """The budget that a gate has a share in."""
    return false_rollback if gate.on_breach == "rollback" else HOLD_ALPHA


def test_for(gate: CountingGate, *, alpha: float, phi: float, stage: int, start: float, schedule: Schedule) -> Test:
    """How a gate is judged in a stage.

    Args:
        gate: what the user wrote.
        alpha: its own part of the budget: its share times `alpha_of`.
        phi: dispersion, 1 or more.
        stage: number of the stage.
        start: mass released at its start, out of `schedule.starts`.
        schedule: of all stages that watch the gate.
    """
    return Test(
        kind="odds" if isinstance(gate, ProportionGate) else "whose",
        bad=gate.bad,
        margin=gate.margin,
        proof=gate.proof,
        floor=gate.floor,
        phi=phi,
        alpha=alpha,
        stage=stage,
        start=start,
        spread=schedule.spread,
        planned_ms=schedule.planned_ms,
    )


def merged(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The merged e-value; a gate that has said nothing yet counts as 1.

    Args:
        values: e-values by gate.
        weights: shares of all gates of one budget; they add up to at most 1.
    """
    return sum(weight * values.get(name, 1.0) for name, weight in sorted(weights.items()))


def budgets(gates: Mapping[str, AnyGate], false_rollback: float) -> tuple[Budget, ...]:
    """The budgets that the counting gates of a rollout share; the one to roll back first.

    Args:
        gates: all gates of the rollout, so that shares do not change from stage to stage.
        false_rollback: α of the gates that roll back.
    """
    every = shares(gates)
    found = []
    for action, alpha in (("rollback", false_rollback), ("hold", HOLD_ALPHA)):
        mine = {name: share for name, share in every.items() if gates[name].on_breach == action}
        if mine:
            found.append(Budget(alpha=alpha, shares=mine))
    return tuple(found)


def caught(values: Mapping[str, float], of: Sequence[Budget]) -> Caught | None:
    """Whether the evidence of all gates together suffices.

    Args:
        values: e-values by gate; gates that were acknowledged are left out.
        of: the budgets, in the order in which they count.
    """
    for budget in of:
        parts = {name: share * values[name] for name, share in sorted(budget.shares.items()) if name in values}
        total = merged(values, {name: budget.shares[name] for name in parts})
        if parts and total >= 1 / budget.alpha:
            order = sorted(parts, key=lambda name: -parts[name])
            gates = tuple(name for name in order if parts[name] >= parts[order[0]] / 10)
            return Caught(gates, total)
    return None
