"""AWS's front door: `python -m testbed.aws.gate --port 5000 --moto http://127.0.0.1:5001 --state gate.json`.

One address for every service. Calls of elbv2, cloudwatch, lambda and ecs are decoded, checked, failed on demand and
answered; what belongs to other services is passed on to moto as it came. With `--admin-port` and `--table` the rules of
one listener are shown to HAProxy. Its own paths begin with `/-/`: fault, calls, weights, refresh, ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web
from pydantic import ValidationError

from testbed.aws.account import Account, load_balancer_of
from testbed.aws.counts import Counts
from testbed.aws.elbv2 import LoadBalancing
from testbed.aws.faults import Dropped, Faults, Injector
from testbed.aws.functions import Functions
from testbed.aws.health import Health
from testbed.aws.moto import Moto
from testbed.aws.plane import Plane, rendered
from testbed.aws.services import Services
from testbed.aws.wire import SERVICES, Call, Refusal, decode, encode, encode_refusal, scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_CALLS: Final = 20_000
COUNT_EVERY_S: Final = 0.1
MOTO_WITHIN_S: Final = 20.0
_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "content-encoding", "content-length", "host"}


class Shown:
    """The rules of one listener, on their way to the data plane: at once, or late if that is the fault of the day."""

    def __init__(self, account: Account, plane: Plane, listener: str) -> None:
        """Show nothing yet.

        Args:
            account: whose rules.
            plane: where to show them.
            listener: load balancer and port: `shop:80`.
        """
        self._account, self._plane = account, plane
        self._name, _, port = listener.partition(":")
        self._port = int(port)
        self.health: Health | None = None
        self._wanted: list[dict[str, object]] = []
        self._in_force: list[dict[str, object]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writes = self._applied = 0

    @property
    def listener_arn(self) -> str | None:
        """The listener's ARN, None as long as it is not there."""
        for arn, listener in self._account.listeners.items():
            if f"loadbalancer/app/{self._name}/" in load_balancer_of(arn) and listener["Port"] == self._port:
                return arn
        return None

    async def moved(self, effect_delay_s: float) -> None:
        """Rules, groups or targets have changed."""
        arn = self.listener_arn
        names = {each: group["TargetGroupName"] for each, group in self._account.groups.items()}
        rules = rendered(self._account.rules[arn], names) if arn else []
        if rules != self._wanted:
            self._wanted = rules
            self._writes += 1
            if effect_delay_s:
                self._start(self._later(effect_delay_s, self._writes, rules))
                return
            self._in_force, self._applied = rules, self._writes
        await self.show()

    async def _later(self, delay_s: float, number: int, rules: list[dict[str, object]]) -> None:
        await asyncio.sleep(delay_s)
        if number > self._applied:
            self._in_force, self._applied = rules, number
            await self.show()

    async def show(self) -> None:
        """Show what is in force, and the targets that are alive."""
        if self.health is None:
            return
        live = {group["TargetGroupName"]: self.health.live(arn) for arn, group in self._account.groups.items()}
        await self._plane.show(
            self._in_force, {name: [port for _, port in each] for name, each in live.items() if each}
        )

    def show_soon(self) -> None:
        """The same for those who cannot wait."""
        self._start(self.show())

    def _start(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Gate:
    """The gate's own paths, and everybody else's."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Take the options of the command line."""
        self._moto = Moto(options.moto)
        self._account = Account(self._moto, options.state)
        self._injector = Injector(Faults(), time.monotonic)
        self._plane = Plane(options.table, options.admin_port)
        self._shown = Shown(self._account, self._plane, options.listener)
        self._health = Health(self._account, self._shown.show_soon, time.monotonic)
        self._shown.health = self._health
        self._counts = Counts(self._moto, self._account, self._injector, time.time)
        self._balancing = LoadBalancing(self._moto, self._account, self._health, self._injector, self._moved)
        self._services = Services(self._moto, self._account, self._injector, self._balancing)
        functions = Functions(self._moto, self._account, self._counts, self._injector, time.monotonic)
        self._handlers = {
            "elbv2": self._balancing.handle,
            "cloudwatch": self._counts.handle,
            "ecs": self._services.handle,
            "lambda": functions.handle,
        }
        self._calls: deque[dict[str, Any]] = deque(maxlen=MAX_CALLS)
        self._http: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        """The HTTP application."""
        application = web.Application(client_max_size=64 * 2**20)
        router = application.router
        router.add_get("/-/ready", self._ready)
        router.add_get("/-/fault", self._show_faults)
        router.add_post("/-/fault", self._set_faults)
        router.add_delete("/-/fault", self._heal)
        router.add_get("/-/calls", self._show_calls)
        router.add_delete("/-/calls", self._forget_calls)
        router.add_post("/-/weights", self._somebody_writes)
        router.add_post("/-/refresh", self._refresh)
        router.add_route("*", "/{path:.*}", self._serve)
        application.cleanup_ctx.append(self._alive)
        return application

    async def _alive(self, _application: web.Application) -> AsyncIterator[None]:
        await self._first_look()
        await self._moved()
        self._services.resume()
        self._http = aiohttp.ClientSession(auto_decompress=False)
        tasks = [asyncio.create_task(self._health.run()), asyncio.create_task(self._count())]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._http.close()
        self._moto.close()

    async def _first_look(self) -> None:
        """Wait for moto, which may have been started at the same moment."""
        until = time.monotonic() + MOTO_WITHIN_S
        while True:
            try:
                return await self._account.refresh()
            except Refusal:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(COUNT_EVERY_S)

    async def _count(self) -> None:
        while True:
            await self._plane.look()
            if arn := self._shown.listener_arn:
                self._counts.follow(self._plane.counts, load_balancer_of(arn))
            await asyncio.sleep(COUNT_EVERY_S)

    async def _moved(self) -> None:
        await self._shown.moved(self._injector.faults.effect_delay_s)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        signed_for = scope(request.headers)
        service = SERVICES.get(signed_for[1]) if signed_for else None
        if signed_for is None or service is None:
            return await self._pass_on(request, body)
        call = Call(service, "unknown", protocol="query" if service == "elbv2" else "json")
        seen: dict[str, Any] = {
            "at": time.time(),
            "service": service,
            "operation": "unknown",
            "params": {},
            "error": None,
        }
        self._calls.append(seen)
        try:
            call = decode(service, signed_for[0], request, body)
            seen |= {"operation": call.operation, "params": json.loads(json.dumps(call.params, default=str))}
            await self._injector.before(call)
            result = await self._handlers[service](call)
            await self._injector.after(call)
            return encode(call, result)
        except Refusal as refusal:
            seen["error"] = refusal.code
            return encode_refusal(call, refusal)
        except Dropped:
            seen["error"] = "dropped"
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        assert self._http is not None  # noqa: S101 - the application is running
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = f"{self._moto.url}{request.rel_url.raw_path_qs}"
        async with self._http.request(request.method, url, headers=headers, data=body) as answer:
            passed = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            return web.Response(status=answer.status, headers=passed, body=await answer.read())

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    async def _show_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._injector.faults.model_dump(mode="json"))

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            faults = Faults.model_validate({**self._injector.faults.model_dump(), **await request.json()})
        except ValidationError as error:
            return web.json_response({"error": str(error)}, status=400)
        self._injector.change(faults)
        self._health.sick = faults.sick
        return web.json_response(faults.model_dump(mode="json"))

    async def _heal(self, _request: web.Request) -> web.Response:
        self._injector.change(Faults())
        self._health.sick = ()
        return web.json_response({})

    async def _show_calls(self, request: web.Request) -> web.Response:
        wanted = request.query.get("operation")
        return web.json_response([call for call in self._calls if wanted in {None, call["operation"]}])

    async def _forget_calls(self, _request: web.Request) -> web.Response:
        self._calls.clear()
        return web.json_response({})

    async def _somebody_writes(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        try:
            await self._balancing.write_weights(wanted["rule_arn"], wanted["weights"], wanted.get("sticky_s"))
        except Refusal as refusal:
            return web.json_response({"error": str(refusal)}, status=400)
        return web.json_response({})

    async def _refresh(self, _request: web.Request) -> web.Response:
        await self._balancing.refresh()
        return web.json_response({})


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m testbed.aws.gate", description="AWS's front door, before moto.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--moto", required=True, help="address of moto's server")
    parser.add_argument("--state", type=Path, required=True, help="JSON file of what moto does not keep")
    parser.add_argument("--listener", default="shop:80", help="load balancer and port whose rules HAProxy follows")
    parser.add_argument(
        "--table", type=Path, help="file with the rules, read by HAProxy; without it nothing is carried"
    )
    parser.add_argument("--admin-port", type=int, default=0, help="of HAProxy's admin socket")
    options = parser.parse_args()
    application = Gate(options).application()
    web.run_app(application, host=options.host, port=options.port, access_log=None, print=None, shutdown_timeout=0.5)


if __name__ == "__main__":
    main()
