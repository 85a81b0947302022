"""One rollout on a cluster: a `Trial` of the workflow's tests whose route and pods are real."""

from __future__ import annotations

import asyncio
import copy
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from temporalio.service import RPCError

from rollout import names
from rollout.happened import Phase, RolloutResult
from tests.acceptance.cluster import ClusterConnections, Wrote
from tests.acceptance.sites import GatewaySite, Site
from tests.fakes.metrics import FakeMetrics
from tests.workflows.trial import LOOK_EVERY_S, PATIENCE_S, Trial, ladder

if TYPE_CHECKING:
    from collections.abc import Callable

    from temporalio.client import Client

    from testbed.kubernetes import ControlPlane
    from tests.acceptance.clients import Clients

_numbers = itertools.count(1)


@dataclass
class ClusterTrial(Trial):
    """One rollout of a site.

    Attributes:
        site: what is rolled out, and where.
    """

    connections: ClusterConnections
    site: Site = field(kw_only=True)

    # ── what is there ────────────────────────────────────────────────────────────────────────────

    async def until_there(self, so: Callable[[], object], what: str) -> None:
        """Look at the cluster until something is so there."""
        deadline = time.monotonic() + PATIENCE_S
        while not await asyncio.to_thread(so):
            assert time.monotonic() < deadline, f"{self.service} not in time: {what}"
            await asyncio.sleep(LOOK_EVERY_S)

    async def until_percent(self, percent: float) -> None:
        """Wait until the object that splits says so."""
        await self.until_there(lambda: self.site.percent() == percent, f"{percent} % is there")

    async def deliver(self, image: str, **more: Any) -> None:
        """See `Site.deliver`; returns when the controllers have seen it."""
        await self.do(self.site.deliver, image, **more)
        await self.until_settled()

    async def until_settled(self) -> None:
        """Wait until the controllers have seen what was applied."""
        await self.until_there(self.site.is_settled, f"everything in {self.site.namespace} was seen")

    async def do(self, what: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Do something to the cluster; its client blocks."""
        return await asyncio.to_thread(what, *arguments, **more)

    @property
    def wrote(self) -> list[Wrote]:
        """Everything that was written to the site, oldest first."""
        return [each for each in self.connections.cluster.wrote if each.namespace == self.site.namespace]

    def wrote_split(self) -> list[Wrote]:
        """What of it was written to the object that splits."""
        return [each for each in self.wrote if (each.kind, each.name) == self.site.marked]

    # ── how it ends ──────────────────────────────────────────────────────────────────────────────

    async def promoted(self) -> RolloutResult:
        """Wait for the end, which must be a promotion: all traffic on the candidate, and nothing of ours left."""
        result: RolloutResult = await self.handle.result()
        assert (result.outcome, result.percent) == (Phase.PROMOTED, 100)
        assert (await self.attributes())[names.PHASE] == Phase.PROMOTED
        assert await self.do(self._stands) == (100, None, False)
        return result

    def is_back(self) -> None:
        """All traffic is on stable, and nothing of ours is left."""
        assert self._stands() == (0, None, False)

    def _stands(self) -> tuple[float, str | None, bool]:
        return self.site.percent(), self.site.mark().get("owner"), self.site.forced()

    async def again(self, **spec: Any) -> ClusterTrial:
        """Start it once more, with fields of the spec changed."""
        self.spec |= spec
        return await self.begun()

    async def begun(self) -> ClusterTrial:
        """Start it."""
        await self.start()
        return self

    async def evidence(self) -> str:
        """What a failed test needs to be understood."""
        began = self.wrote[0].at if self.wrote else 0.0
        lines = [f"{each.at - began:7.2f} s {each}" for each in self.wrote]
        if not self.started:
            return "\n".join([f"{self.service} was never started", *lines])
        try:
            async with asyncio.timeout(10):
                lines.append((await self.status()).details)
                raw = (await self.handle.describe()).raw_description
                lines += [str(each.last_failure.message) for each in raw.pending_activities]
        except Exception as error:  # noqa: BLE001 - it must not hide the failure it explains
            lines.append(f"(no more: {error!r})")
        return "\n".join(lines)


class ClusterTrials:
    """Makes rollouts that do not meet: every one has a namespace, a service and metrics of its own."""

    def __init__(
        self, client: Client, connections: ClusterConnections, clients: Clients, control_plane: ControlPlane
    ) -> None:
        self._client, self._connections, self._clients = client, connections, clients
        self.control_plane = control_plane
        self.made: list[ClusterTrial] = []

    async def of(
        self,
        site: type[Site] = GatewaySite,
        strategy: dict[str, Any] | None = None,
        *,
        pods: int = 2,
        deployment: dict[str, Any] | None = None,
        **spec: Any,
    ) -> ClusterTrial:
        """Put a site up and prepare its rollout; nothing is started.

        Args:
            site: what kind of route it has.
            strategy: as in a spec; default 50 → 100 %, two seconds each.
            pods: that stable has.
            deployment: more arguments of the manifest of the Deployment that gets the candidate.
            spec: more fields of the spec; `policy`, `gates`, `route` and `workload` are merged into the usual ones.
        """
        made = site(self._clients, pods, **(deployment or {}))
        service = f"service-{next(_numbers)}"
        trial = ClusterTrial(self._client, self._connections, service, {}, (), FakeMetrics(), site=made)
        self.made.append(trial)
        self._connections.sources[service] = trial.metrics
        await trial.do(made.put_up)
        await trial.until_settled()
        gate = {"kind": "threshold", "query": 'errors_ratio{x="1"}', "above": 0.05, "connection": service}
        policy = {"poll": "1s", "prove_within": "60s", "drain": "1s", **spec.pop("policy", {})}
        gates = {"errors": gate, **{name: {**gate, **more} for name, more in spec.pop("gates", {}).items()}}
        workload = made.workload(**spec.pop("workload", {}))
        whole = {
            "schema": 1,
            "service": service,
            "environment": "test",
            "release": {"candidate": "2.0", "stable": "1.0"},
            "strategy": strategy or ladder(50, 100),
            "routes": [made.route(**spec.pop("route", {}))],
            "gates": gates,
            "policy": policy,
            **({"workload": workload} if workload else {}),
            **spec,
        }
        trial.spec = copy.deepcopy(whole)
        if made.kind != "rolling-update":
            await trial.deliver("shop:2.0")
        return trial

    async def begun(self, *arguments: Any, **more: Any) -> ClusterTrial:
        """The same, and start it."""
        return await (await self.of(*arguments, **more)).begun()

    async def clear_away(self) -> None:
        """End what a story has left running."""
        for trial in self.made:
            for handle in trial.started:
                with suppress(RPCError):  # it has ended
                    await handle.terminate("the story is over")
