"""Deployments, autoscalers and disruption budgets as the workload adapter looks at them: pure functions over JSON.

A Deployment's status lags behind its spec, by up to seconds. So pods count only if the controller has seen the newest
spec, and pods of an older template do not count at all.
"""

import math

from activities.kubernetes import Json, gitops, mark_of, suspects
from rollout.base import Told, percent_text

OVERLOAD = 1.25  # what a pod may carry for a while, of its share: 9 of 10 carry everything, 1 of 2 does not
PODS, WHOLE, AGAIN = "pods", "whole", "again"  # what the mark remembers besides


class Pods(Told):
    """The pods of one Deployment.

    Attributes:
        name: of the Deployment.
        desired: replicas that it shall have.
        ready: ready pods, whatever their template.
        usable: pods of the newest template that have been ready for `minReadySeconds`, no more than desired; 0 while
            the controller has not seen the newest spec.
        waits_for: why pods may not be there yet, in words; empty if nothing is known.
    """

    name: str
    desired: int
    ready: int
    usable: int
    waits_for: str = ""


class Autoscaler(Told):
    """Who decides the replicas of a Deployment.

    Attributes:
        name: of the HorizontalPodAutoscaler.
        least: replicas that it never goes below.
        most: replicas that it never goes above.
    """

    name: str
    least: int
    most: int

    def __str__(self) -> str:
        """`HorizontalPodAutoscaler checkout (1 to 5)`."""
        return f"HorizontalPodAutoscaler {self.name} ({self.least} to {self.most})"


def pods(found: Json) -> Pods:
    """The pods of a Deployment."""
    status = found.get("status") or {}
    seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
    every, updated = status.get("replicas") or 0, status.get("updatedReplicas") or 0
    available = status.get("availableReplicas") or 0
    return Pods(
        name=found["metadata"]["name"],
        desired=replicas(found),
        ready=status.get("readyReplicas") or 0,
        # Which of them are ready is not told: the old ones are taken to be, until there are none.
        usable=max(0, min(available - (every - updated), replicas(found))) if seen else 0,
        waits_for=_waits_for(found, seen=seen, old=every - updated),
    )


def replicas(found: Json) -> int:
    """Replicas that a Deployment shall have."""
    wanted = (found.get("spec") or {}).get("replicas")
    return 1 if wanted is None else int(wanted)


def needed(percent: float, whole: int, spare: float) -> int:
    """Pods that the candidate needs for a percent: its share, rounded up, and at least 1.

    Args:
        percent: for the candidate, 0 to 100.
        whole: pods that all the traffic needs.
        spare: pods beyond the share, percent.
    """
    share = whole * percent / 100 * (1 + spare / 100)
    return max(1, math.ceil(round(share, 9)))  # 8.8 % of 375 is 33, in binary a little more


def remembered(found: Json, key: str) -> int:
    """A number that the last mark keeps; 0 if there is none."""
    kept = mark_of(found).more.get(key, 0)
    return kept if isinstance(kept, int) else 0


def carried(ready: int, whole: int) -> float:
    """Percent of all traffic that so many pods can carry, rounded down to 0.01.

    Args:
        ready: pods that are there.
        whole: pods that all the traffic needs.
    """
    if ready <= 0:
        return 0
    return min(100.0, math.floor(10_000 * OVERLOAD * ready / max(whole, 1)) / 100)


def autoscaler(every: list[Json], deployment: str) -> Autoscaler | None:
    """The autoscaler that has a Deployment as its target; None if none has."""
    for each in every:
        spec = each.get("spec") or {}
        target = spec.get("scaleTargetRef") or {}
        if (target.get("kind"), target.get("name")) == ("Deployment", deployment):
            least = spec.get("minReplicas")
            most = int(spec.get("maxReplicas") or 0)
            return Autoscaler(name=each["metadata"]["name"], least=1 if least is None else int(least), most=most)
    return None


def scaled_down(found: Json) -> str | None:
    """That somebody has taken pods away from a candidate since Sluice gave them, in words; None if nobody has."""
    mark, now, given = mark_of(found), replicas(found), remembered(found, PODS)
    if mark.owner is None or now >= given:
        return None
    name = found["metadata"]["name"]
    return f"Deployment {name} has {now} replicas, Sluice wants {given}{suspects(found, 'f:spec', 'f:replicas')}"


def notes(candidate: Json, stable: Json, scalers: list[Json]) -> list[str]:
    """What an operator should know about who else decides."""
    name, other = candidate["metadata"]["name"], stable["metadata"]["name"]
    own, others = autoscaler(scalers, name), autoscaler(scalers, other)
    told = []
    if own:
        told.append(f"{own} decides how many pods {name} has: Sluice waits for them and changes nothing")
    elif tool := gitops(candidate):
        told.append(f"{tool} manages {name}: leave `replicas` out of its manifest, or let it ignore the field")
    if others:
        remedy = "set its minReplicas to what all the traffic needs, or a way back waits for it to grow"
        told.append(f"{others} will shrink {other} as its traffic leaves: {remedy}")
    if others and not own:
        told.append(f"{name} has no autoscaler: it does not grow with the traffic as {other} does")
    if lost := scaled_down(candidate):
        told.append(lost)
    if not replicas(stable):
        told.append(f"{other} shall have no pods at all: how many the traffic needs is unknown")
    return told


def blocked(budgets: list[Json], found: Json) -> list[str]:
    """Disruption budgets that let no pod of a Deployment be evicted now, as notes: nodes cannot be drained."""
    labels = ((found["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    return [
        f"PodDisruptionBudget {each['metadata']['name']} lets no pod of {found['metadata']['name']} be evicted now"
        for each in budgets
        if _selects((each.get("spec") or {}).get("selector"), labels)
        and (each.get("status") or {}).get("expectedPods")
        and not (each.get("status") or {}).get("disruptionsAllowed")
    ]


def too_few(scaler: Autoscaler, percent: float, wants: int) -> str | None:
    """That an autoscaler may not give what a percent needs, in words."""
    if scaler.most < wants:
        return f"{percent_text(percent)} needs {wants} pods, {scaler} may not give so many: raise its maxReplicas"
    return None


def _selects(selector: Json | None, labels: dict[str, str]) -> bool:
    """Whether a label selector selects; an empty one selects everything, none nothing."""
    if selector is None:
        return False
    same = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return same and all(_fits(each, labels) for each in selector.get("matchExpressions") or [])


def _fits(expression: Json, labels: dict[str, str]) -> bool:
    there, values = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return there in values
        case "NotIn":
            return there not in values
        case "Exists":
            return there is not None
        case "DoesNotExist":
            return there is None
    return False  # newer than us


def _waits_for(found: Json, *, seen: bool, old: int) -> str:
    if not seen:
        return "the Deployment controller has not seen its newest spec yet"
    if (found.get("spec") or {}).get("paused"):
        return "it is paused"
    conditions = {each.get("type"): each for each in (found.get("status") or {}).get("conditions") or []}
    failure, progress = conditions.get("ReplicaFailure") or {}, conditions.get("Progressing") or {}
    if failure.get("status") == "True":
        return str(failure.get("message") or failure.get("reason") or "pods cannot be made")
    if progress.get("status") == "False":
        return str(progress.get("message") or progress.get("reason") or "it makes no progress")
    return f"{old} pods of its former template are being replaced" if old > 0 else ""
