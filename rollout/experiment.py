"""What an experiment has shown: the effect on each metric that counts, and whether its users fell as they should.

An experiment keeps its split until its horizon is over and promotes nothing by itself: this is the report that a person
decides by. It is true whenever it is looked at (`judge/effect.py`), also before the horizon.
"""

from rollout.gates import CountingGate, ProportionGate
from rollout.judge.effect import Effect, effect
from rollout.judge.sample_ratio import SampleRatio, sample_ratio
from rollout.judge.verdict import GateState
from rollout.plan import Judged, Plan
from rollout.spec import RolloutSpec
from rollout.strategies import FlagStrategy


def is_one(spec: RolloutSpec) -> bool:
    """Whether a rollout is an experiment."""
    return isinstance(spec.strategy, FlagStrategy) and spec.strategy.experiment


def effects(spec: RolloutSpec, plan: Plan, gates: dict[str, GateState]) -> tuple[Effect, ...]:
    """The effect on each metric that counts, in the spec's order; nothing if this is no experiment."""
    if not is_one(spec):
        return ()
    share = plan.stages[0].percent / 100
    found = []
    for name, gate in spec.gates.items():
        evidence = gates[name].evidence if name in gates else None
        if isinstance(gate, CountingGate) and evidence is not None:
            phi = plan.judged.get(name, Judged()).phi
            counted = _counted(spec, name)
            found.append(effect(evidence.total, name=name, share=share, bad=gate.bad, phi=phi, counted=counted))
    return tuple(found)


def ratio(spec: RolloutSpec, plan: Plan, gates: dict[str, GateState], uneven: str | None = None) -> SampleRatio | None:
    """How the users fell to the two sides; None if the spec does not say what counts them.

    Args:
        spec: what was asked for.
        plan: its stages.
        gates: what the gates know.
        uneven: what was wrong with it once: then it stays wrong, whatever came later.
    """
    users = spec.strategy.users if isinstance(spec.strategy, FlagStrategy) else None
    evidence = gates[users].evidence if users in gates else None
    if users is None or evidence is None:
        return None
    found = sample_ratio(evidence.total.n_c, evidence.total.n_b, plan.stages[0].percent / 100)
    return found.model_copy(update={"once_wrong": uneven})


def _counted(spec: RolloutSpec, name: str) -> str:
    if isinstance(spec.strategy, FlagStrategy) and spec.strategy.users == name:
        return "users"
    return "sessions" if isinstance(spec.gates[name], ProportionGate) else "requests"
