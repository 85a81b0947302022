"""Belief in a write where nothing confirms one: it is taken to be in force some time after it was made.

Times are measured by this worker's own steady clock, from the moment at which it wrote or first saw what is there:
clocks of two workers may differ. Only what the mark says to be older than any such difference is believed at first
sight, so that a worker that takes over need not wait.
"""

import time
from collections.abc import Hashable
from dataclasses import dataclass

from activities.kubernetes.cluster import Cluster

_SKEW_S = 60.0  # no two clocks of one cluster differ by more


@dataclass(frozen=True)
class _Seen:
    version: object
    since: float  # by the steady clock


def unsettled(cluster: Cluster, key: Hashable, version: object, at: float) -> str | None:
    """Why what is written is not yet believed to be in force; None if it is.

    Args:
        cluster: whose connection says how long to wait, and which remembers.
        key: of the object.
        version: changes with every change that matters.
        at: when it was written, as its mark says: Unix seconds by the writer's clock; 0 if nobody did.
    """
    settle_s = cluster.connection.settle.total_seconds()
    known = cluster.memory.get(key)
    if not isinstance(known, _Seen) or known.version != version:
        is_old = known is None and time.time() - at > settle_s + _SKEW_S
        known = cluster.memory[key] = _Seen(version, float("-inf") if is_old else time.monotonic())
    age_s = time.monotonic() - known.since
    return None if age_s >= settle_s else f"changed {age_s:.1f} s ago; it is believed after {settle_s:g} s"
