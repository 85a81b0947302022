"""Two Deployments behind one Service for the contracts, and the adapter as an activity uses it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from activities.kubernetes import ANNOTATION, Cluster, Json, Kind, mark_of
from activities.ports import Pool, Router, RouteState, Write
from activities.routers.replicas import ReplicasRouter
from rollout.errors import NotReady
from rollout.routes import ReplicasRoute
from testbed.kubernetes import ControlPlane, objects, wait_available
from tests.activities.routers.kubernetes_stand import (
    APP,
    CANDIDATE,
    STABLE,
    Door,
    Grounds,
    KubernetesStand,
    prepared,
)

RULES = (
    ("apps", "deployments", ("get", "patch")),
    ("autoscaling", "horizontalpodautoscalers", ("list",)),
)
SERVICE, TOTAL = "shop", 4
SEARCH, SEARCH_CANARY = "search", "search-canary"
WITHIN_S = 60.0


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, for as long as pods may take on a busy machine."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.05)


class Retried:
    """The adapter as an activity uses it: what is not ready yet is written again."""

    def __init__(self, router: ReplicasRouter) -> None:
        self._router = router

    async def read(self) -> RouteState:
        return await self._router.read()

    async def write(self, write: Write) -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    return await self._router.write(write)
                except NotReady:
                    await asyncio.sleep(0.05)

    async def in_flight(self, pool: Pool) -> int | None:
        return await self._router.in_flight(pool)


class ReplicasStand(KubernetesStand):
    percents = (0, 1, 25, 50, 75, 99, 100, 0.25, 0)
    proves_by_itself = False

    def made(self, cluster: Cluster | None = None, **fields: Any) -> ReplicasRouter:
        asked = {"service": SERVICE, "candidate": CANDIDATE, "stable": STABLE, **fields}
        route = ReplicasRoute(connection="prod", namespace=self.namespace, **asked)
        return ReplicasRouter(route, cluster or self.cluster)

    def router(self, *, unknown_candidate: bool = False) -> Router:
        return Retried(self.made(candidate="ghost") if unknown_candidate else self.made())

    def other_router(self) -> Router:
        return Retried(self.made(service=SEARCH, candidate=SEARCH_CANARY, stable=SEARCH))

    def deployment(self, name: str) -> dict[str, Any]:
        return self.api.get("Deployment", name, self.namespace)

    def replicas(self, candidate: str = CANDIDATE) -> tuple[int, int]:
        candidates, stable = (self.deployment(name)["spec"]["replicas"] for name in (candidate, STABLE))
        return candidates, stable

    def written(self) -> object:
        found = [self.deployment(name) for name in (CANDIDATE, STABLE)]
        return [(each["metadata"]["generation"], mark_of(each), each["spec"]["replicas"]) for each in found]

    async def drift(self, percent: float) -> None:
        self.kubectl_scale(CANDIDATE, round(percent / 20))
        self.kubectl_scale(STABLE, 5 - round(percent / 20))

    def kubectl_scale(self, name: str, replicas: int, by: str = "kubectl") -> None:
        """What a person does with `kubectl scale`."""
        asked = {"spec": {"replicas": replicas}}
        self.api.patch("Deployment", name, asked, self.namespace, subresource="scale", fieldManager=by)

    def add(self, name: str, version: str, replicas: int = 0, **fate: Any) -> None:
        """One more Deployment behind the Service."""
        made = objects.deployment(name, replicas=replicas, labels={"app": APP, "track": name}, version=version, **fate)
        self.api.create(made, self.namespace)

    async def has(self, name: str, count: int) -> None:
        """Wait until a Deployment has so many ready pods, and no others."""
        await asyncio.to_thread(wait_available, self.api, self.namespace, name, count, within_s=WITHIN_S)

    async def delivered(self) -> None:
        """Everything as at the start: stable has all pods, nobody has left a mark."""
        counts = {STABLE: TOTAL, SEARCH: TOTAL, CANDIDATE: 0, SEARCH_CANARY: 0}
        for found in self.api.list("Deployment", self.namespace):
            name = found["metadata"]["name"]
            if name not in counts:
                self.api.delete("Deployment", name, self.namespace)
                continue
            fresh = {
                "metadata": {"annotations": {ANNOTATION: None}},
                "spec": {"replicas": counts[name], "paused": False},
            }
            self.api.patch("Deployment", name, fresh, self.namespace)
        for found in self.api.list("HorizontalPodAutoscaler", self.namespace):
            self.api.delete("HorizontalPodAutoscaler", found["metadata"]["name"], self.namespace)
        for name, count in counts.items():
            await self.has(name, count)

        async def fit() -> bool:
            state = await self.made().read()
            return state.in_force == 0 and state.problem is None

        await eventually(fit)  # pods of Deployments that are gone follow them


@contextmanager
def serving(control_plane: ControlPlane, folder: Path) -> Iterator[Grounds]:
    """Grounds with a Service in front of both, and a second one with two Deployments of its own."""
    more = (
        objects.service(SERVICE, {"app": APP}),
        objects.service(SEARCH, {"app": SEARCH}),
        *(
            objects.deployment(name, replicas=0, labels={"app": SEARCH, "track": name}, version="stable")
            for name in (SEARCH, SEARCH_CANARY)
        ),
    )
    with prepared(folder, control_plane, "service", RULES, more, service=SERVICE) as grounds:
        yield grounds


class Delivered:
    """A stand that starts as it was delivered; needs a fixture `grounds`."""

    @pytest.fixture
    async def stand(self, grounds: Grounds) -> AsyncIterator[ReplicasStand]:
        with ThreadPoolExecutor(16) as threads:
            stand = ReplicasStand(grounds, threads)
            await stand.delivered()
            yield stand
            await stand.cluster.aclose()


class Watched(Door):
    """Calls back before a Deployment is patched; with its name and the replicas that it shall have, if any."""

    before: Callable[[str, int | None], Any] | None = None

    async def patch(self, kind: Kind, namespace: str, name: str, operations: list[Json], **more: Any) -> Json:
        counts = [each["value"] for each in operations if each["path"] == "/spec/replicas"]
        if self.before is not None:
            await self.before(name, counts[0] if counts else None)
        return await super().patch(kind, namespace, name, operations, **more)


def watched(stand: ReplicasStand) -> Watched:
    return Watched(stand.cluster.connection, stand._threads)
