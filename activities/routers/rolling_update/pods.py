"""Pods, and what is wrong with them, in the words that an operator would look for."""

from datetime import UTC, datetime
from typing import NamedTuple

from activities.kubernetes import Json

_STARTING = {"ContainerCreating", "PodInitializing"}
CRASHES = 3  # restarts after which a container that crashes is not believed to be waiting for something


class Trouble(NamedTuple):
    """Why a pod is not ready.

    Attributes:
        rank: the lower, the more it says about the version.
        words: for a sentence.
    """

    rank: int
    words: str


def selector_of(found: Json) -> str:
    """A workload's selector as a query spells it."""
    selector = found["spec"].get("selector") or {}
    words = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or []:
        key, values = each["key"], f"({','.join(each.get('values') or [])})"
        match each["operator"]:
            case "In":
                words.append(f"{key} in {values}")
            case "NotIn":
                words.append(f"{key} notin {values}")
            case "Exists":
                words.append(key)
            case _:
                words.append(f"!{key}")
    return ",".join(words)


def owned_by(found: Json, objects: list[Json]) -> list[Json]:
    """Those of some objects that a workload made itself; others may have the same labels."""
    uid = found["metadata"]["uid"]
    return [each for each in objects if any(owner["uid"] == uid for owner in _owners(each))]


def is_ready(pod: Json) -> bool:
    """Whether a pod gets traffic."""
    return _condition(pod, "Ready").get("status") == "True"


def is_ending(pod: Json) -> bool:
    """Whether a pod is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def is_crashing(pod: Json) -> bool:
    """Whether a container of a pod crashes again and again."""
    waiting = [each for each in _statuses(pod) if _waits_for(each) == "CrashLoopBackOff"]
    return any(each.get("restartCount", 0) >= CRASHES for each in waiting)


def changed(pod: Json) -> float:
    """When a pod was made, or became ready, or stopped being so: the latest of these, Unix seconds."""
    made = unix(pod["metadata"].get("creationTimestamp"))
    return max(made, unix(_condition(pod, "Ready").get("lastTransitionTime")))


def worst(pods: list[Json]) -> str | None:
    """What is wrong with the pod that says most: `pod web-1: CrashLoopBackOff: back-off …`; None if all are ready."""
    troubled = [(trouble(pod), pod["metadata"]["name"]) for pod in pods if not is_ready(pod) and not is_ending(pod)]
    if not troubled:
        return None
    told, name = min(troubled)
    return f"pod {name}: {told.words}"


def trouble(pod: Json) -> Trouble:
    """Why a pod is not ready."""
    status = pod.get("status") or {}
    for each in _statuses(pod):
        waiting = (each.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _STARTING:
            return Trouble(0, _said(waiting["reason"], waiting.get("message")))
    for each in _statuses(pod):
        ended = (each.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return Trouble(1, f"container {each['name']} ended with exit code {ended['exitCode']}")
    if status.get("phase") == "Failed":
        return Trouble(2, _said(status.get("reason") or "Failed", status.get("message")))
    if (scheduled := _condition(pod, "PodScheduled")).get("status") == "False":
        return Trouble(3, _said(scheduled.get("reason") or "Unschedulable", scheduled.get("message")))
    message = _condition(pod, "Ready").get("message")
    return Trouble(4, _said("not ready", message))


def unix(text: object) -> float:
    """A time of the API as Unix seconds; 0 if it is none."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return 0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _owners(found: Json) -> list[Json]:
    return found["metadata"].get("ownerReferences") or []


def _statuses(pod: Json) -> list[Json]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _waits_for(status: Json) -> str | None:
    reason: str | None = ((status.get("state") or {}).get("waiting") or {}).get("reason")
    return reason


def _condition(pod: Json, kind: str) -> Json:
    conditions = (pod.get("status") or {}).get("conditions") or []
    found: Json = next((each for each in conditions if each["type"] == kind), {})
    return found


def _said(reason: str, message: str | None) -> str:
    return f"{reason}: {message}" if message else reason
