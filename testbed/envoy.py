"""A real Envoy whose weights are a file, rendered from the configuration that docker-compose mounts.

Why rendered and not written here: two copies of a proxy's configuration drift apart, and then the tests prove one
thing and people run another. Only addresses, ports and paths are replaced; anything in the file that this module does
not know is passed on as it is.

What was measured with this configuration on Envoy 1.40: a rename onto the route file is in force after 1–4 ms, a write
in place is never noticed, a missing route file at the start makes Envoy exit, and a broken one makes it answer 404.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import yaml

from testbed.part import Part, answers
from testbed.parts import COMPOSE, binary
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = COMPOSE / "envoy.yaml"
ROUTES = COMPOSE / "routes"
SERVICE_OF_TEMPLATE = "checkout"


def render(
    template: Any,  # noqa: ANN401 - decoded YAML
    *,
    service: str,
    admin_port: int,
    listener_port: int,
    stable_port: int,
    candidate_port: int,
    routes: Path,
) -> dict[str, Any]:
    """Turn the configuration of docker-compose into one for loopback.

    Args:
        template: The decoded `deploy/compose/envoy.yaml`; left unchanged.
        service: Name of the route configuration, and the pools' name before `-stable` and `-candidate`.
        admin_port: Where Envoy's own pages are served.
        listener_port: Where visitors come in.
        stable_port: Of the stable shop.
        candidate_port: Of the candidate shop.
        routes: Directory of the route file.

    Returns:
        A new configuration, ready to be written as JSON.

    Raises:
        KeyError: When the template lacks a place that is to be replaced.
    """
    config: dict[str, Any] = json.loads(json.dumps(template))  # a copy without YAML's shared nodes
    config["admin"]["address"]["socket_address"] = _address(admin_port)
    (listener,) = config["static_resources"]["listeners"]
    listener["address"]["socket_address"] = _address(listener_port)
    rds = listener["filter_chains"][0]["filters"][0]["typed_config"]["rds"]
    rds["route_config_name"] = service
    source = rds["config_source"]["path_config_source"]
    source["path"] = str(routes / f"{service}.json")
    source["watched_directory"]["path"] = str(routes)
    ports = {f"{SERVICE_OF_TEMPLATE}-stable": stable_port, f"{SERVICE_OF_TEMPLATE}-candidate": candidate_port}
    for cluster in config["static_resources"]["clusters"]:
        port = ports[cluster["name"]]
        cluster["name"] = cluster["name"].replace(SERVICE_OF_TEMPLATE, service, 1)
        assignment = cluster["load_assignment"]
        assignment["cluster_name"] = cluster["name"]
        assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] = _address(port)
    return config


def seed_routes(routes: Path, service: str) -> Path:
    """Put the initial route file (everything to stable) in place, unless there is one.

    Args:
        routes: Directory of the route file; made when missing.
        service: Name of the service.

    Returns:
        Path of the route file.
    """
    routes.mkdir(parents=True, exist_ok=True)
    file = routes / f"{service}.json"
    if file.exists():
        return file
    seed = ROUTES / f"{SERVICE_OF_TEMPLATE}.json"
    if service == SERVICE_OF_TEMPLATE:
        shutil.copyfile(seed, file)
    else:
        file.write_text(seed.read_text(encoding="utf-8").replace(SERVICE_OF_TEMPLATE, service), encoding="utf-8")
    return file


def _address(port: int) -> dict[str, object]:
    return {"address": LOOPBACK, "port_value": port}


class Envoy(Part):
    """One Envoy in front of two shops.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        admin_url: Envoy's own pages, without a slash at the end.
        routes: Directory of the route file; kept over restarts, as a router keeps its weights.
        route_file: The file with the weights; replace it by rename only.
    """

    def __init__(self, directory: Path, *, stable_port: int, candidate_port: int, service: str = "checkout") -> None:
        super().__init__("envoy", directory)
        self.service = service
        self._stable_port = stable_port
        self._candidate_port = candidate_port
        self._admin_port, self._listener_port = free_ports(2)
        self.url = f"http://{LOOPBACK}:{self._listener_port}/"
        self.admin_url = f"http://{LOOPBACK}:{self._admin_port}"
        self.routes = self.directory / "routes"
        self.route_file = self.routes / f"{service}.json"

    @property
    def parts(self) -> tuple[Part, ...]:
        """Itself."""
        return (self,)

    def settings(self, name: str) -> str:
        """A connection of that name for the worker's settings, TOML."""
        # A JSON string is a TOML basic string, escapes included.
        return f"""[connections.{name}]
kind = "envoy"
admin = {json.dumps(self.admin_url)}
routes = {json.dumps(str(self.routes))}
"""

    def route(self, connection: str) -> dict[str, Any]:
        """The route of a spec."""
        header = {"name": "X-Canary", "candidate": "true", "stable": "false"}
        return {"kind": "envoy", "connection": connection, "service": self.service, "header": header}

    def reset(self) -> None:
        """Put the initial route file back."""
        fresh = seed_routes(self.directory / "seed", self.service)
        fresh.rename(self.route_file)  # a rename: Envoy notices nothing else

    def prepare(self) -> None:
        """Seed the route file and write the configuration."""
        seed_routes(self.routes, self.service)
        config = render(
            yaml.safe_load(TEMPLATE.read_text(encoding="utf-8")),
            service=self.service,
            admin_port=self._admin_port,
            listener_port=self._listener_port,
            stable_port=self._stable_port,
            candidate_port=self._candidate_port,
            routes=self.routes,
        )
        (self.directory / "envoy.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")

    def command(self) -> list[str | Path]:
        """Envoy's command line."""
        words: list[str | Path] = [binary("envoy"), "-c", self.directory / "envoy.json", "--concurrency", "2"]
        return [*words, "--use-dynamic-base-id", "--log-level", "warning"]

    def ready(self) -> bool:
        """Whether it is live, routes and first health checks included."""
        return answers(f"{self.admin_url}/ready")
