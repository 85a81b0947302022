"""A Deployment as Sluice counts it, and why its pods are not ready: from the API's JSON, nothing asked."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from activities.kubernetes import Json, Mark, mark_of

_TOLERATED = "25%"  # what Kubernetes takes where a Deployment does not say `maxUnavailable`


class Pods(NamedTuple):
    """One Deployment.

    Attributes:
        name: of the Deployment.
        found: as the API has it; None if there is none.
        wanted: pods that it shall have.
        running: pods that it has, those not counted that are ending.
        ready: pods that are ready; 0 as long as the status is of an older generation, and nobody knows.
        observed: whether the status is of this generation.
        mark: what the last write left on it.
    """

    name: str
    found: Json | None
    wanted: int
    running: int
    ready: int
    observed: bool
    mark: Mark

    @property
    def arrived(self) -> bool:
        """Whether it has exactly the pods that it shall have, all of them ready."""
        return self.observed and self.running == self.wanted == self.ready

    @property
    def empty(self) -> bool:
        """Whether it has no pods and shall have none."""
        return self.observed and self.running == self.wanted == 0

    @property
    def failing(self) -> str | None:
        """Why it does not get its pods, in the words of its conditions."""
        for each in self._status.get("conditions") or []:
            failed = {"Progressing": "False", "ReplicaFailure": "True"}.get(each.get("type"))
            if failed is not None and each.get("status") == failed:
                return f"Deployment {self.name} fails: {each.get('reason')} ({each.get('message')})"
        return None

    @property
    def rolling(self) -> str | None:
        """That its pods are being replaced by those of another template."""
        left = self.running - int(self._status.get("updatedReplicas") or 0)
        return f"Deployment {self.name} is being rolled out: {left} of its pods are old ones" if left > 0 else None

    @property
    def _status(self) -> Json:
        return (self.found or {}).get("status") or {}

    def tolerates(self, total: int) -> int:
        """How many of so many pods may be missing while its own rolling update goes on: its `maxUnavailable`."""
        strategy = ((self.found or {}).get("spec") or {}).get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return 0
        told = str((strategy.get("rollingUpdate") or {}).get("maxUnavailable", _TOLERATED))
        return total * int(told[:-1]) // 100 if told.endswith("%") else min(int(told), total)


def pods(name: str, found: Json | None) -> Pods:
    """Count a Deployment; one that is not there has no pods."""
    if found is None:
        return Pods(name, None, wanted=0, running=0, ready=0, observed=True, mark=Mark())
    status = found.get("status") or {}
    observed = int(status.get("observedGeneration") or 0) >= found["metadata"]["generation"]
    return Pods(
        name,
        found,
        wanted=int(found["spec"].get("replicas", 1)),
        running=int(status.get("replicas") or 0),
        ready=int(status.get("readyReplicas") or 0) if observed else 0,
        observed=observed,
        mark=mark_of(found),
    )


def complaints(every: Iterable[Json]) -> str:
    """Why pods are not ready, as the end of a sentence: ` (2 × CrashLoopBackOff)`; empty if they do not say."""
    told = Counter(reason for each in every if (reason := _complaint(each)))
    return f" ({', '.join(f'{count} × {reason}' for reason, count in sorted(told.items()))})" if told else ""


def _complaint(pod: Json) -> str | None:
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return None
    for each in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        reason = ((each.get("state") or {}).get("waiting") or {}).get("reason")
        if reason not in {None, "ContainerCreating", "PodInitializing"}:
            return str(reason)
    conditions = status.get("conditions") or []
    unplaced = (each for each in conditions if each.get("type") == "PodScheduled" and each.get("status") == "False")
    return next((str(each.get("reason")) for each in unplaced), None)
