"""Who says in the status of an HTTPRoute that it is in force: the controller of a gateway without a gateway.

Visitors are other tests' business; here a route only has to be accepted, in every namespace, by one who asks several
times a second and takes everything. Where a test has visitors, the plane's own controller says the same.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx

from testbed.kubernetes import ApiRefused, gateway
from testbed.kubernetes.rules import Site
from tests.acceptance.sites import NOT_FOUND

if TYPE_CHECKING:
    from testbed.kubernetes import Api

EVERY_S = 0.2


async def accept_all(api: Api) -> None:
    """Accept every HTTPRoute of the cluster until cancelled; in a thread of its own, so that it waits for no test."""
    with ThreadPoolExecutor(1, "gatekeeper") as thread:
        while True:
            await asyncio.get_running_loop().run_in_executor(thread, _accept, api)
            await asyncio.sleep(EVERY_S)


def _accept(api: Api) -> None:
    try:
        for route in api.list("HTTPRoute"):
            if _seen(route) < route["metadata"]["generation"]:
                _accept_one(api, route)
    except httpx.TransportError:
        return  # the API server is down, and comes back


def _seen(route: dict[str, Any]) -> int:
    """The generation that was accepted last."""
    told = [each["conditions"] for each in route.get("status", {}).get("parents") or []]
    return min((each.get("observedGeneration", 0) for conditions in told for each in conditions), default=0)


def _accept_one(api: Api, route: dict[str, Any]) -> None:
    name, namespace = route["metadata"]["name"], route["metadata"]["namespace"]
    services = {each["metadata"]["name"]: each for each in api.list("Service", namespace)}
    parents = gateway.parents(route, Site({"Service": services}, {}), refused=False)
    try:
        api.patch("HTTPRoute", name, {"status": {"parents": parents}}, namespace, subresource="status")
    except ApiRefused as refused:
        if refused.code != NOT_FOUND:  # gone meanwhile
            raise
