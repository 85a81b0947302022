"""A small shop to roll out: `python -m testbed.shop --version canary --port 8001`.

Why: gates are only worth what the application counts, so this one counts as the documentation asks applications to:
every status series exists from the start with value 0 (a series born with its first errors hides exactly these errors
from `rate()`), and latency, sessions, conversions and bounces carry the same two labels.

With `--flag-file FILE --flag KEY` it asks a feature flag for every visitor, see `testbed.feature`; a fault of the
feature then meets only those who see it.

Faults are switched on over HTTP (`POST /-/fault`) and drawn from a seeded generator, so a run can be repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import prometheus_client
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from testbed.feature import Feature

STATUSES: Final = ("200", "500", "503")
# Seconds. 0.3 is the boundary that the example's latency gate asks for.
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5)
DRAIN_S: Final = 3.0


@dataclass(frozen=True)
class Fault:
    """What is wrong with the shop, and how its visitors behave.

    Attributes:
        error_ratio: Share of requests answered with `status`, 0–1.
        latency_ms: Milliseconds added to every answer.
        status: HTTP status of a failing answer, 500 or 503.
        conversion_ratio: Share of good sessions that buy, 0–1.
        bounce_ratio: Share of good sessions that leave at once, 0–1.
        flagged_error_ratio: Share of requests of visitors who see the feature that are answered with `status`, 0–1;
            set it on the version that has the feature's code. Nothing without a flag.
    """

    error_ratio: float = 0.0
    latency_ms: float = 0.0
    status: int = 500
    conversion_ratio: float = 0.025
    bounce_ratio: float = 0.4
    flagged_error_ratio: float = 0.0

    def __post_init__(self) -> None:
        for name in ("error_ratio", "conversion_ratio", "bounce_ratio", "flagged_error_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, got {getattr(self, name)}")
        if self.latency_ms < 0:
            raise ValueError(f"latency_ms is 0 or more milliseconds, got {self.latency_ms}")
        if str(self.status) not in STATUSES[1:]:
            raise ValueError(f"status is 500 or 503, got {self.status}")

    def changed(self, fields: object) -> Fault:
        """This fault with some fields replaced.

        Args:
            fields: A decoded JSON object of field names and numbers.

        Returns:
            The new fault.

        Raises:
            ValueError: For an unknown field, a value that is no number, or one out of range.
        """
        if not isinstance(fields, dict) or not set(fields) <= set(self.__dataclass_fields__):
            raise ValueError(f"expected a JSON object with fields out of {', '.join(self.__dataclass_fields__)}")
        for name, value in fields.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name} is a number, got {value!r}")  # noqa: TRY004 - one kind of refusal
        return replace(self, **fields)


class Tallies:
    """What the shop counts, in a registry of its own."""

    def __init__(self, service: str, version: str) -> None:
        prometheus_client.disable_created_metrics()  # a second series for each one, which nobody asks for
        self.registry = CollectorRegistry()
        names = ("service", "version")
        requests = Counter("http_requests_total", "Requests by status.", (*names, "status"), registry=self.registry)
        # Touching a child creates its series: all of them at 0 from the first scrape on.
        self.requests: Mapping[str, Counter] = {s: requests.labels(service, version, s) for s in STATUSES}
        self.duration_s = Histogram(
            "http_request_duration_seconds", "Time to answer.", names, registry=self.registry, buckets=BUCKETS_S
        ).labels(service, version)
        self.sessions = self._counter("sessions_total", "Visits.", service, version)
        self.conversions = self._counter("conversions_total", "Visits that ended in a purchase.", service, version)
        self.bounces = self._counter("bounces_total", "Visits that ended at once.", service, version)

    def _counter(self, name: str, what: str, service: str, version: str) -> Counter:
        return Counter(name, what, ("service", "version"), registry=self.registry).labels(service, version)


class Shop:
    """One version of the service: its answers, its faults, its numbers."""

    def __init__(self, service: str, version: str, seed: int, feature: Feature | None = None) -> None:
        self._service = service
        self._version = version
        self._feature = feature
        self._draw = random.Random(seed).random
        self._tallies = Tallies(service, version)
        self._fault = Fault()
        if feature is not None:
            feature.count_in(self._tallies.registry, service, version, STATUSES)

    def application(self) -> web.Application:
        """The HTTP application with its four addresses."""
        application = web.Application()
        application.router.add_get("/", self.visit)
        application.router.add_get("/ready", self.ready)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/-/fault", self.show_fault)
        application.router.add_post("/-/fault", self.set_fault)
        application.cleanup_ctx.append(self._flagged)
        return application

    async def visit(self, request: web.Request) -> web.Response:
        """One visit: 200, or the fault's status for the fault's share of requests."""
        clock = asyncio.get_running_loop().time
        began_s = clock()
        fault = self._fault
        # Always three draws, so that a fault in one place does not shift the luck of the others.
        fails, buys, leaves = self._draw(), self._draw(), self._draw()
        if fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        feature, given = self._feature, None
        broken = fails < fault.error_ratio
        if feature is not None:
            given = feature.given(request.headers.get("X-User"))
            broken |= feature.fails(given, fault.flagged_error_ratio)
        status = fault.status if broken else 200
        tallies = self._tallies
        tallies.sessions.inc()
        if status == 200:  # nobody buys from an error page
            if buys < fault.conversion_ratio:
                tallies.conversions.inc()
            elif leaves < fault.bounce_ratio:
                tallies.bounces.inc()
        tallies.requests[str(status)].inc()
        tallies.duration_s.observe(clock() - began_s)
        said = {"service": self._service, "version": self._version}
        if feature is not None and given is not None:
            feature.counted(given, status)
            said["variation"] = given.variation
        return self._answer(said, status)

    async def ready(self, _request: web.Request) -> web.Response:
        """For health checks; not counted."""
        return self._answer({"ready": True})

    async def metrics(self, _request: web.Request) -> web.Response:
        """For Prometheus; not counted."""
        return web.Response(
            body=prometheus_client.generate_latest(self._tallies.registry),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )

    async def show_fault(self, _request: web.Request) -> web.Response:
        """The fault in force."""
        return self._answer(vars(self._fault))

    async def set_fault(self, request: web.Request) -> web.Response:
        """Change some fields of the fault; the others stay."""
        try:
            self._fault = self._fault.changed(await request.json())
        except ValueError as error:
            return self._answer({"error": str(error)}, 400)
        return self._answer(vars(self._fault))

    async def _flagged(self, _application: web.Application) -> AsyncIterator[None]:
        if self._feature is not None:
            self._feature.start()
        yield
        if self._feature is not None:
            self._feature.stop()

    def _answer(self, body: Mapping[str, object], status: int = 200) -> web.Response:
        return web.json_response(body, status=status, headers={"X-Version": self._version})


def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight."""
    parser = argparse.ArgumentParser(prog="python -m testbed.shop", description="A small shop to roll out.")
    parser.add_argument("--version", required=True, help="what it calls itself in metrics and X-Version")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--service", default="checkout")
    parser.add_argument("--seed", type=int, default=1, help="of its errors, purchases and bounces")
    parser.add_argument("--flag-file", type=Path, help="file of flagd's format that the flag is in")
    parser.add_argument("--flag", help="key of a boolean flag that is asked for every visitor")
    options = parser.parse_args()
    if bool(options.flag) != bool(options.flag_file):
        parser.error("--flag-file and --flag go together")
    feature = None
    if options.flag:
        # Only then: the SDK takes half a second to load.
        from testbed.feature import Feature  # noqa: PLC0415

        feature = Feature(options.flag_file, options.flag, options.version, options.seed)
    shop = Shop(options.service, options.version, options.seed, feature)
    print(f"shop {options.service} {options.version} listens on {options.host}:{options.port}", flush=True)
    web.run_app(
        shop.application(),
        host=options.host,
        port=options.port,
        access_log=None,
        print=None,
        shutdown_timeout=DRAIN_S,
    )


if __name__ == "__main__":
    main()
