"""How each gate that counts is judged in a stage: the spec's words, the plan's facts and the schedule, as one `Test`.

Apart from `plan.py` because the budget runs through the whole rollout: a gate's test in one stage depends on which
other stages watch it and which other gates share α.
"""

from datetime import timedelta

from rollout.gates import CountingGate
from rollout.judge.evidence import Test
from rollout.judge.merge import Schedule, alpha_of, schedule, shares, test_for
from rollout.plan import Judged, Plan, PlannedStage
from rollout.spec import RolloutSpec


def tests(spec: RolloutSpec, plan: Plan, index: int) -> dict[str, Test]:
    """The tests of the gates that count and are watched in a stage, by gate name.

    Args:
        spec: what was asked for.
        plan: what preflight made of it.
        index: number of the stage.
    """
    return {
        name: test_of(spec, plan.stages, name, index, plan.judged.get(name, Judged()).phi)
        for name in plan.stages[index].gates
        if isinstance(spec.gates[name], CountingGate)
    }


def test_of(spec: RolloutSpec, stages: tuple[PlannedStage, ...], name: str, index: int, phi: float) -> Test:
    """The test of one gate in one stage.

    Raises:
        TypeError: the gate does not count.
    """
    gate = spec.gates[name]
    if not isinstance(gate, CountingGate):
        msg = f"gate {name} is a {gate.kind}: it has no test"
        raise TypeError(msg)
    placed = schedule_of(stages, name)
    return test_for(
        gate,
        alpha=shares(spec.gates)[name] * alpha_of(gate, spec.policy.false_rollback),
        phi=phi,
        stage=index,
        start=placed.starts[watched_in(stages, name).index(index)],
        schedule=placed,
    )


def watched_in(stages: tuple[PlannedStage, ...], name: str) -> tuple[int, ...]:
    """Numbers of the stages that watch a gate."""
    return tuple(index for index, stage in enumerate(stages) if name in stage.gates)


def schedule_of(stages: tuple[PlannedStage, ...], name: str) -> Schedule:
    """When a gate's bets are placed."""
    bakes = [stages[index].bake for index in watched_in(stages, name)]
    return schedule([round(bake / timedelta(milliseconds=1)) for bake in bakes])
