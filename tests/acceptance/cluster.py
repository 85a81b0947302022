"""The worker's connections with the real adapters for everything in Kubernetes, and a note of everything they write."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from activities.kubernetes import Cluster, KubernetesConnection
from activities.routers import router_for
from activities.workload import workload_for
from rollout.routes import FlagRoute
from tests.acceptance.sites import CONNECTION
from tests.fakes.connections import FakeConnections

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from activities.kubernetes import Json, Kind
    from activities.ports import Router, Workloads
    from activities.shared import Shared
    from rollout.routes import Route
    from rollout.workloads import Workload


class Wrote(NamedTuple):
    """One request that may have changed something, and was not refused.

    Attributes:
        at: `time.monotonic()`, seconds.
        kind: of the object.
        namespace: of the object.
        name: of the object.
        what: the operations of a patch.
    """

    at: float
    kind: str
    namespace: str
    name: str
    what: list[Json]

    def __str__(self) -> str:
        """One line, without the mark."""
        told = [f"{each['path']} = {each.get('value')}" for each in self.what if "/metadata/" not in each["path"]]
        return f"{self.kind} {self.name}: {', '.join(told) or 'the mark'}"

    @property
    def replicas(self) -> int | None:
        """The number of pods that was written, None if none was."""
        return next((int(each["value"]) for each in self.what if each["path"] == "/spec/replicas"), None)


class NotedCluster(Cluster):
    """A cluster that remembers what was patched."""

    def __init__(self, connection: KubernetesConnection, threads: ThreadPoolExecutor | None = None) -> None:
        super().__init__(connection, threads)
        self.wrote: list[Wrote] = []

    async def patch(self, kind: Kind, namespace: str, name: str, operations: list[Json], **more: Any) -> Json:
        """See `Cluster.patch`."""
        found = await super().patch(kind, namespace, name, operations, **more)
        if not more.get("dry_run"):
            self.wrote.append(Wrote(time.monotonic(), kind.name, namespace, name, operations))
        return found


class ClusterConnections(FakeConnections):
    """One cluster under one name; everything else in memory."""

    def __init__(self, connection: KubernetesConnection, shared: Shared) -> None:
        super().__init__()
        self._connection, self._shared = connection, shared
        self.cluster = shared.once(connection, lambda: NotedCluster(connection))

    def router(self, route: Route) -> Router:
        """See `ports.Connections.router`."""
        if route.connection != CONNECTION or isinstance(route, FlagRoute):
            return super().router(route)
        return router_for(route, self._connection, self._shared)

    def workload(self, workload: Workload) -> Workloads:
        """See `ports.Connections.workload`."""
        if workload.connection != CONNECTION:
            return super().workload(workload)
        return workload_for(workload, self._connection, self._shared)
