"""Routers: one file for each way to move traffic."""

from typing import assert_never

import httpx

from activities.ports import Router
from activities.routers.envoy import EnvoyConnection, EnvoyRouter
from rollout.routes import EnvoyRoute, Route

RouterConnection = EnvoyConnection
"""Every kind of connection to a router; a union on `kind` as soon as there are two."""


def router_for(route: Route, connection: RouterConnection, http: httpx.AsyncClient) -> Router:
    """The adapter for a route.

    Args:
        route: as the user wrote it.
        connection: of the name that the route gives.
        http: shared client; must follow no redirects.
    """
    match route:
        case EnvoyRoute():
            return EnvoyRouter(route, connection, http)
        case _ as unreachable:
            assert_never(unreachable)
