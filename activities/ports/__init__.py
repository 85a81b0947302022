"""What the activities ask of the world: small protocols, one implementation a backend, contract suites for each.

The alternative, one fat "provider" interface, was rejected: Argo Rollouts' has 54 methods, 30 of which return nil.
"""

from activities.ports.connections import Connections
from activities.ports.flags import FlagService, FlagState
from activities.ports.metrics import MetricSource, WebSource
from activities.ports.routing import Pool, Router, RouteState, Write
from activities.ports.workloads import Capacity, Workloads

__all__ = [
    "Capacity",
    "Connections",
    "FlagService",
    "FlagState",
    "MetricSource",
    "Pool",
    "RouteState",
    "Router",
    "WebSource",
    "Workloads",
    "Write",
]
