"""Who else writes an object: field managers, and the GitOps tools that put back what they know.

For sentences about drift: "argocd-controller set it" tells an operator at 3 a.m. where to look.
"""

from datetime import UTC, datetime

from activities.kubernetes.cluster import FIELD_MANAGER
from activities.kubernetes.objects import Json

_GITOPS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}


# Whoever made the object goes on owning these when all in them is somebody else's.
_HAVE_PARTS = {"f:metadata", "f:annotations", "f:labels", "f:spec", "f:template"}


def gitops(found: Json) -> str | None:
    """The GitOps tool that an object's labels or annotations name; None if none does."""
    metadata = found.get("metadata", {})
    keys = {*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})}
    return next((tool for key, tool in _GITOPS.items() if key in keys), None)


def managers(found: Json, *path: str) -> tuple[str, ...]:
    """Field managers other than ours that own a field, the latest first.

    Args:
        found: the object.
        path: steps as `managedFields` spells them: `f:spec`, `f:rules`, `k:{"name":"app"}`. An entry that owns a part
            of the way as a whole (an atomic list) owns the field.
    """
    entries = found.get("metadata", {}).get("managedFields") or []
    theirs = [each for each in entries if each.get("manager") != FIELD_MANAGER and _owns(each.get("fieldsV1"), path)]
    theirs.sort(key=lambda each: _when(each.get("time")), reverse=True)
    return tuple(dict.fromkeys(str(each.get("manager")) for each in theirs))


def suspects(found: Json, *path: str) -> str:
    """Who may have changed a field, as the end of a sentence; empty if nobody is known."""
    tool = gitops(found)
    words = [f"last set by {', '.join(known)}"] if (known := managers(found, *path)) else []
    if tool:
        words.append(f"{tool} manages this object: let it ignore what Sluice writes")
    return f" ({'; '.join(words)})" if words else ""


def _owns(fields: object, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(fields, dict) or step not in fields:
            return False
        fields = fields[step]
        if fields == {}:  # owned as a whole, or, if it has parts of its own, only as something that is there
            return step not in _HAVE_PARTS or step == path[-1]
    return True


def _when(text: object) -> datetime:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
