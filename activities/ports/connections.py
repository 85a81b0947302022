"""From the names in a spec to adapters."""

from typing import Protocol

from activities.ports.flags import FlagService
from activities.ports.metrics import MetricSource, WebSource
from activities.ports.routing import Router
from activities.ports.workloads import Workloads
from rollout.mitigations import Flag
from rollout.routes import Route
from rollout.workloads import Workload


class Connections(Protocol):
    """The named connections of the worker's settings, turned into adapters."""

    def router(self, route: Route) -> Router:
        """The adapter for a route.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def metrics(self, connection: str) -> MetricSource:
        """The metrics server of that name.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def web(self, connection: str) -> WebSource:
        """The HTTP service of that name.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def workload(self, workload: Workload) -> Workloads:
        """The adapter for a workload.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def flag(self, flag: Flag) -> FlagService:
        """The adapter for a flag.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def people(self, group: str) -> tuple[str, ...]:
        """Members of a group.

        Raises:
            Misconfigured: no group of that name.
        """
        ...
