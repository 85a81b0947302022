"""Everything that a case needs, each part a process of its own: control plane, Temporal, Prometheus, one worker."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from benchmarks.kubernetes import gauges
from benchmarks.kubernetes.gauges import Gauges
from benchmarks.kubernetes.pairs import CANDIDATE, STABLE, Pair, pairs
from benchmarks.kubernetes.sightings import Sightings
from rollout import names
from rollout.happened import Phase, RolloutResult
from rollout.status import RolloutStatus
from testbed.kubernetes import ControlPlane
from testbed.prometheus import Prometheus
from testbed.temporal import TemporalServer
from testbed.worker import Worker
from workflows.converter import DATA_CONVERTER

FIRST = 5.0  # percent of the first stage, as with the peers
ENDS = (Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.EXPIRED, Phase.REFUSED)
PATIENCE_S = 180.0
LOOK_EVERY_S = 0.1
# An activity comes with the answer to the workflow task that asked for it, instead of by way of the task queue.
EAGER = {"system.enableActivityEagerExecution": "true"}


class Missed(RuntimeError):
    """What was awaited did not happen."""


@dataclass(frozen=True)
class Running:
    """A rollout that was started."""

    pair: Pair
    handle: WorkflowHandle[Any, RolloutResult]
    asked_at: float

    async def status(self) -> RolloutStatus:
        """The `status` query."""
        return await self.until(lambda _: True, "it has begun")

    async def until(self, condition: Callable[[RolloutStatus], object], what: str) -> RolloutStatus:
        """Ask for the status until it is so."""
        end = time.monotonic() + PATIENCE_S
        while True:
            status = await self._asked()
            if status is not None and condition(status):
                return status
            if status is None and (await self.handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
                await self.handle.result()  # says why it never began
            if time.monotonic() > end or (status and status.phase in ENDS):
                told = f"{status.phase}: {status.details}" if status else "it has not begun"
                raise Missed(f"{self.pair.name}: not within {PATIENCE_S:g} s, or never: {what}; {told}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _asked(self) -> RolloutStatus | None:
        """Nothing if it has not begun, or if the server has more to do than to answer."""
        with suppress(RPCError):
            answer: RolloutStatus | None = await self.handle.query(names.STATUS, result_type=RolloutStatus)
            return answer
        return None

    async def baking(self) -> RolloutStatus:
        """Wait for the first stage's bake."""
        return await self.until(lambda now: (now.phase, now.percent) == (Phase.BAKING, FIRST), "it bakes")


class House:
    """A context manager; what it starts ends with it.

    Attributes:
        rng: of every moment that is chosen by chance.
        gauges: the probe.
        control_plane: the cluster.
        sightings: of its canary Ingresses.
        prometheus: whom the gates ask.
        spare: two more of it that cases may break, not started: connections `first` and `second`.
        server: Temporal's, with its database in memory, as its command line has it unless it is told a file.
        worker: the product's own.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.gauges = Gauges()
        self.control_plane = ControlPlane(directory / "cluster")
        targets = {"shop": [self.gauges.address]}
        self.prometheus = Prometheus(directory / "prometheus", targets=targets)
        self.spare = {name: Prometheus(directory / name, targets=targets) for name in ("first", "second")}
        self.server = TemporalServer(directory, ui=False, in_memory=True, dynamic_config=EAGER)
        self.sightings = Sightings(self.control_plane)
        self._settings = directory / "worker.toml"
        self.worker = Worker(directory, settings=self._settings, address=self.server.address)
        self._open = ExitStack()

    @property
    def pids(self) -> dict[str, int]:
        """The processes that are ours, by name."""
        return {"worker": self.worker.pid, "Temporal": self.server.pid}

    async def connect(self) -> Client:
        """A client as the product has one."""
        return await Client.connect(self.server.address, data_converter=DATA_CONVERTER)

    async def pairs(self, prefix: str, count: int, *, a_namespace: int = 10, stable: int = 1) -> list[Pair]:
        """What rollouts need, their gauges included; arguments as in `pairs`."""
        made = await asyncio.to_thread(pairs, self.control_plane, prefix, count, a_namespace=a_namespace, stable=stable)
        services = [pair.name for pair in made]
        self.gauges.set(services, gauges.GOOD)
        await self.scraped(services)
        return made

    async def start(self, client: Client, pair: Pair, spec: dict[str, Any] | None = None) -> Running:
        """Start a rollout; `spec` is merged into the usual one."""
        asked_at = time.time()
        handle = await client.start_workflow(
            names.ROLLOUT,
            usual(pair) | (spec or {}),
            id=names.workflow_id("bench", pair.name),
            task_queue=names.TASK_QUEUE,
            result_type=RolloutResult,
            rpc_timeout=timedelta(seconds=PATIENCE_S),  # hundreds at once queue in the server
        )
        return Running(pair, handle, asked_at)

    async def scraped(self, services: list[str], prometheus: Prometheus | None = None) -> None:
        """Wait until Prometheus knows the gauges."""
        source = prometheus or self.prometheus
        wanted = set(services)

        def known() -> bool:
            return wanted <= {labels["service"] for labels, _ in source.query(gauges.METRIC)}

        await until(lambda: asyncio.to_thread(known), "the gauges are scraped", every_s=0.25)

    def _write_settings(self) -> None:
        urls = {"prometheus": self.prometheus.url} | {name: part.url for name, part in self.spare.items()}
        lines = ['graceful_stop = "1s"', "[connections.cluster]", 'kind = "kubernetes"']
        lines.append(f"kubeconfig = {json.dumps(str(self.control_plane.kubeconfig))}")
        for name, url in urls.items():
            lines += [f"[connections.{name}]", 'kind = "prometheus"', f"url = {json.dumps(url)}"]
        self._settings.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for part in (self.gauges, self.control_plane, self.prometheus, self.server):
                undo.enter_context(part)
            undo.enter_context(self.sightings)
            self._write_settings()
            undo.callback(self.worker.stop)
            self.worker.start()
            self._open = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def usual(pair: Pair) -> dict[str, Any]:
    """A long bake at 5 % under a rule with the shortest `for`, everything else as it is by default."""
    route = {"kind": "ingress-nginx", "connection": "cluster", "namespace": pair.namespace, "ingress": pair.name}
    return {
        "service": pair.name,
        "environment": "bench",
        "release": {"candidate": "2", "stable": "1"},
        "strategy": {"kind": "canary", "stages": [{"percent": FIRST, "bake": "1h"}, {"percent": 100, "bake": "10s"}]},
        "routes": [{**route, "candidate": CANDIDATE, "stable": STABLE}],
        "gates": {"errors": gate(pair)},
    }


def gate(pair: Pair, connection: str = "prometheus") -> dict[str, Any]:
    """The rule, asked of one of the Prometheus servers."""
    found = {"kind": "threshold", "query": gauges.query(pair.name), "above": gauges.LIMIT, "for": "0s"}
    return {**found, "connection": connection}


async def until(
    condition: Callable[[], bool | Awaitable[bool]],
    what: str,
    *,
    within_s: float = PATIENCE_S,
    every_s: float = LOOK_EVERY_S / 5,
) -> None:
    """Look again and again until it is so.

    Raises:
        Missed: it is not so in time.
    """
    end = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        if time.monotonic() > end:
            raise Missed(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(every_s)
