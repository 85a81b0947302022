"""What the metrics of old and new pods are labelled with."""

from activities.ports import Pool
from activities.routers.rolling_update import deployment, stateful_set
from activities.routers.rolling_update.recording import Record
from activities.routers.rolling_update.templates import candidate_of, runs_candidate, template_of
from activities.routers.rolling_update.workload import Seen
from rollout.errors import Misconfigured
from rollout.routes import RollingUpdateRoute


def sides(seen: Seen, route: RollingUpdateRoute, record: Record) -> dict[Pool, str]:
    """Pool → label of its pods, as far as there are any; stable's is known before anything is written.

    Args:
        seen: the look.
        route: names the candidate.
        record: what the mark keeps.
    """
    candidate, stable = _of_deployment(seen, route, record) if route.deployment else _of_set(seen, route, record)
    told: dict[Pool, str | None] = {"candidate": candidate, "stable": stable}
    return {pool: label for pool, label in told.items() if label is not None}


def _of_deployment(seen: Seen, route: RollingUpdateRoute, record: Record) -> tuple[str | None, str | None]:
    now = template_of(seen.found)
    if runs_candidate(now, route):
        new = deployment.set_of(seen, now)
        old = deployment.set_of(seen, record.template) if record.template else None
        return deployment.hash_of(new), deployment.hash_of(old) or record.revision
    stable = record.template or now
    try:
        new = deployment.set_of(seen, candidate_of(stable, route))
    except Misconfigured:
        new = None
    return deployment.hash_of(new), deployment.hash_of(deployment.set_of(seen, stable)) or record.revision


def _of_set(seen: Seen, route: RollingUpdateRoute, record: Record) -> tuple[str | None, str | None]:
    present = stateful_set.revision_of(seen.found)
    if not runs_candidate(template_of(seen.found), route):
        return None, record.revision if record.template else present or record.revision
    return (None if present == record.revision else present), record.revision
