"""How a StatefulSet rolls: pods from `partition` on have the new template, the highest ordinal first.

It has no deadline and no condition that tells of progress, so our own clock is the only one (`workload.STANDSTILL_S`).
And one of its rules is a trap: with `OrderedReady` a pod that never becomes ready stays, and keeps everything, even
when the template is put back; deleting that pod is what frees it (`stuck`).
"""

import math

from activities.kubernetes import Json
from activities.routers.rolling_update.pods import is_crashing, is_ending, is_ready, worst
from activities.routers.rolling_update.workload import Progress, Seen, count, observed, replicas, standstill

REVISION_HASH = "controller-revision-hash"


def objection(found: Json) -> str | None:
    """Why no roll can begin; None if one can."""
    if (found["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return "its updateStrategy is OnDelete: pods are replaced only when somebody deletes them; use RollingUpdate"
    if partition := partition_of(found):
        return f"its partition is {partition}: somebody rolls it by hand; set it to 0 first"
    return None


def pods_for(percent: float, wanted: int) -> int:
    """How many pods a percent is: the next whole one, and only 100 % is all of them.

    Args:
        percent: 0 to 100, of which two decimals count: 66.67 of 3 pods are 2.
        wanted: how many pods there shall be, below 10 000.
    """
    if percent <= 0 or percent >= 100:
        return 0 if percent <= 0 else wanted
    return min(math.ceil(wanted * (percent - 0.005) / 100 - 1e-9), max(wanted - 1, 0))


def share(pods: int, wanted: int) -> float:
    """So many pods as percent."""
    return round(100 * pods / wanted, 2) if wanted else 0


def finest(wanted: int) -> float:
    """The smallest percent above 0: one pod."""
    return math.floor(10_000 / wanted) / 100 if wanted else 100


def partition_of(found: Json) -> int:
    """The first ordinal, counted from the set's first, that gets the new template."""
    rolling = (found["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int(rolling.get("partition") or 0)


def revision_of(found: Json) -> str | None:
    """What pods of the present template are labelled with; None while the controller has not seen it."""
    told: str | None = (found.get("status") or {}).get("updateRevision") if observed(found) else None
    return told


def reached(found: Json, stable: str | None) -> int:
    """How many pods are of the candidate's template.

    Args:
        found: the StatefulSet, with the candidate's template.
        stable: revision of stable's.
    """
    return 0 if revision_of(found) in {None, stable} else count(found, "updatedReplicas")


def progress(seen: Seen, *, percent: float, stable: str | None, paused: bool, since: float, now: float) -> Progress:
    """How far the pods are.

    Args:
        seen: the look.
        percent: on the candidate; 0: on the way back, or nobody's.
        stable: revision of stable's template.
        paused: whether Sluice keeps it where it is.
        since: of the last write, Unix seconds.
        now: Unix seconds.
    """
    if not observed(seen.found):
        return Progress(arrived=False, words="its controller has not seen the change yet")
    if percent <= 0:
        return _way_back(seen)
    found, wanted = seen.found, replicas(seen.found)
    new, ready, asked = reached(found, stable), count(found, "readyReplicas"), pods_for(percent, wanted)
    told = f"{new} of {wanted} pods are new, {asked} shall be, {ready} are ready (partition {partition_of(found)})"
    words = ("paused: " if paused else "") + "; ".join(filter(None, (told, worst(seen.pods))))
    arrived = new == asked and ready == wanted == count(found, "replicas") and (new > 0 or wanted == 0)
    if arrived or paused:
        return Progress(arrived, words)
    return Progress(arrived, words, _failed(_of(seen, revision_of(found)), since, now))


def stuck(found: Json, pods: list[Json]) -> list[Json]:
    """Pods that keep the way back for ever: not ready, and of another template than the present one.

    Args:
        found: the StatefulSet, with stable's template.
        pods: those that it has made.
    """
    present = revision_of(found)
    if present is None or found["spec"].get("podManagementPolicy") == "Parallel":
        return []
    return [pod for pod in pods if _revision(pod) != present and not is_ready(pod) and not is_ending(pod)]


def is_settled(found: Json) -> bool:
    """Whether all pods are of the present template, and ready."""
    whole = count(found, "updatedReplicas") == count(found, "readyReplicas") == count(found, "replicas")
    return observed(found) and whole


def _way_back(seen: Seen) -> Progress:
    found, wanted = seen.found, replicas(seen.found)
    here, ready, there = (count(found, name) for name in ("updatedReplicas", "readyReplicas", "replicas"))
    told = f"{here} of {wanted} pods are as before, {there - here} of the others remain, {ready} of {wanted} are ready"
    arrived = here == there and (ready > 0 or wanted == 0)
    return Progress(arrived, "; ".join(filter(None, (told, worst(seen.pods)))))


def _failed(new: list[Json], since: float, now: float) -> str | None:
    """Why the candidate's pods will never come."""
    if any(is_crashing(pod) and not is_ready(pod) for pod in new):
        return worst(new)
    idle = standstill(new, since, now)
    return "; ".join(filter(None, (idle, worst(new)))) if idle else None


def _of(seen: Seen, revision: str | None) -> list[Json]:
    return [pod for pod in seen.pods if revision and _revision(pod) == revision]


def _revision(pod: Json) -> str | None:
    told: str | None = (pod["metadata"].get("labels") or {}).get(REVISION_HASH)
    return told
