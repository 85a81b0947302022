"""The worker's named connections, in memory. A name that was not added is misconfigured, as in `worker.py`."""

from dataclasses import dataclass, field

from activities.ports import MetricSource, Router, WebSource
from rollout.errors import Misconfigured
from rollout.routes import Route
from tests.fakes.metrics import FakeMetrics
from tests.fakes.router import FakeRouter
from tests.fakes.web import FakeWeb


@dataclass
class FakeConnections:
    """Routers by connection, metrics servers by connection, people by group."""

    routers: dict[str, FakeRouter] = field(default_factory=dict)
    sources: dict[str, FakeMetrics] = field(default_factory=dict)
    webs: dict[str, FakeWeb] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def router(self, route: Route) -> Router:
        """See `ports.Connections.router`."""
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

    def people(self, group: str) -> tuple[str, ...]:
        """See `ports.Connections.people`."""
        if group not in self.groups:
            raise Misconfigured(f"no people {group!r} in the worker's settings")
        return self.groups[group]
