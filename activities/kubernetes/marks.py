"""The mark that a write leaves on an object: one annotation, written in the same patch as what it is about.

So a mark can never be there without its weights. The patch replaces `metadata.resourceVersion` by the value that was
read, which the API server answers by a clean 409 if anybody else was quicker (a failed `test` would be a 422 that
cannot be told from a wrong patch).
"""

import json
from typing import Any

from pydantic import Field, ValidationError

from activities.kubernetes.objects import Json, escaped
from activities.ports import Write
from rollout.base import Told

ANNOTATION = "sluice.dev/rollout"


class Mark(Told):
    """What the last write left; epoch 0 if there was none.

    Attributes:
        epoch: fence.
        owner: who holds the route, None if nobody.
        percent: what was written; the object says what is there now.
        at: when, Unix seconds by the writer's clock.
        more: what an adapter wants to find again, such as the pod template it replaced.
    """

    epoch: int = 0
    owner: str | None = None
    percent: float | None = None
    at: float = 0
    more: dict[str, Any] = Field(default_factory=dict)

    def same_as(self, other: "Mark") -> bool:
        """Whether both say the same, whenever they were written."""
        return self.model_copy(update={"at": other.at}) == other


def mark_of(found: Json) -> Mark:
    """The mark of an object; an annotation that is none of ours counts as none."""
    text = (found.get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    try:
        return Mark.model_validate_json(text) if text else Mark()
    except ValidationError:
        return Mark()


def written(write: Write, at: float, **more: Any) -> Mark:  # noqa: ANN401 - kept as JSON
    """The mark of a write.

    Args:
        write: what is written.
        at: now, Unix seconds.
        more: what the adapter wants to find again.
    """
    owner = None if write.release else write.owner
    return Mark(epoch=write.epoch, owner=owner, percent=write.percent, at=round(at, 3), more=more)


def as_annotation(mark: Mark) -> dict[str, str]:
    """A mark as the annotation that keeps it."""
    return {ANNOTATION: json.dumps(mark.model_dump(mode="json", exclude_defaults=True), separators=(",", ":"))}


def annotated(found: Json, changes: dict[str, str | None]) -> list[Json]:
    """JSON patch operations that set annotations (None: take off), whether there are any or not."""
    there = found.get("metadata", {}).get("annotations")
    if not there:
        fresh = {key: value for key, value in changes.items() if value is not None}
        return [{"op": "add", "path": "/metadata/annotations", "value": fresh}] if fresh else []
    operations: list[Json] = []
    for key, value in changes.items():
        path = f"/metadata/annotations/{escaped(key)}"
        if value is not None and there.get(key) != value:
            operations.append({"op": "add", "path": path, "value": value})
        elif value is None and key in there:
            operations.append({"op": "remove", "path": path})
    return operations


def guarded(found: Json, mark: Mark, *operations: Json, annotations: dict[str, str | None] | None = None) -> list[Json]:
    """A JSON patch: only if nobody has changed the object since it was read, with a mark.

    Args:
        found: the object as it was read.
        mark: to be left.
        operations: what is changed besides.
        annotations: set besides the mark (None: taken off); as operations they could meet the mark's on an object that
            has none yet.
    """
    version = found["metadata"]["resourceVersion"]
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        *annotated(found, {**(annotations or {}), **as_annotation(mark)}),
        *operations,
    ]
