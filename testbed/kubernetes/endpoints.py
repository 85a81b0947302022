"""One Service as kube-proxy carries it: every ready pod has the same share, whichever version it is of."""

from __future__ import annotations

from typing import Final

from testbed.kubernetes.rules import Rule, Site

KINDS: Final = ("Service", "EndpointSlice", "Pod")


def rules(site: Site, service: str) -> list[Rule]:
    """The only rule.

    Args:
        site: What there is.
        service: Name of the Service.

    Returns:
        It, for everybody; without a ready pod it has no choice.
    """
    return [Rule((), tuple(site.service(service, 1)))]
