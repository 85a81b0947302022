"""Who stands behind a destination: subsets as DestinationRules define them, and their ready pods.

A subset is counted by the very labels that Istio would send requests to, read anew before every raise: a subset whose
labels still say the pods of before is empty, or is another version, whatever the Deployments look like.
"""

import asyncio

from activities.kubernetes import DESTINATION_RULE, ENDPOINT_SLICE, POD, SERVICE, Cluster, Json
from activities.ports import Pool
from activities.routers.istio.hosts import is_same, service_of
from rollout.routes import IstioRoute


async def standing(cluster: Cluster, route: IstioRoute) -> dict[Pool, int]:
    """Pool → its ready endpoints; one without a Service, or whose subset nobody defines, is missing.

    Args:
        cluster: where to ask.
        route: names hosts or subsets.

    Raises:
        SluiceError: the API server does not tell.
    """
    pools: dict[Pool, str] = {"candidate": route.candidate, "stable": route.stable}
    if route.host is None:
        services = [service_of(name, route.namespace) for name in pools.values()]
        counts = await asyncio.gather(*(_of_service(cluster, service) for service in services))
        return {pool: count for pool, count in zip(pools, counts, strict=True) if count is not None}
    service = service_of(route.host, route.namespace)
    if service is None:
        return {}
    spaces = dict.fromkeys((route.namespace, service[0]))
    found, rules = await asyncio.gather(
        cluster.get(SERVICE, *service),
        asyncio.gather(*(cluster.every(DESTINATION_RULE, space) for space in spaces)),
    )
    labels = subsets([rule for some in rules for rule in some], route.host, route.namespace)
    if found is None:
        return {}
    known = {pool: labels[name] for pool, name in pools.items() if name in labels}
    ready = await asyncio.gather(*(_ready(cluster, service, each) for each in known.values()))
    return dict(zip(known, ready, strict=True))


def subsets(rules: list[Json], host: str, namespace: str) -> dict[str, dict[str, str]]:
    """Subset → labels of its pods, of all DestinationRules for a host; the first that defines one counts.

    Args:
        rules: the DestinationRules.
        host: as the route names it.
        namespace: of the route.
    """
    found: dict[str, dict[str, str]] = {}
    for rule in rules:
        spec = rule.get("spec", {})
        if not is_same((str(spec.get("host")), rule["metadata"]["namespace"]), (host, namespace)):
            continue
        for subset in spec.get("subsets") or []:
            found.setdefault(subset["name"], subset.get("labels") or {})
    return found


def ready_pods(slices: list[Json]) -> set[str]:
    """Names of the pods that are ready endpoints."""
    every = [endpoint for each in slices for endpoint in each.get("endpoints") or []]
    # No condition means unknown, which the API asks to read as ready.
    ready = [each for each in every if (each.get("conditions") or {}).get("ready") is not False]
    return {each["targetRef"]["name"] for each in ready if (each.get("targetRef") or {}).get("kind") == "Pod"}


async def _of_service(cluster: Cluster, service: tuple[str, str] | None) -> int | None:
    return None if service is None else await cluster.ready_endpoints(*service)


async def _ready(cluster: Cluster, service: tuple[str, str], labels: dict[str, str]) -> int:
    namespace, name = service
    slices, pods = await asyncio.gather(
        cluster.every(ENDPOINT_SLICE, namespace, f"kubernetes.io/service-name={name}"),
        cluster.every(POD, namespace, ",".join(f"{key}={value}" for key, value in sorted(labels.items()))),
    )
    return len(ready_pods(slices) & {pod["metadata"]["name"] for pod in pods})
