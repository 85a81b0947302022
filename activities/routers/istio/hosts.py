"""Names of hosts, as Istio understands them.

A name without a dot is a Service in the namespace of the object that names it; a Service in another one is written out
(`checkout.shop.svc.cluster.local`, whatever the cluster's domain). Everything else is a host outside of Kubernetes.
"""

import re

_SERVICE = re.compile(r"(?P<name>[^.]+)\.(?P<namespace>[^.]+)\.svc(?:\..+)?")


def service_of(host: str, namespace: str) -> tuple[str, str] | None:
    """Namespace and name of the Service that a host is; None if it is none.

    Args:
        host: as it is written.
        namespace: of the object that it is written in.
    """
    if "." not in host:
        return namespace, host
    found = _SERVICE.fullmatch(host)
    return (found["namespace"], found["name"]) if found else None


def is_same(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two hosts, each with the namespace that it is written in, are the same."""
    (host, namespace), (other_host, other_namespace) = one, other
    return (service_of(host, namespace) or host) == (service_of(other_host, other_namespace) or other_host)
