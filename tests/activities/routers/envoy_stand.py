"""Real Envoys for the contract suites, one for each place where weights are written, and what can go wrong there."""

import copy
import json
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import yaml

from activities.ports import Router
from activities.routers.envoy import EnvoyRouter
from activities.routers.envoy.connection import EnvoyConnection
from activities.routers.envoy.runtime import EnvoyRuntimeRouter
from rollout.errors import NotPermitted, RouterUnreachable, SluiceError
from rollout.routes import EnvoyRoute, Sticky
from testbed.envoy import ROUTES, Envoy
from testbed.parts import REPOSITORY
from testbed.processes import LOOPBACK, free_ports
from testbed.programs import Shop
from tests.activities.routers.contract import HEADER, CountingStand, RefusingStand, StoppableStand, until
from tests.activities.routers.envoy_gate import Gate, read_only
from tests.activities.routers.slow_shop import slowed
from tests.activities.routers.sticky_contract import StickyStand

POOLS = {"candidate": "checkout-candidate", "stable": "checkout-stable"}


class AnyEnvoyStand(StoppableStand, CountingStand):
    """An Envoy that reads its weights from somewhere, with a gate in front of its admin interface."""

    troubles: ClassVar[Mapping[str, type[SluiceError]]] = {
        "hanging": RouterUnreachable,
        "closed": NotPermitted,
        "read-only": NotPermitted,
    }

    def __init__(self, envoy: Envoy, stable: Shop, http: httpx.AsyncClient, gate: Gate) -> None:
        self.url = envoy.url
        self.http = http
        self.gate = gate
        self._part = envoy
        self._stable = stable

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where the weights are."""

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        with read_only(self.folder) if name == "read-only" else self.gate.letting(name):
            yield

    def stop(self) -> None:
        self._part.stop()

    def start(self) -> None:
        self._part.start()

    def slow(self) -> AbstractAsyncContextManager[None]:
        return slowed(self._stable)


# ── Weights in a route file ─────────────────────────────────────────────────────────────────────


class EdgeEnvoy(Envoy):
    """An Envoy with a second service, whose first listener can be set up in several ways.

    Attributes:
        ids: whether the listener gives requests an id; it rewrites it as tracing does.
        allowed: the paths of the admin interface, None for all of them.
        elsewhere: another folder, from which a second listener reads the same route configuration.
        elsewhere_url: where its visitors come in.
    """

    ids: bool = True
    allowed: tuple[str, ...] | None = None
    elsewhere: Path | None = None

    def __init__(self, directory: Path, *, stable_port: int, candidate_port: int) -> None:
        super().__init__(directory, stable_port=stable_port, candidate_port=candidate_port)
        self._cart_port, self._elsewhere_port = free_ports(2)
        self.elsewhere_url = f"http://{LOOPBACK}:{self._elsewhere_port}/"

    def prepare(self) -> None:
        super().prepare()
        seed = json.loads((ROUTES / "checkout.json").read_bytes())
        seed["resources"][0]["name"] = "cart"
        if not (self.routes / "cart.json").exists():
            (self.routes / "cart.json").write_text(json.dumps(seed), encoding="utf-8")
        file = self.directory / "envoy.json"
        config = json.loads(file.read_bytes())
        if self.allowed is not None:
            config["admin"]["allow_paths"] = [{"prefix": path} for path in ("/ready", *self.allowed)]
        [listener] = listeners = config["static_resources"]["listeners"]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager.update(generate_request_id=self.ids, tracing={"random_sampling": {"value": 50}})
        listeners.append(self._again(listener, "cart", self._cart_port, self.routes, "cart"))
        if self.elsewhere:
            listeners.append(self._again(listener, "elsewhere", self._elsewhere_port, self.elsewhere, "checkout"))
        file.write_text(json.dumps(config), encoding="utf-8")

    def _again(self, listener: dict[str, Any], name: str, port: int, routes: Path, service: str) -> dict[str, Any]:
        made = copy.deepcopy(listener)
        made["name"] = name
        made["address"]["socket_address"]["port_value"] = port
        manager = made["filter_chains"][0]["filters"][0]["typed_config"]
        manager["stat_prefix"] = name
        manager["rds"]["route_config_name"] = service
        source = manager["rds"]["config_source"]["path_config_source"]
        source["path"] = str(routes / f"{service}.json")
        source["watched_directory"]["path"] = str(routes)
        return made


class EnvoyStand(AnyEnvoyStand, RefusingStand, StickyStand):
    def __init__(self, envoy: EdgeEnvoy, stable: Shop, http: httpx.AsyncClient, gate: Gate) -> None:
        super().__init__(envoy, stable, http, gate)
        self.envoy = envoy

    @property
    def folder(self) -> Path:
        return self.envoy.routes

    def _router(self, service: str = "checkout", sticky: Sticky | None = None, candidate: str | None = None) -> Router:
        route = route_of(service, weights="file", sticky=sticky, candidate=candidate or POOLS["candidate"])
        connection = EnvoyConnection(admin=self.gate.url, routes=self.envoy.routes, timeout_s=1)
        return EnvoyRouter(route, connection, self.http)

    def router(self, *, unknown_candidate: bool = False) -> Router:
        return self._router(candidate="ghost" if unknown_candidate else None)

    def other_router(self) -> Router:
        return self._router("cart")

    def sticky_router(self, sticky: Sticky) -> Router:
        return self._router(sticky=sticky)

    def written(self) -> object:
        file = self.envoy.route_file.stat()
        return file.st_ino, file.st_mtime_ns, self.envoy.route_file.read_bytes()

    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.envoy.route_file.read_bytes()))

    async def drift(self, percent: float) -> None:
        document = self.document()
        weights = {POOLS["candidate"]: round(percent * 100), POOLS["stable"]: round((100 - percent) * 100)}
        for route in document["resources"][0]["virtual_hosts"][0]["routes"]:
            for share in route["route"].get("weighted_clusters", {}).get("clusters", []):
                share["weight"] = weights[share["name"]]
        await self.put(document)

    async def spoil(self) -> None:
        document = self.document()
        document["resources"][0]["virtual_hosts"][0]["domains"] = []
        await self.put(document)

    async def put(self, document: dict[str, Any], service: str = "checkout") -> None:
        """What an operator does, and wait until Envoy has looked at it."""
        before = await self._looked(service)
        file = self.envoy.routes / f"{service}.json"
        fresh = file.with_suffix(".operator")
        fresh.write_text(json.dumps(document), encoding="utf-8")
        fresh.rename(file)

        async def looked_again() -> bool:
            return await self._looked(service) > before

        await until(looked_again)

    async def _looked(self, service: str) -> int:
        asked = {"format": "json", "filter": rf"rds\.{service}\.update_attempt"}
        answer = await self.http.get(f"{self.envoy.admin_url}/stats", params=asked)
        return sum(int(each["value"]) for each in answer.json()["stats"] if "value" in each)

    async def reset(self) -> None:
        """Back to the operator's files as they were before anything was rolled out."""
        seed = json.loads((ROUTES / "checkout.json").read_bytes())
        await self.put(seed)
        cart = copy.deepcopy(seed)
        cart["resources"][0]["name"] = "cart"
        await self.put(cart, "cart")


