"""From a workload and a write to the JSON patch; pure."""

from typing import NamedTuple

from activities.kubernetes import Json, Mark, guarded, mark_of, written
from activities.ports import Write
from activities.routers.rolling_update import deployment, stateful_set
from activities.routers.rolling_update.recording import Record, fitting, recorded
from activities.routers.rolling_update.templates import (
    candidate_of,
    container_in,
    is_candidate_of,
    runs_candidate,
    same,
    template_of,
)
from activities.routers.rolling_update.workload import is_paused, is_under_way, replicas
from rollout.base import percent_text
from rollout.errors import Drifted, Misconfigured, NotReady
from rollout.routes import RollingUpdateRoute


class Aim(NamedTuple):
    """Where a write wants the workload.

    Attributes:
        stable: the way back; None if nobody knows it any more.
        template: to be there.
        record: what the mark knew.
    """

    stable: Json | None
    template: Json
    record: Record


def aim(found: Json, route: RollingUpdateRoute, write: Write) -> Aim:
    """Where a write wants the workload.

    A mark that was released still leads back: for the attempts of the write that released it (a GitOps tool may put the
    candidate back at once), and for whoever released it above 0 % and, still finalizing, goes back or on. Days later
    nobody means it: then another image runs, or is asked for.

    Raises:
        Misconfigured: the percent cannot be sent, the way back is lost, or there is nothing to roll out.
    """
    _refuse_percent(route, write)
    mark, now = mark_of(found), template_of(found)
    record = recorded(mark)
    finalizing = record.released_by == write.owner and runs_candidate(now, route)
    if mark.owner is None and mark.epoch != write.epoch and not finalizing:
        record = Record()
    stable = record.template
    if stable is None and runs_candidate(now, route):
        if write.percent > 0 and write.release:
            return Aim(None, now, record)
        raise Misconfigured(_lost(route) if write.percent == 0 else _nothing(route))
    stable = stable or now
    if write.percent == 0:
        return Aim(stable, stable, record)
    return Aim(stable, now if is_candidate_of(now, stable, route) else candidate_of(stable, route), record)


def begins(found: Json, route: RollingUpdateRoute, write: Write) -> bool:
    """Whether a write has to keep how the workload is now, and so has to know its pods' label."""
    wanted = aim(found, route, write)
    return wanted.record.template is None and wanted.stable is not None and not (write.percent == 0 and write.release)


def desired(
    found: Json, route: RollingUpdateRoute, write: Write, at: float, revision: str | None = None
) -> list[Json] | None:
    """The patch that makes one write; None if there is nothing to do.

    Args:
        found: the Deployment or StatefulSet.
        route: names container and image.
        write: percent, epoch and owner.
        at: now, Unix seconds.
        revision: what the pods are labelled with, if the write begins a rollout.

    Raises:
        Misconfigured: see `aim`, or no roll can begin.
        NotReady: another rollout of it is under way.
        Drifted: it is this very write that was done, and somebody has changed it since.
    """
    wanted = aim(found, route, write)
    if write.percent > 0 and wanted.stable and same(template_of(found), wanted.stable):
        _refuse_to_begin(found, route, wanted)
    operations = _template(found, route, wanted, write)
    moved = bool(operations)
    operations += _pace(found, route, wanted, write)
    mark = _mark(found, route, wanted, write, at, revision, keep=moved or not write.release or write.percent > 0)
    if _is_done(mark_of(found), mark):
        if not operations:
            return None
        if write.percent > 0 and recorded(mark_of(found)).replicas == recorded(mark).replicas:
            raise Drifted(f"{route} was changed by somebody else since this write was made; nothing was written")
    return guarded(found, fitting(found, mark, route), *operations)


def _refuse_percent(route: RollingUpdateRoute, write: Write) -> None:
    if not 0 <= write.percent <= 100 or (route.deployment and 0 < write.percent < 100):
        possible = "0 and 100: how it gets there is its own" if route.deployment else "0 to 100"
        raise Misconfigured(f"{route} cannot take {percent_text(write.percent)}; it knows {possible}")


def _refuse_to_begin(found: Json, route: RollingUpdateRoute, wanted: Aim) -> None:
    if wanted.record.paused:
        return  # begun already, and paused before it moved
    if reason := (deployment if route.deployment else stateful_set).objection(found):
        raise Misconfigured(f"{route}: {reason}; nothing was written")
    if is_under_way(found):
        raise NotReady(f"{route}: a rollout of it is under way already; nothing was written")


