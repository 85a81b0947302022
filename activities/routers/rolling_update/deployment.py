"""How a Deployment rolls: kubectl's rule for done, its deadline, and its ReplicaSets.

Two things are stricter than `kubectl rollout status`. Besides the Deployment's own status, which is a sum, every other
ReplicaSet must say that it has no pod left. And the way back does not wait for pods that were not available before
either: 0 % is in force as soon as no pod of the candidate is left.
"""

from activities.kubernetes import Json
from activities.routers.rolling_update.pods import unix, worst
from activities.routers.rolling_update.templates import POD_HASH, same, template_of
from activities.routers.rolling_update.workload import (
    Progress,
    Seen,
    count,
    is_paused,
    observed,
    replicas,
    standstill,
)

_NO_DEADLINE = 2**31 - 1  # how Kubernetes spells it


def objection(found: Json) -> str | None:
    """Why no roll can begin; None if one can."""
    if (found["spec"].get("strategy") or {}).get("type") == "Recreate":
        return (
            "its strategy is Recreate: all old pods end before a new one starts, which is downtime; use RollingUpdate"
        )
    if is_paused(found):
        return "it is paused: `kubectl rollout resume` it first"
    return None


def set_of(seen: Seen, template: Json) -> Json | None:
    """The ReplicaSet of a template; None if there is none (yet).

    Not by the revision: a paused Deployment still has that of the template before.
    """
    fitting = [each for each in seen.sets if same(template_of(each), template)]
    return max(fitting, key=_revision, default=None)


def hash_of(replica_set: Json | None) -> str | None:
    """What the pods of a ReplicaSet are labelled with."""
    if replica_set is None:
        return None
    told: str | None = (replica_set["metadata"].get("labels") or {}).get(POD_HASH)
    return told


def progress(seen: Seen, *, rising: bool, since: float, now: float) -> Progress:
    """How far the pods are.

    Args:
        seen: the look.
        rising: towards the candidate; False: on the way back, or nobody's.
        since: of the last write, Unix seconds.
        now: Unix seconds.
    """
    arrived = _arrived(seen, rising=rising)
    failed = None if arrived or not rising else _failed(seen, since, now)
    return Progress(arrived, _words(seen, rising=rising), failed)


def _arrived(seen: Seen, *, rising: bool) -> bool:
    found, wanted = seen.found, replicas(seen.found)
    updated, available = count(found, "updatedReplicas"), count(found, "availableReplicas")
    if not observed(found) or (updated == 0 and wanted > 0):  # a paused one does not tell what is updated
        return False
    if count(found, "replicas") != updated or any(_has_pods(each) for each in _others(seen)):
        return False
    if rising:
        return updated >= wanted and available >= updated
    return available > 0 or wanted == 0


def _others(seen: Seen) -> list[Json]:
    current = set_of(seen, template_of(seen.found))
    return [each for each in seen.sets if each is not current]


def _has_pods(replica_set: Json) -> bool:
    """Whether a ReplicaSet has, wants, or may be about to make pods."""
    return replicas(replica_set) > 0 or count(replica_set, "replicas") > 0 or not observed(replica_set)


def _failed(seen: Seen, since: float, now: float) -> str | None:
    if is_paused(seen.found) or not observed(seen.found):
        return None
    told, reason = _condition(seen.found, "Progressing"), None
    is_over = told.get("reason") == "ProgressDeadlineExceeded"
    if is_over and unix(told.get("lastUpdateTime")) >= since:
        reason = str(told.get("message") or "its progress deadline is exceeded")
    elif is_over or seen.found["spec"].get("progressDeadlineSeconds", _NO_DEADLINE) == _NO_DEADLINE:
        # The controller does not set a condition anew that is there from another template.
        reason = standstill(_pods(seen), since, now)
    return "; ".join(filter(None, (reason, worst(_pods(seen))))) if reason else None


def _words(seen: Seen, *, rising: bool) -> str:
    if not observed(seen.found):
        return "its controller has not seen the change yet"
    rule = (seen.found["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    current = set_of(seen, template_of(seen.found))
    available, left = count(current or {}, "availableReplicas"), sum(count(each, "replicas") for each in _others(seen))
    here, others = ("new", "the old") if rising else ("as before", "the others")
    told = (
        f"{available} of {replicas(seen.found)} pods are {here} and available, {left} of {others} remain "
        f"(maxSurge {rule.get('maxSurge')}, maxUnavailable {rule.get('maxUnavailable')})"
    )
    refused = _condition(seen.found, "ReplicaFailure")
    trouble = str(refused.get("message")) if refused.get("status") == "True" else worst(_pods(seen))
    return ("paused: " if is_paused(seen.found) else "") + "; ".join(filter(None, (told, trouble)))


def _pods(seen: Seen) -> list[Json]:
    """Pods of the present template."""
    wanted = hash_of(set_of(seen, template_of(seen.found)))
    return [pod for pod in seen.pods if wanted and (pod["metadata"].get("labels") or {}).get(POD_HASH) == wanted]


def _condition(found: Json, kind: str) -> Json:
    conditions = (found.get("status") or {}).get("conditions") or []
    told: Json = next((each for each in conditions if each["type"] == kind), {})
    return told


def _revision(replica_set: Json) -> int:
    """Two ReplicaSets of one template are rare (a collision of hashes); then the controller takes the newest."""
    return int((replica_set["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision") or 0)