# ── Weights in the runtime ──────────────────────────────────────────────────────────────────────


class RuntimeEnvoy(Envoy):
    """An Envoy with the configuration of `deploy/envoy/runtime.yaml`, and a second service of the same kind.

    Attributes:
        runtime: folder of the runtime layers.
    """

    TEMPLATE: ClassVar = REPOSITORY / "deploy" / "envoy" / "runtime.yaml"

    def __init__(self, directory: Path, *, stable_port: int, candidate_port: int) -> None:
        super().__init__(directory, stable_port=stable_port, candidate_port=candidate_port)
        self.runtime = self.directory / "runtime"
        self._cart_port = free_ports(1)[0]

    def config(self) -> dict[str, Any]:
        text = self.TEMPLATE.read_text(encoding="utf-8").replace("/etc/envoy/runtime", str(self.runtime))
        config: dict[str, Any] = yaml.safe_load(text)
        resources, layers = config["static_resources"], config["layered_runtime"]["layers"]
        ports = {POOLS["stable"]: self._stable_port, POOLS["candidate"]: self._candidate_port}
        _listen(config["admin"], self._admin_port)
        for cluster in resources["clusters"]:
            [locality] = cluster["load_assignment"]["endpoints"]
            _listen(locality["lb_endpoints"][0]["endpoint"], ports[cluster["name"]])
        [listener] = resources["listeners"]
        [layer, _admin] = layers
        as_text = json.dumps([listener, layer])
        for name in ('"name": "checkout"', "sluice.checkout", "sluice-checkout", "runtime/checkout"):
            as_text = as_text.replace(name, name.replace("checkout", "cart"))
        cart_listener, cart_layer = json.loads(as_text)
        _listen(listener, self._listener_port)
        _listen(cart_listener, self._cart_port)
        cart_listener["name"] = "cart"
        resources["listeners"].append(cart_listener)
        layers.insert(0, cart_layer)
        return config

    def prepare(self) -> None:
        self.runtime.mkdir(exist_ok=True)
        config = self.config()
        (self.directory / "envoy.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def _listen(part: dict[str, Any], port: int) -> None:
    part["address"]["socket_address"] = {"address": LOOPBACK, "port_value": port}


class RuntimeStand(AnyEnvoyStand):
    def __init__(self, envoy: RuntimeEnvoy, stable: Shop, http: httpx.AsyncClient, gate: Gate) -> None:
        super().__init__(envoy, stable, http, gate)
        self.envoy = envoy

    @property
    def folder(self) -> Path:
        return self.envoy.runtime

    def made(self, route: EnvoyRoute, folder: Path | None = None) -> EnvoyRuntimeRouter:
        connection = EnvoyConnection(admin=self.gate.url, runtime=folder or self.envoy.runtime, timeout_s=1)
        return EnvoyRuntimeRouter(route, connection, self.http)

    def router(self, *, unknown_candidate: bool = False) -> Router:
        return self.made(route_of(candidate="ghost" if unknown_candidate else POOLS["candidate"]))

    def other_router(self) -> Router:
        return self.made(route_of("cart"))

    def written(self) -> object:
        link = self.envoy.runtime / "checkout"
        return link.readlink(), {path.name: path.read_bytes() for path in link.iterdir()}

    async def drift(self, percent: float) -> None:
        weights = {POOLS["candidate"]: round(percent * 100), POOLS["stable"]: round((100 - percent) * 100)}
        await self.modify({f"sluice.checkout.{pool}": str(weight) for pool, weight in weights.items()})

    async def modify(self, values: dict[str, str]) -> None:
        """What people do who are in a hurry; an empty value takes theirs away again."""
        answer = await self.http.post(f"{self.envoy.admin_url}/runtime_modify", params=values)
        answer.raise_for_status()

    async def shown(self) -> dict[str, Any]:
        answer = await self.http.get(f"{self.envoy.admin_url}/runtime", params={"format": "json"})
        return dict(answer.json())

    async def reset(self) -> None:
        """Layers without any value, and nothing changed by hand."""
        for service in ("checkout", "cart"):
            empty = self.envoy.runtime / f".{service}-empty"
            empty.mkdir(exist_ok=True)
            fresh = self.envoy.runtime / f".{service}-operator"
            fresh.symlink_to(empty.name)
            fresh.rename(self.envoy.runtime / service)
        if left := (await self.shown())["entries"]:
            await self.modify(dict.fromkeys(left, ""))

        async def nothing_is_left() -> bool:
            return not (await self.shown())["entries"]

        await until(nothing_is_left)


def route_of(service: str = "checkout", **fields: Any) -> EnvoyRoute:
    pools = {**POOLS, **{name: fields.pop(name) for name in POOLS if name in fields}}
    return EnvoyRoute.model_validate(
        {"connection": "edge-1", "service": service, "weights": "runtime", "header": HEADER, **pools, **fields}
    )
