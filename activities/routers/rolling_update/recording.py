"""What the mark keeps besides epoch and owner: the way back.

The template is kept on the object itself, because a worker, a Guard or `sluice restore` must find it without asking
Temporal. A ConfigMap was rejected: it would be written by another call, and deleted by other people.
"""

from pydantic import ValidationError

from activities.kubernetes import ANNOTATION, Json, Mark
from rollout.base import Told
from rollout.errors import Misconfigured

MOST_BYTES = 256 * 1024  # of all annotations of one object together, as the API server counts them
_FOR_CONTROLLERS = 2 * 1024  # a Deployment's annotations are copied to its ReplicaSet, which has some of its own


class Record(Told):
    """What was found before the first write.

    Attributes:
        template: the pod template; None when nobody needs a way back any more.
        revision: what its pods are labelled with: their `pod-template-hash` or `controller-revision-hash`.
        paused: whether Sluice has paused the workload.
        replicas: of a StatefulSet when its partition was written.
        released_by: who released it at more than 0 %, and may still go back or on while it finalizes.
    """

    template: Json | None = None
    revision: str | None = None
    paused: bool = False
    replicas: int | None = None
    released_by: str | None = None


def recorded(mark: Mark) -> Record:
    """The record of a mark; an empty one if it has none that can be read."""
    try:
        return Record.model_validate(mark.more)
    except ValidationError:
        return Record()


def size_with(found: Json, mark: Mark) -> int:
    """Bytes of an object's annotations when it carries a mark."""
    others = {k: v for k, v in (found["metadata"].get("annotations") or {}).items() if k != ANNOTATION}
    size = sum(len(text.encode()) for pair in others.items() for text in pair)
    return size + len(ANNOTATION) + len(mark.model_dump_json(exclude_defaults=True).encode())


def fitting(found: Json, mark: Mark, place: object) -> Mark:
    """A mark that the API server takes; the way back is not kept off by its size, and needs the template no more.

    Raises:
        Misconfigured: the annotations would be too big together.
    """
    size = size_with(found, mark)
    if size <= MOST_BYTES - _FOR_CONTROLLERS:
        return mark
    if mark.percent == 0 and mark.owner is None:
        return mark.model_copy(update={"more": {k: v for k, v in mark.more.items() if k != "template"}})
    raise Misconfigured(
        f"{place}: its pod template is too big to be kept in an annotation for the way back: with the others that "
        f"is {size // 1024} KiB, Kubernetes takes {MOST_BYTES // 1024}; move what is big to a ConfigMap"
    )