def _template(found: Json, route: RollingUpdateRoute, wanted: Aim, write: Write) -> list[Json]:
    now = template_of(found)
    if same(now, wanted.template):
        return []
    if write.percent > 0 and wanted.stable and same(now, wanted.stable):
        place = container_in(now, route)
        path = f"/spec/template/spec/containers/{place}/image"
        return [{"op": "replace", "path": path, "value": route.image}]
    return [{"op": "replace", "path": "/spec/template", "value": wanted.template}]


def _pace(found: Json, route: RollingUpdateRoute, wanted: Aim, write: Write) -> list[Json]:
    """Pause or partition, in the same patch as the template."""
    if wanted.stable is None or (write.percent == 0 and wanted.record.template is None):
        return []  # a pause or a partition that is there was not made by a rollout
    if route.deployment:
        return _pause(found, wanted, write)
    partition = 0 if write.percent == 0 else _partition(found, route, wanted, write)
    if partition == stateful_set.partition_of(found):
        return []
    place = "/spec/updateStrategy/rollingUpdate"
    if (found["spec"].get("updateStrategy") or {}).get("rollingUpdate") is None:
        return [{"op": "add", "path": place, "value": {"partition": partition}}]
    return [{"op": "add", "path": f"{place}/partition", "value": partition}]


def _pause(found: Json, wanted: Aim, write: Write) -> list[Json]:
    pause = _pauses(write)
    if pause == is_paused(found):
        return []
    if not pause and write.release and write.percent > 0 and not wanted.record.paused:
        return []  # somebody else has paused it, and nothing has to move any more
    return [{"op": "add", "path": "/spec/paused", "value": pause}]


def _partition(found: Json, route: RollingUpdateRoute, wanted: Aim, write: Write) -> int:
    """Where the new template begins.

    Raises:
        Misconfigured: fewer pods shall be new than are: Kubernetes does not turn a pod back below the partition.
    """
    pods, asked = replicas(found), stateful_set.pods_for(write.percent, replicas(found))
    is_rolling = wanted.stable is not None and is_candidate_of(template_of(found), wanted.stable, route)
    new = stateful_set.reached(found, wanted.record.revision) if is_rolling else 0
    if new > asked:
        raise Misconfigured(
            f"{route}: {new} of {pods} pods have the candidate's image already, {percent_text(write.percent)} would be "
            f"{asked}: a StatefulSet only goes up, or back to 0 %; nothing was written"
        )
    return pods - (new if _pauses(write) else asked)


def _mark(
    found: Json, route: RollingUpdateRoute, wanted: Aim, write: Write, at: float, revision: str | None, *, keep: bool
) -> Mark:
    """The mark of a write; whoever has come back and releases what does not move any more needs no way back."""
    kept = Record(
        template=wanted.stable if keep else None,
        revision=wanted.record.revision or revision,
        paused=_pauses(write),
        replicas=replicas(found) if route.stateful_set and write.percent > 0 else None,
        released_by=write.owner if write.release and write.percent > 0 else None,
    )
    return written(write, at, **kept.model_dump(mode="json", exclude_defaults=True))


def _is_done(there: Mark, mark: Mark) -> bool:
    """Whether a mark is already there: when, and what is kept for the way back, make no difference."""
    same_write = (there.epoch, there.owner, there.percent) == (mark.epoch, mark.owner, mark.percent)
    return same_write and recorded(there).paused == recorded(mark).paused


def _pauses(write: Write) -> bool:
    """Whether a write keeps the pods where they are; the way back is never kept."""
    return write.pause and write.percent > 0 and not write.release


def _lost(route: RollingUpdateRoute) -> str:
    kind = "deployment" if route.deployment else "statefulset"
    return (
        f"{route} runs {route.image}, and the mark that kept the template from before is gone: nobody can say which "
        f"revision was stable. Choose one from `kubectl rollout history {kind}/{route.workload} -n {route.namespace}`: "
        f"`kubectl rollout undo {kind}/{route.workload} -n {route.namespace} --to-revision=N`"
    )


def _nothing(route: RollingUpdateRoute) -> str:
    return f"{route}: nothing to roll out, it runs {route.image} already"
