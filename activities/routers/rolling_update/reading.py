"""What a workload says about percent and drift, from the object alone."""

import json
from typing import NamedTuple

from activities.kubernetes import Json, Mark, managers, mark_of, suspects
from activities.routers.rolling_update import stateful_set
from activities.routers.rolling_update.recording import Record, recorded
from activities.routers.rolling_update.templates import (
    container_in,
    image_in,
    is_candidate_of,
    runs_candidate,
    same,
    template_of,
)
from activities.routers.rolling_update.workload import is_paused, replicas
from rollout.base import percent_text
from rollout.errors import Misconfigured
from rollout.routes import RollingUpdateRoute


class Reading(NamedTuple):
    """An object as Sluice looks at it.

    Attributes:
        percent: on the candidate, as it is written.
        drift: what somebody else has changed since the last write; None if nothing.
        mark: who wrote last.
        record: what that kept.
    """

    percent: float
    drift: str | None
    mark: Mark
    record: Record


def reading(found: Json, route: RollingUpdateRoute) -> Reading:
    """Percent, mark and drift.

    Raises:
        Misconfigured: nobody holds it, and it has no such container.
    """
    mark = mark_of(found)
    record = recorded(mark)
    if mark.owner is not None and record.template is not None:
        return Reading(*_held(found, route, mark, record, record.template), mark, record)
    container_in(template_of(found), route)
    percent = _nobodys(found, route)
    again = percent > 0 and mark.percent == 0 and record.template is not None
    return Reading(percent, _again(found, route) if again else None, mark, record)


def _nobodys(found: Json, route: RollingUpdateRoute) -> float:
    if not runs_candidate(template_of(found), route):
        return 0
    return 100 if route.deployment else _share(found)


def _held(found: Json, route: RollingUpdateRoute, mark: Mark, record: Record, stable: Json) -> tuple[float, str | None]:
    now, written = template_of(found), mark.percent or 0
    if same(now, stable):
        back = f"{route}: the pod template is as it was before the rollout{_who(found, route)}"
        return 0, None if written == 0 else back
    if not is_candidate_of(now, stable, route):
        return _nobodys(found, route), _foreign(found, route)
    if written == 0:
        return _nobodys(found, route), _again(found, route)
    if route.stateful_set:
        return _partitioned(found, route, written, record)
    return 100, _pause(found, route, record)


def _foreign(found: Json, route: RollingUpdateRoute) -> str:
    try:
        image = image_in(template_of(found), route)
    except Misconfigured:
        image = "no such container"
    return (
        f"{route}: somebody changed the pod template; it is neither as it was before the rollout nor that with image "
        f"{route.image}: image is {image}{_who(found, route)}"
    )


def _who(found: Json, route: RollingUpdateRoute) -> str:
    """Who set the image if not Sluice, else who set anything of the template."""
    template = ("f:spec", "f:template")
    try:
        name = template_of(found)["spec"]["containers"][container_in(template_of(found), route)]["name"]
    except Misconfigured:
        return suspects(found, *template)
    key = json.dumps({"name": name}, separators=(",", ":"))
    image = (*template, "f:spec", "f:containers", f"k:{key}", "f:image")
    return suspects(found, *(image if managers(found, *image) else template))


def _again(found: Json, route: RollingUpdateRoute) -> str:
    return f"{route}: somebody put the candidate's image back after Sluice had taken it away{_who(found, route)}"


def _pause(found: Json, route: RollingUpdateRoute, record: Record) -> str | None:
    if is_paused(found) == record.paused:
        return None
    told, undo = ("paused", "resume") if is_paused(found) else ("resumed", "pause")
    return (
        f"{route}: somebody {told} it, Sluice did not{suspects(found, 'f:spec', 'f:paused')}: `kubectl rollout {undo} "
        f"deployment/{route.workload} -n {route.namespace}` if that was a mistake"
    )


def _partitioned(found: Json, route: RollingUpdateRoute, written: float, record: Record) -> tuple[float, str | None]:
    wanted, partition = replicas(found), stateful_set.partition_of(found)
    asked = wanted - stateful_set.pods_for(written, wanted)
    if partition == asked or (record.paused and partition > asked):
        return written, None
    is_share = percent_text(_share(found))
    if record.replicas is not None and record.replicas != wanted:
        who = suspects(found, "f:spec", "f:replicas")
        return _share(found), (
            f"{route} was scaled from {record.replicas} to {wanted} pods{who}: with partition {partition} that is "
            f"{is_share} on the candidate, not {percent_text(written)}"
        )
    who = suspects(found, "f:spec", "f:updateStrategy", "f:rollingUpdate", "f:partition")
    return _share(found), f"{route}: partition is {partition}, {is_share}; Sluice left it at {asked}{who}"


def _share(found: Json) -> float:
    wanted = replicas(found)
    return stateful_set.share(max(wanted - stateful_set.partition_of(found), 0), wanted)
