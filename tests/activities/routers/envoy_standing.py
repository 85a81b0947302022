"""A running Envoy with its shops, and its stand as every test finds it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import httpx

from testbed.programs import Shop
from tests.activities.routers.contract import proven
from tests.activities.routers.envoy_gate import Gate, client
from tests.activities.routers.envoy_stand import EdgeEnvoy, EnvoyStand, RuntimeEnvoy, RuntimeStand

AnEnvoy = TypeVar("AnEnvoy", EdgeEnvoy, RuntimeEnvoy)
AStand = TypeVar("AStand", EnvoyStand, RuntimeStand)


@contextmanager
def serving(folder: Path, kind: type[AnEnvoy]) -> Iterator[tuple[AnEnvoy, Shop]]:
    """An Envoy in front of two shops, and the stable one of these."""
    stable, candidate = Shop(folder, version="stable"), Shop(folder, version="canary")
    envoy = kind(folder, stable_port=stable.port, candidate_port=candidate.port)
    with stable, candidate, envoy:
        yield envoy, stable


@asynccontextmanager
async def standing(
    kind: Callable[[AnEnvoy, Shop, httpx.AsyncClient, Gate], AStand], parts: tuple[AnEnvoy, Shop]
) -> AsyncIterator[AStand]:
    """The stand for one test: nothing is rolled out, and Envoy shows it."""
    envoy, stable = parts
    async with client() as http, Gate(envoy.admin_url).standing() as gate:
        stand = kind(envoy, stable, http, gate)
        await stand.reset()
        await proven(stand.router(), 0)
        yield stand
