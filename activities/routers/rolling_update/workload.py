"""What Deployments and StatefulSets have in common, and what is read of one at a look."""

from typing import NamedTuple

from activities.kubernetes import Json
from activities.routers.rolling_update.pods import changed, is_ending, is_ready

STANDSTILL_S = 600.0
"""Without a newly ready pod for so long, a roll has failed where Kubernetes has no deadline: a Deployment's default."""


class Seen(NamedTuple):
    """One look at a workload.

    Attributes:
        found: the Deployment or StatefulSet.
        sets: a Deployment's ReplicaSets.
        pods: its pods, if they were asked for.
    """

    found: Json
    sets: list[Json]
    pods: list[Json]


class Progress(NamedTuple):
    """How far the pods are on the way to what the template says.

    Attributes:
        arrived: whether they are there, and the status that says so is not older than the template.
        words: how far, for people; also when they are there.
        failed: why they will never be.
    """

    arrived: bool
    words: str
    failed: str | None = None


def observed(found: Json) -> bool:
    """Whether the status is that of what is written; until then it tells of what was there before."""
    return count(found, "observedGeneration") >= int(found["metadata"].get("generation", 0))


def count(found: Json, name: str) -> int:
    """A number of the status; the API leaves zeros out."""
    return int((found.get("status") or {}).get(name) or 0)


def replicas(found: Json) -> int:
    """How many pods are wanted."""
    wanted = found["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def is_paused(found: Json) -> bool:
    """Whether a Deployment is paused."""
    return bool(found["spec"].get("paused"))


def is_under_way(found: Json) -> bool:
    """Whether there are pods of two templates; unready ones are no rollout: a fix must be able to replace them."""
    return not observed(found) or count(found, "updatedReplicas") != count(found, "replicas")


def standstill(pods: list[Json], since: float, now: float) -> str | None:
    """Why new pods will not come any more, by our own clock; None if there is hope.

    Args:
        pods: of the candidate.
        since: of the write, Unix seconds.
        now: Unix seconds.
    """
    if all(is_ready(pod) or is_ending(pod) for pod in pods):
        return None  # what keeps the roll is not the candidate
    idle_s = now - max([since, *(changed(pod) for pod in pods)])
    return f"no new pod has become ready for {idle_s:.0f} s" if idle_s > STANDSTILL_S else None
