"""What a bed needs to know of its router, whichever it is.

The demo and the tests choose a router by name; everything else about it (its configuration, its ports, how an operator
puts it back) is its own business.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from testbed.aws.simulated import SimulatedAws
from testbed.envoy import Envoy
from testbed.haproxy import Haproxy
from testbed.kubernetes.edge import KINDS, KubernetesEdge
from testbed.nginx import Nginx
from testbed.nginx_lua import NginxLua

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from testbed.part import Part


class Edge(Protocol):
    """A router in front of two shops.

    Attributes:
        url: Where visitors come in, with a slash at the end.
    """

    url: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its processes, in the order of starting; some can be started in one way only, so they are for looking at."""

    def start(self) -> object:
        """Start it and wait until it does its work; on failure nothing is left running. The shops run already."""

    def stop(self) -> None:
        """Stop it; one that is not running is left alone."""

    def settings(self, name: str) -> str:
        """A connection of that name for the worker's settings, TOML."""

    def route(self, connection: str) -> dict[str, Any]:
        """The route of a spec."""

    def reset(self) -> None:
        """Bring it back to the start, as an operator would: everything to stable, nobody's mark."""


EDGES: Mapping[str, Callable[..., Edge]] = {
    "envoy": Envoy,
    "haproxy": Haproxy,
    "haproxy-weights": partial(Haproxy, mode="server-weights"),
    "nginx": NginxLua,
    "nginx-reload": Nginx,
    "nginx-weights": partial(Nginx, mode="upstream-weights"),
    "alb": SimulatedAws,
}
"""Every router that the test bed has as a program or two, by the name on the demo's command line."""

CLUSTERS: Mapping[str, Callable[..., Edge]] = {
    **{kind: partial(KubernetesEdge, kind=kind) for kind in KINDS},
    "gateway-api-workload": partial(KubernetesEdge, kind="gateway-api", workload=True),
}
"""Those that are a whole cluster of Kubernetes; they take longer to start, and want `make setup`."""

ALL_EDGES: Mapping[str, Callable[..., Edge]] = {**EDGES, **CLUSTERS}
"""All of them."""


def edge(name: str, directory: Path, *, service: str, stable_port: int, candidate_port: int) -> Edge:
    """A router by name; nothing is started.

    Raises:
        KeyError: There is none of that name.
    """
    return ALL_EDGES[name](directory, service=service, stable_port=stable_port, candidate_port=candidate_port)
