"""Gates that tell old pods from new ones by the hashes of their templates, which only the rolling update knows."""

from collections.abc import Mapping
from typing import TypeVar, cast

from rollout.gates.base import AnyGate
from rollout.gates.ceiling import CeilingGate
from rollout.gates.counting import CountingGate, Versions

G = TypeVar("G", bound=AnyGate)


def by_pods(gate: object) -> bool:
    """Whether a gate's series are told apart by hashes that nobody can write into a spec."""
    return isinstance(gate, CountingGate | CeilingGate) and gate.versions.by == "pods"


def with_sides(gate: G, sides: Mapping[str, str]) -> G:
    """The same gate with the hashes in it.

    Args:
        gate: one that is `by_pods`; any other comes back as it is.
        sides: pool → hash; both pools.
    """
    if not isinstance(gate, CountingGate | CeilingGate) or gate.versions.by != "pods":
        return gate
    told = Versions(label=gate.versions.label, candidate=sides["candidate"], stable=sides["stable"])
    return cast("G", gate.model_copy(update={"versions": told}))
