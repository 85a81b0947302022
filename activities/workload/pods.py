"""Why pods are not ready, as their kubelets and the scheduler say it; for the sentence that somebody reads at night.

A Deployment tells it only of a new template, and late: one that was complete before and is scaled up says nothing.
"""

from activities.kubernetes import Json

_LONGEST = 160


def selector(found: Json) -> str:
    """The label selector of a Deployment, as a query takes it: `app=checkout,version in (a,b)`."""
    chosen = (found.get("spec") or {}).get("selector") or {}
    words = [f"{key}={value}" for key, value in (chosen.get("matchLabels") or {}).items()]
    return ",".join((*words, *(_expression(each) for each in chosen.get("matchExpressions") or [])))


def why(pods: list[Json]) -> str:
    """What is wrong with the pods that are not ready; empty if nothing is said."""
    told = [said for pod in pods if not _is_leaving(pod) and (said := _trouble(pod))]
    if not told:
        return ""
    often = max(dict.fromkeys(told), key=told.count)
    words = " ".join(often.split()).rstrip(".")
    return f"{told.count(often)} of {len(pods)} pods: {words[:_LONGEST]}{'…' * (len(words) > _LONGEST)}"


def _expression(each: Json) -> str:
    key, values = str(each["key"]), ",".join(each.get("values") or [])
    known = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key, "DoesNotExist": f"!{key}"}
    return known[str(each["operator"])]


def _is_leaving(pod: Json) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _trouble(pod: Json) -> str:
    """`ImagePullBackOff: …`, `CrashLoopBackOff`, `Unschedulable: 0/3 nodes …`; empty if it only needs its time."""
    status = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
            return _said(waiting)
    for condition in status.get("conditions") or []:
        if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
            return _said(condition)
    return ""


def _said(each: Json) -> str:
    return ": ".join(str(each[key]) for key in ("reason", "message") if each.get(key))
