"""Envoy: weights as runtime values, for an operator whose route configuration nobody else may write.

The operator's routes carry `weighted_clusters` with `runtime_key_prefix: sluice.<service>` and, for the forced header,
rules with `runtime_key: sluice.<service>.forced`; an example is `deploy/envoy/runtime.yaml`. Nothing but values is
written: into a disk layer of the service's own, which Envoy reads as soon as its symlink is swapped. `POST
/runtime_modify` would need no folder, but Envoy forgets it when it restarts, and a candidate at 100 % would be back at
0 % without anybody's decision. It is what people change by hand, though, and its layer usually has the last word: such
an override counts as drift, and the next write takes it away.

There is nothing that Envoy could refuse: what it cannot read it leaves out, and then all traffic is on stable.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

from activities.fence import fence
from activities.finishing import finished
from activities.ports import Pool, RouteState, Write
from activities.routers.envoy.admin import UNANSWERED, EnvoyAdmin
from activities.routers.envoy.connection import EnvoyConnection
from activities.routers.envoy.layer import RuntimeLayer
from activities.routers.envoy.routes import weights_of
from activities.routers.envoy.values import (
    Running,
    asked_values,
    desired_values,
    keys_of,
    layer_of,
    missing_layer,
    shown_values,
    view_values,
)
from activities.routers.envoy.wiring import Wiring, wiring
from rollout.errors import Misconfigured, RouterUnreachable
from rollout.routes import EnvoyRoute

_HASTE_S = 0.3  # the most that looking first, or waiting for Envoy to read, may cost
_POLL_S = 0.01


class EnvoyRuntimeRouter:
    """One service of one Envoy, whose weights are runtime values."""

    def __init__(self, route: EnvoyRoute, connection: EnvoyConnection, http: httpx.AsyncClient) -> None:
        """Take the route, the Envoy that has it, and a client that follows no redirects and knows no proxies.

        Raises:
            Misconfigured: the connection names no folder of runtime layers.
        """
        if connection.runtime is None:
            raise Misconfigured(f"{route}: connection {route.connection!r} names no folder `runtime` of runtime layers")
        self._route = route
        self._layer = RuntimeLayer(connection.runtime, route.service)
        self._admin = EnvoyAdmin(route, connection, http)

    async def read(self) -> RouteState:
        """See `ports.Router.read`; the percent of somebody's override counts as written, and never as in force."""
        values = await self._layer.read()
        running = await self._running()
        wired = await self._wired()
        written = asked_values(values, running, self._route)
        unloaded = None if running.loaded else await self._unloaded(values)
        problem = self._overridden(running) or (unloaded if values else None) or self._stale(values, running)
        problem = problem or wired.leak or (wired.lack if written.percent else None)
        weights = ", ".join(f"{name} {weight}" for name, weight in written.split.items())
        proof = f"Envoy's layer {layer_of(self._route)} shows epoch {written.mark.epoch}: {weights}"
        return RouteState(
            percent=written.percent,
            in_force=None if problem else written.percent,
            epoch=written.mark.epoch,
            owner=written.mark.owner,
            forced=written.forced,
            healthy=await self._admin.healthy(),
            # What speaks against a raise is no reason to doubt 0 %, but one not to start.
            problem=problem or unloaded or wired.lack,
            proof="" if problem else proof,
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; it finishes even if the caller is cancelled, so that no swap is left unseen."""
        await finished(self._write(write))

    async def in_flight(self, pool: Pool) -> int:
        """See `ports.Router.in_flight`; a pool that Envoy does not know serves none."""
        return await self._admin.in_flight(pool)

    async def _write(self, write: Write) -> None:
        wanted = desired_values(self._route, write)
        async with self._layer.alone():
            values = await self._layer.read()
            mark = view_values(values, self._route).mark
            fence(self._route, mark.epoch, mark.owner, write)
            running: Running | None = None
            try:
                async with asyncio.timeout(None if write.percent else _HASTE_S):
                    await self._admin.refuse_unknown(weights_of(write.percent, self._route), write)
                    running = await self._running()
                    if write.percent > 0:
                        await self._refuse_unwired(running)
            except (*UNANSWERED, TimeoutError):
                if write.percent > 0:
                    raise  # the way back, though, is written blind: Envoy reads it as soon as it can
            # What is written but not shown was missed: Envoy notices swaps, so the same values are swapped in again.
            if wanted != values or running is None or running.ours != wanted:
                async with self._layer.swapping():
                    await self._layer.replace(wanted)
                    if running is not None:
                        await self._settle(wanted)
            if running is not None and running.overrides:
                with suppress(*UNANSWERED):  # then `read` still names what has the last word
                    await self._admin.tell("/runtime_modify", **dict.fromkeys(running.overrides, ""))

    async def _settle(self, wanted: dict[str, str]) -> None:
        """Give Envoy the time to read the values, within reason; whether it has is for `read` to say."""
        with suppress(*UNANSWERED, TimeoutError):
            async with asyncio.timeout(_HASTE_S):
                while True:
                    if (await self._running()).ours == wanted:
                        return
                    await asyncio.sleep(_POLL_S)

    async def _refuse_unwired(self, running: Running) -> None:
        wired = await self._wired()
        unloaded = None if running.loaded else await self._missing()
        if problem := unloaded or wired.leak or wired.lack:
            raise Misconfigured(f"{self._route}: {problem}; nothing was written")

    def _overridden(self, running: Running) -> str | None:
        """Who else has the last word on a value; None if nobody."""
        for key, (layer, value) in running.overrides.items():
            undo = f"POST /runtime_modify?{key}= takes it away, as does the next write, if that is Envoy's admin layer"
            return f"Envoy's runtime layer {layer} overrides {key} with {value}: {undo}"
        return None

    def _stale(self, values: dict[str, str], running: Running) -> str | None:
        """Where Envoy shows other values than the folder; None if nowhere."""
        for key in keys_of(self._route):
            wanted, shown = values.get(key, "nothing"), running.ours.get(key, "nothing")
            if wanted != shown:
                return f"Envoy's layer {layer_of(self._route)} shows {key}: {shown}; {self._layer} says {wanted}"
        split = view_values(values, self._route).split
        return None if sum(split.values()) > 0 else f"all weights of {self._layer} are zero: {', '.join(split)}"

    async def _unloaded(self, values: dict[str, str]) -> str | None:
        """Why Envoy has no layer of the service; None if that is because there is nothing to be read yet."""
        missing = await self._missing()
        if missing or not values:
            return missing
        return f"Envoy cannot read its layer {layer_of(self._route)}: is {self._layer} what its symlink_root names?"

    async def _running(self) -> Running:
        answer = await self._admin.ask("/runtime", format="json")
        with self._understanding("runtime values"):
            return shown_values(answer, self._route)

    async def _wired(self) -> Wiring:
        kinds = ("dynamic_route_configs", "static_route_configs")
        dumps = [await self._admin.ask("/config_dump", resource=kind) for kind in kinds]
        with self._understanding("routes"):
            return wiring(dumps, self._route)

    async def _missing(self) -> str | None:
        dump = await self._admin.ask("/config_dump", mask="bootstrap.layered_runtime")
        with self._understanding("runtime layers"):
            return missing_layer(dump, self._route)

    @contextmanager
    def _understanding(self, what: str) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RouterUnreachable(f"{self._route}: Envoy's {what} are not understood: {error}") from error
