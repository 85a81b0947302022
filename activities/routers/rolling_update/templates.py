"""Pod templates: the candidate's is stable's with one image changed, and anything else is somebody else's."""

from copy import deepcopy

from activities.kubernetes import Json
from rollout.errors import Misconfigured
from rollout.routes import RollingUpdateRoute

POD_HASH = "pod-template-hash"


def template_of(found: Json) -> Json:
    """The pod template of a Deployment, a ReplicaSet or a StatefulSet."""
    template: Json = found["spec"]["template"]
    return template


def container_in(template: Json, route: RollingUpdateRoute) -> int:
    """The position of the container whose image is rolled out.

    Raises:
        Misconfigured: the template has none of that name, or several and none is named.
    """
    names = [each["name"] for each in template["spec"].get("containers") or []]
    if route.container is None and len(names) == 1:
        return 0
    if route.container in names:
        return names.index(route.container)
    named = "names no `container` of several" if route.container is None else f"has no container {route.container!r}"
    raise Misconfigured(f"{route} {named}; there are: {', '.join(names)}")


def image_in(template: Json, route: RollingUpdateRoute) -> str:
    """The image of that container.

    Raises:
        Misconfigured: as in `container_in`.
    """
    return str(template["spec"]["containers"][container_in(template, route)].get("image", ""))


def runs_candidate(template: Json, route: RollingUpdateRoute) -> bool:
    """Whether the image is the candidate's; a template without the container runs something else.

    Admission policies that verify signatures append the digest to the tag they are given: that is the same image.
    """
    try:
        image = image_in(template, route)
    except Misconfigured:
        return False
    return image == route.image or image.startswith(f"{route.image}@")


def candidate_of(stable: Json, route: RollingUpdateRoute, image: str | None = None) -> Json:
    """Stable's template with the candidate's image.

    Args:
        stable: is left as it is.
        route: names container and image.
        image: the same image as it is written somewhere, with its digest.

    Raises:
        Misconfigured: as in `container_in`.
    """
    changed = deepcopy(stable)
    changed["spec"]["containers"][container_in(stable, route)]["image"] = image or route.image
    return changed


def is_candidate_of(template: Json, stable: Json, route: RollingUpdateRoute) -> bool:
    """Whether a template is stable's with the candidate's image, and nothing else is different."""
    if not runs_candidate(template, route) or not _has_container(stable, route):
        return False
    return same(template, candidate_of(stable, route, image_in(template, route)))


def same(one: Json, other: Json) -> bool:
    """Whether two templates make the same pods: the hash that a ReplicaSet adds makes no difference."""
    return _bare(one) == _bare(other)


def _has_container(template: Json, route: RollingUpdateRoute) -> bool:
    try:
        container_in(template, route)
    except Misconfigured:
        return False
    return True


def _bare(template: Json) -> Json:
    metadata: Json = dict(template.get("metadata") or {})
    metadata["labels"] = {key: value for key, value in (metadata.get("labels") or {}).items() if key != POD_HASH}
    told = {key: value for key, value in metadata.items() if value not in (None, {}, [])}
    return {**template, "metadata": told}
