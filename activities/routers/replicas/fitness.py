"""What speaks against splitting by pods: another hand on the numbers, or a Service that sees others than it should."""

from collections.abc import Iterable, Iterator, Sequence

from activities.kubernetes import Json
from activities.routers.replicas.deployments import Pods
from activities.routers.replicas.standing import Standing
from rollout.routes import ReplicasRoute


def unfit(route: ReplicasRoute, now: Standing, service: Json | None, autoscalers: Sequence[Json]) -> str | None:
    """Why pods cannot be counted on, whatever the percent; None if they can.

    Args:
        route: names everything.
        now: both Deployments.
        service: in front of them; None if there is none.
        autoscalers: every HorizontalPodAutoscaler of the namespace.
    """
    return next(_reasons(route, now, service, autoscalers), None)


def scaled_by(now: Standing, autoscalers: Iterable[Json]) -> str | None:
    """Which autoscaler decides the number of pods of one of them."""
    names = {now.candidate.name, now.stable.name}
    for each in autoscalers:
        target = each["spec"].get("scaleTargetRef") or {}
        if target.get("kind") == "Deployment" and target.get("name") in names:
            return f"HorizontalPodAutoscaler {each['metadata']['name']} scales Deployment {target['name']}"
    return None


def _reasons(route: ReplicasRoute, now: Standing, service: Json | None, autoscalers: Sequence[Json]) -> Iterator[str]:
    if now.candidate.found is None:
        yield f"there is no Deployment {route.namespace}/{route.candidate} (candidate)"
        return
    if service is None:
        yield f"there is no Service {route.place}"
        return
    yield from _mislabelled(route, now, service["spec"].get("selector") or {})
    if scaler := scaled_by(now, autoscalers):
        yield f"{scaler} and would undo every step: take it away while pods are split by number"
    for each in now:
        if each.found and each.found["spec"].get("paused"):
            yield f"Deployment {each.name} is paused: resume it, its pods may be of two versions"
    yield from (reason for each in now if (reason := each.failing))
    if now.total == 0:
        yield f"Deployment {route.stable} has no replicas: there is nothing to split"


def _mislabelled(route: ReplicasRoute, now: Standing, selector: Json) -> Iterator[str]:
    """Whose pods the Service does not see, and who takes the pods of the other for its own."""
    for each in now:
        if not selector or not _selects(selector, each):
            asked = ", ".join(f"{key}={value}" for key, value in selector.items()) or "nothing"
            yield f"Service {route.place} selects {asked}, which the pods of Deployment {each.name} do not carry"
    for one, other in ((now.candidate, now.stable), (now.stable, now.candidate)):
        labels = one.found["spec"]["selector"].get("matchLabels") if one.found else None
        if labels and _selects(labels, other):
            yield f"Deployment {one.name} selects the pods of {other.name}, too: give them labels that differ"


def _selects(selector: Json, pods: Pods) -> bool:
    template = (pods.found or {}).get("spec", {}).get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())
