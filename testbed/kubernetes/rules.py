"""What a proxy needs to know, whoever asked for it: rules in order, each with conditions and weighted choices.

The four ways of saying it (`gateway`, `nginx`, `istio`, `endpoints`) are turned into these, and `proxy` into HAProxy's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.kubernetes.api import Object

Seen = dict[str, dict[str, "Object"]]
"""Kind → name → object, of one namespace at one time."""


@dataclass(frozen=True)
class Condition:
    """What a request must have.

    Attributes:
        of: What is looked at.
        how: `exact`, `prefix`, `path` (a prefix by elements) or `present`; anything else holds for nobody.
        value: To compare with; case counts.
        name: Of the header, in lower case.
    """

    of: Literal["header", "path", "method"]
    how: str
    value: str = ""
    name: str = ""


@dataclass(frozen=True)
class Choice:
    """Where a share of the requests goes.

    Attributes:
        weight: Relative to the sum of the rule's choices.
        address: `host:port` of a shop; empty for an answer of the proxy's own.
        status: Of that answer.
        why: Its text.
    """

    weight: int
    address: str = ""
    status: int = 503
    why: str = ""


@dataclass(frozen=True)
class Rule:
    """Requests that fit, and where they go.

    Attributes:
        conditions: All must hold.
        choices: Drawn by weight for every request.
        empty: Status when no choice has a weight.
    """

    conditions: tuple[Condition, ...]
    choices: tuple[Choice, ...]
    empty: int = 503


@dataclass(frozen=True)
class Site:
    """A namespace as it is seen now, and the shops behind it.

    Attributes:
        seen: Its objects.
        shops: Name of a Service, or version of a pod (see `version_of`) → `host:port`.
    """

    seen: Seen
    shops: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def all(self, kind: str) -> list[Object]:
        """Objects of a kind, the oldest first, as every controller breaks ties."""
        found = self.seen.get(kind, {}).values()
        return sorted(found, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))

    def has_service(self, name: str) -> bool:
        """Whether there is such a Service."""
        return name in self.seen.get("Service", {})

    def service(self, name: str, weight: int) -> list[Choice]:
        """Where requests to a Service go: to its shop if it has one of its own, else to those of its ready pods.

        Args:
            name: Of the Service.
            weight: Of all of it together.

        Returns:
            Choices whose weights are in the ratio of the ready pods; none if the Service is not there, or has no pod.
        """
        if not self.has_service(name):
            return []
        if name in self.shops:
            return [Choice(weight, self.shops[name])]
        pods = self.ready_versions(name)
        return [self.version(version, weight * count) for version, count in sorted(pods.items())]

    def version(self, version: str, weight: int) -> Choice:
        """Where requests to a pod of a version go."""
        if version in self.shops:
            return Choice(weight, self.shops[version])
        return Choice(weight, status=502, why=f"no shop stands for version {version!r}")

    def ready_versions(self, service: str) -> Counter[str]:
        """Version → ready pods of a Service, from its EndpointSlices."""
        counts: Counter[str] = Counter()
        pods = self.seen.get("Pod", {})
        for slice_ in self.all("EndpointSlice"):
            if slice_["metadata"].get("labels", {}).get("kubernetes.io/service-name") != service:
                continue
            for endpoint in slice_.get("endpoints") or []:
                pod = pods.get(endpoint.get("targetRef", {}).get("name", ""))
                if pod and endpoint.get("conditions", {}).get("ready"):
                    counts[version_of(pod)] += 1
        return counts


def version_of(pod: Object) -> str:
    """The label `version` of a pod; without one its image, which is all that changes in a rolling update."""
    label = (pod["metadata"].get("labels") or {}).get("version")
    return str(label or pod["spec"]["containers"][0]["image"])


def blended(shares: list[tuple[int, list[Choice]]], *, status: int, why: str) -> tuple[Choice, ...]:
    """Join the choices of several backends so that each backend keeps its share.

    Args:
        shares: Weight of a backend, and its own choices; without any, its share is refused.
        status: Of the refusal.
        why: Text of the refusal.

    Returns:
        The choices of all.
    """
    common = 1
    totals = [sum(choice.weight for choice in choices) for _, choices in shares]
    for total in totals:
        common *= total or 1
    joined: list[Choice] = []
    for (weight, choices), total in zip(shares, totals, strict=True):
        if not total:
            joined.append(Choice(weight * common, status=status, why=why))
            continue
        scale = weight * common // total
        joined += [Choice(each.weight * scale, each.address, each.status, each.why) for each in choices]
    return tuple(joined)
