"""Replace Envoy's routes as an operator would by hand; the product's own adapter is tested elsewhere."""

import itertools
import json
from typing import Any

from testbed.envoy import Envoy

_NUMBERS = itertools.count(1)


def replace_routes(
    envoy: Envoy,
    *,
    percent: int = 0,
    version: str | None = None,
    route: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    configuration: dict[str, Any] | None = None,
    text: str | None = None,
) -> None:
    """Rename a new route file into place: a percent, one route, a whole configuration, or any text."""
    service = envoy.service
    if route is None:
        pools = {f"{service}-stable": 10_000 - 100 * percent, f"{service}-candidate": 100 * percent}
        route = {"weighted_clusters": {"clusters": [{"name": name, "weight": n} for name, n in pools.items()]}}
    if configuration is None:
        configuration = {
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": service,
            "virtual_hosts": [
                {"name": service, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ],
        }
        if metadata is not None:
            configuration["metadata"] = {"filter_metadata": metadata}
    document = {"version_info": version or f"by-hand-{next(_NUMBERS)}", "resources": [configuration]}
    draft = envoy.routes / ".draft"
    draft.write_text(json.dumps(document) if text is None else text)
    draft.rename(envoy.route_file)
