"""Read, decide, patch: again from the start whenever somebody else was quicker."""

import asyncio
from collections.abc import Awaitable, Callable

from activities.kubernetes.cluster import Cluster
from activities.kubernetes.errors import Absent, Conflict
from activities.kubernetes.kinds import Kind
from activities.kubernetes.objects import Json
from rollout.errors import RouterUnreachable

_TRIES, _PAUSE_S = 8, 0.03


async def rewrite(
    cluster: Cluster,
    kind: Kind,
    where: tuple[str, str],
    change: Callable[[Json], Awaitable[list[Json] | None]],
) -> Json:
    """Change one object by guarded JSON patches.

    Args:
        cluster: where it is.
        kind: its kind.
        where: namespace and name.
        change: from the object as it is, the patch (see `guarded`), or None if nothing is to be done. It is asked
            again after every conflict, and may raise.

    Returns:
        The object as it is then.

    Raises:
        Absent: there is no such object; a kind of Misconfigured.
        RouterUnreachable: others were quicker at every try, or the API server does not answer.
        SluiceError: whatever `change` raises.
    """
    async with cluster.alone(kind.name, *where):
        for attempt in range(_TRIES):
            found = await cluster.get(kind, *where, urgent=True)
            if found is None:
                raise Absent(f"there is no {kind.name} {'/'.join(where)}")
            operations = await change(found)
            if operations is None:
                return found
            try:
                return await cluster.patch(kind, *where, operations)
            except Conflict:
                await asyncio.sleep(_PAUSE_S * attempt)
    raise RouterUnreachable(
        f"{kind.name} {'/'.join(where)} was changed by others at {_TRIES} tries; nothing was written"
    )
