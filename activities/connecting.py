"""From names in the settings to adapters: the one place that knows every backend.

Used by the worker, and by the command line where it asks a metrics server itself (`plan --prometheus`, `backtest
--prometheus`). Settings come from a TOML file (`SLUICE_CONFIG`, default `sluice.toml`) and from `SLUICE_*` variables,
which win. A spec names connections; only who reads these settings knows their addresses and secrets.
"""

import os
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from activities.finishing import all_finished
from activities.flags import FlagConnection, flag_for
from activities.metrics import MetricsConnection, WebConnection, source_for, web_for
from activities.metrics.web import HttpSource
from activities.ports import FlagService, MetricSource, Router, WebSource, Workloads
from activities.routers import RouterConnection, router_for
from activities.shared import Shared
from activities.workload import workload_for
from rollout.errors import Misconfigured
from rollout.mitigations import Flag
from rollout.routes import FlagRoute, Route
from rollout.workloads import Workload

Connection = Annotated[
    RouterConnection | FlagConnection | MetricsConnection | WebConnection, Field(discriminator="kind")
]


_LAST_WRITES_S = 20.0  # what writes under way get when the worker stops
_ROUTER_CALLS = 16  # of blocking clients, at the same time


class NamedSettings(BaseSettings):
    """Connections and people by name. Unknown keys are refused: a misspelt one would silently not count."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", env_nested_delimiter="__", extra="forbid")

    connections: dict[str, Connection] = Field(default_factory=dict)
    people: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())


def config_file() -> Path:
    """Where the settings file is."""
    return Path(os.environ.get("SLUICE_CONFIG", "sluice.toml"))


class NamedConnections:
    """Turns the settings' names into adapters; each metrics server once, so that its connections are shared."""

    def __init__(self, settings: NamedSettings, shared: Shared, threads: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._shared = shared
        self._threads = threads
        self._sources: dict[str, MetricSource] = {}
        self._webs: dict[str, HttpSource] = {}

    def router(self, route: Route) -> Router:
        """The adapter for a route."""
        if isinstance(route, FlagRoute):
            return self.flag(route)
        return router_for(route, self._named(route.connection), self._shared)

    def metrics(self, connection: str) -> MetricSource:
        """The metrics server of that name."""
        found = self._named(connection)
        if not isinstance(found, MetricsConnection):
            raise Misconfigured(f"connection {connection!r} is of kind {found.kind}, not a metrics server")
        if connection not in self._sources:
            self._sources[connection] = source_for(found, self._threads)
        return self._sources[connection]

    def web(self, connection: str) -> WebSource:
        """The HTTP service of that name."""
        found = self._named(connection)
        if not isinstance(found, WebConnection):
            raise Misconfigured(f"connection {connection!r} is of kind {found.kind}, not http")
        if connection not in self._webs:
            self._webs[connection] = web_for(found)
        return self._webs[connection]

    def workload(self, workload: Workload) -> Workloads:
        """The adapter for a workload."""
        return workload_for(workload, self._named(workload.connection), self._shared)

    def flag(self, flag: Flag) -> FlagService:
        """The adapter for a flag."""
        return flag_for(flag, self._named(flag.connection), self._shared)

    def people(self, group: str) -> tuple[str, ...]:
        """Members of a group."""
        if group not in self._settings.people:
            raise Misconfigured(f"no people {group!r} in the worker's settings; known: {listed(self._settings.people)}")
        return self._settings.people[group]

    async def close(self) -> None:
        """Close what was opened."""
        for web in self._webs.values():
            await web.close()
        await self._shared.aclose()

    def _named(self, name: str) -> Connection:
        if name not in self._settings.connections:
            known = listed(self._settings.connections)
            raise Misconfigured(f"no connection {name!r} in the worker's settings; known: {known}")
        return self._settings.connections[name]


class OnlyNamed(NamedSettings):
    """The same for who reads a worker's file without being one: its other keys are none of our business."""

    model_config = SettingsConfigDict(extra="ignore")


@asynccontextmanager
async def connected(settings: NamedSettings, queries: int = 8) -> AsyncIterator[NamedConnections]:
    """The adapters, as long as they are needed.

    Args:
        settings: names and addresses.
        queries: metric queries in flight.
    """
    # Two pools: however many queries hang, the way back has threads.
    with ThreadPoolExecutor(queries, "query") as threads, ThreadPoolExecutor(_ROUTER_CALLS, "router") as hands:
        async with httpx.AsyncClient(trust_env=False) as http:
            connections = NamedConnections(settings, Shared(http, hands), threads)
            try:
                yield connections
            finally:
                await all_finished(_LAST_WRITES_S)
                await connections.close()


def listed(known: Iterable[str]) -> str:
    """Names for a sentence."""
    return ", ".join(sorted(known)) or "none"
