"""The worker's named connections, in memory. A name that was not added is misconfigured, as in `worker.py`."""

from dataclasses import dataclass, field

from activities.ports import FlagService, MetricSource, Router, WebSource, Workloads
from rollout.errors import Misconfigured
from rollout.mitigations import Flag
from rollout.routes import FlagRoute, Route
from rollout.workloads import Workload
from tests.fakes.flag import FakeFlag
from tests.fakes.metrics import FakeMetrics
from tests.fakes.router import FakeRouter
from tests.fakes.web import FakeWeb


@dataclass
class FakeConnections:
    """Routers by connection, metrics servers by connection, people by group."""

    routers: dict[str, FakeRouter] = field(default_factory=dict)
    sources: dict[str, FakeMetrics] = field(default_factory=dict)
    webs: dict[str, FakeWeb] = field(default_factory=dict)
    workloads: dict[str, Workloads] = field(default_factory=dict)
    flags: dict[str, FakeFlag] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def router(self, route: Route) -> Router:
        """See `ports.Connections.router`."""
        if isinstance(route, FlagRoute):
            return self.flag(route)
        if route.connection not in self.routers:
            raise Misconfigured(f"no connection {route.connection!r} in the worker's settings")
        return self.routers[route.connection]

    def metrics(self, connection: str) -> MetricSource:
        """See `ports.Connections.metrics`."""
        if connection not in self.sources:
            raise Misconfigured(f"no connection {connection!r} in the worker's settings")
        return self.sources[connection]

    def web(self, connection: str) -> WebSource:
        """See `ports.Connections.web`."""
        if connection not in self.webs:
            raise Misconfigured(f"no connection {connection!r} in the worker's settings")
        return self.webs[connection]

    def workload(self, workload: Workload) -> Workloads:
        """See `ports.Connections.workload`."""
        if workload.connection not in self.workloads:
            raise Misconfigured(f"no connection {workload.connection!r} in the worker's settings")
        return self.workloads[workload.connection]

    def flag(self, flag: Flag) -> FlagService:
        """See `ports.Connections.flag`; told apart by connection and key."""
        name = f"{flag.connection}/{flag.key}"
        if name not in self.flags:
            raise Misconfigured(f"no connection {flag.connection!r} in the worker's settings")
        return self.flags[name]

    def people(self, group: str) -> tuple[str, ...]:
        """See `ports.Connections.people`."""
        if group not in self.groups:
            raise Misconfigured(f"no people {group!r} in the worker's settings")
        return self.groups[group]
