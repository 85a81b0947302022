"""Route files for the tests of the Envoy adapter, as short words."""

import json
from pathlib import Path
from typing import Any

from activities.ports import Write
from activities.routers.envoy.routes import Json
from rollout.routes import EnvoyRoute, ForcedHeader, Sticky

RECORDED = Path(__file__).parents[2] / "testbed" / "envoy"
ROUTE = EnvoyRoute(connection="edge-1", service="checkout", header=ForcedHeader())
BY_COOKIE = ROUTE.model_copy(update={"sticky": Sticky()})
BY_HEADER = ROUTE.model_copy(update={"sticky": Sticky(header="X-User")})
CANDIDATE, STABLE = "checkout-candidate", "checkout-stable"


def recorded(name: str) -> Json:
    return dict(json.loads((RECORDED / f"{name}.json").read_bytes()))


def document(*routes: Json, **resource: Any) -> Json:
    hosts = [{"name": "shop", "domains": ["*"], "routes": list(routes)}]
    return {"version_info": "seed", "resources": [{"name": "checkout", "virtual_hosts": hosts, **resource}]}


def to(cluster: str, prefix: str = "/", **action: Any) -> Json:
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster, **action}}


def shares(**weights: int) -> Json:
    clusters = [{"name": f"checkout-{name}", "weight": weight} for name, weight in weights.items()]
    return {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": clusters}}}


def write(percent: float = 25, epoch: int = 1, **more: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner="rollout:prod/checkout", **more)
