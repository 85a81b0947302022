"""A small client of the Kubernetes API: dictionaries in, dictionaries out, nothing hidden.

Why not the client that the product uses: a test must not check the product with the product's own eyes, and what is
asked here should read like the API's documentation. Nothing is retried; a refusal is an `ApiRefused` with its code.
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import httpx

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

Object: TypeAlias = dict[str, Any]
Objects: TypeAlias = list[Object]
How: TypeAlias = Literal["merge", "json", "strategic", "apply"]

TIMEOUT_S = 10.0
_CORE, _APPS = "/api/v1", "/apis/apps/v1"
_ADMISSION, _RBAC = "/apis/admissionregistration.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1"
_GATEWAY, _ISTIO = "/apis/gateway.networking.k8s.io/v1", "/apis/networking.istio.io/v1"
# Kind → where it is served, its plural, whether its objects are in namespaces.
_KINDS: dict[str, tuple[str, str, bool]] = {
    "Namespace": (_CORE, "namespaces", False),
    "Node": (_CORE, "nodes", False),
    "ConfigMap": (_CORE, "configmaps", True),
    "Event": (_CORE, "events", True),
    "Pod": (_CORE, "pods", True),
    "Secret": (_CORE, "secrets", True),
    "Service": (_CORE, "services", True),
    "ServiceAccount": (_CORE, "serviceaccounts", True),
    "ControllerRevision": (_APPS, "controllerrevisions", True),
    "DaemonSet": (_APPS, "daemonsets", True),
    "Deployment": (_APPS, "deployments", True),
    "ReplicaSet": (_APPS, "replicasets", True),
    "StatefulSet": (_APPS, "statefulsets", True),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses", True),
    "IngressClass": ("/apis/networking.k8s.io/v1", "ingressclasses", False),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", True),
    "ClusterRole": (_RBAC, "clusterroles", False),
    "ClusterRoleBinding": (_RBAC, "clusterrolebindings", False),
    "Role": (_RBAC, "roles", True),
    "RoleBinding": (_RBAC, "rolebindings", True),
    "MutatingAdmissionPolicy": (_ADMISSION, "mutatingadmissionpolicies", False),
    "MutatingAdmissionPolicyBinding": (_ADMISSION, "mutatingadmissionpolicybindings", False),
    "ValidatingAdmissionPolicy": (_ADMISSION, "validatingadmissionpolicies", False),
    "ValidatingAdmissionPolicyBinding": (_ADMISSION, "validatingadmissionpolicybindings", False),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "GatewayClass": (_GATEWAY, "gatewayclasses", False),
    "Gateway": (_GATEWAY, "gateways", True),
    "HTTPRoute": (_GATEWAY, "httproutes", True),
    "DestinationRule": (_ISTIO, "destinationrules", True),
    "VirtualService": (_ISTIO, "virtualservices", True),
}
_CONTENT: dict[How, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiRefused(RuntimeError):
    """The API server answered with an error.

    Attributes:
        code: HTTP status.
        reason: As in the API's Status object: `NotFound`, `Conflict`, `Forbidden`, …
        body: The whole Status object.
    """

    def __init__(self, code: int, body: Object, what: str) -> None:
        super().__init__(f"{what}: {code} {body.get('reason', '')} {body.get('message', '')}".strip())
        self.code = code
        self.reason = str(body.get("reason", ""))
        self.body = body


def path_of(kind: str, name: str = "", namespace: str | None = None, subresource: str = "") -> str:
    """The path under which the API serves an object, or a list when there is no name.

    Args:
        kind: As in a manifest.
        name: Of the object.
        namespace: Of the object; for a list, all of them by default.
        subresource: `status`, `scale`, …

    Returns:
        The path, without the server.

    Raises:
        ValueError: For a kind that is not known here, or an object of a namespace without one.
    """
    if kind not in _KINDS:
        raise ValueError(f"{kind} is not in the table of kinds of testbed.kubernetes.api; add it there")
    prefix, plural, namespaced = _KINDS[kind]
    if namespaced and name and namespace is None:
        raise ValueError(f"a {kind} is in a namespace; which one is {name} in?")
    words = [prefix, f"namespaces/{namespace}" if namespaced and namespace else "", plural, name, subresource]
    return "/".join(word for word in words if word)


class Api:
    """One client with one identity; safe to use from several threads.

    Attributes:
        url: Of the API server.
        token: What it shows as its identity.
    """

    def __init__(self, url: str, ca_file: Path, token: str) -> None:
        self.url = url
        self.token = token
        self._client = httpx.Client(
            base_url=url,
            verify=ssl.create_default_context(cafile=str(ca_file)),
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def request(
        self,
        method: str,
        path: str,
        body: Object | Objects | str | None = None,
        *,
        content: str = "application/json",
        **query: str,
    ) -> Object:
        """Send one request.

        Args:
            method: Of HTTP.
            path: Without the server.
            body: To be sent as JSON, or a text to be sent as it is.
            content: Type of the body.
            query: Parameters of the query.

        Returns:
            The decoded answer; empty for an answer that is no JSON.

        Raises:
            ApiRefused: The answer is an error.
            httpx.TransportError: There is no answer.
        """
        answer = self._client.request(
            method,
            path,
            content=None if body is None else body if isinstance(body, str) else json.dumps(body),
            headers={"Content-Type": content} if body is not None else {},
            params=query,
        )
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        decoded: Object = answer.json() if is_json else {}
        if answer.is_error:
            raise ApiRefused(answer.status_code, decoded or {"message": answer.text}, f"{method} {path}")
        return decoded

    def get(self, kind: str, name: str, namespace: str | None = None, *, subresource: str = "") -> Object:
        """Read one object.

        Returns:
            The object.

        Raises:
            ApiRefused: It is not there (404), among others.
        """
        return self.request("GET", path_of(kind, name, namespace, subresource))

    def create(self, manifest: Object, namespace: str | None = None, *, dry_run: bool = False) -> Object:
        """Create an object.

        Args:
            manifest: With its kind.
            namespace: Where; the manifest's own by default.
            dry_run: Only say what would come of it.

        Returns:
            The object as the server keeps it.

        Raises:
            ApiRefused: It is there already (409), it is invalid (422), among others.
        """
        where = namespace or manifest["metadata"].get("namespace")
        query = {"dryRun": "All"} if dry_run else {}
        return self.request("POST", path_of(manifest["kind"], namespace=where), manifest, **query)

    def replace(self, manifest: Object, namespace: str | None = None, *, subresource: str = "") -> Object:
        """Replace an object as a whole; with its resourceVersion, only if nobody else has changed it.

        Returns:
            The object as the server keeps it.

        Raises:
            ApiRefused: Somebody else has changed it (409), among others.
        """
        metadata = manifest["metadata"]
        where = namespace or metadata.get("namespace")
        return self.request("PUT", path_of(manifest["kind"], metadata["name"], where, subresource), manifest)

    def patch(
        self,
        kind: str,
        name: str,
        body: Object | Objects,
        namespace: str | None = None,
        *,
        how: How = "merge",
        subresource: str = "",
        **query: str,
    ) -> Object:
        """Change an object.

        Args:
            kind: Of the object.
            name: Of the object.
            body: The patch; a list of operations for `json`.
            namespace: Of the object.
            how: Kind of patch; `apply` is server-side apply and wants a `fieldManager`.
            subresource: `status`, `scale`, …
            query: `fieldManager`, `force`, …

        Returns:
            The object as the server keeps it.

        Raises:
            ApiRefused: A conflict (409), an invalid result (422), among others.
        """
        return self.request("PATCH", path_of(kind, name, namespace, subresource), body, content=_CONTENT[how], **query)

    def delete(self, kind: str, name: str, namespace: str | None = None, *, grace_s: int | None = None) -> None:
        """Delete an object; one that is not there is left so.

        Args:
            kind: Of the object.
            name: Of the object.
            namespace: Of the object.
            grace_s: Seconds that a pod has to end, its own by default.

        Raises:
            ApiRefused: It may not be deleted.
        """
        query = {} if grace_s is None else {"gracePeriodSeconds": str(grace_s)}
        try:
            self.request("DELETE", path_of(kind, name, namespace), **query)
        except ApiRefused as refused:
            if refused.code != httpx.codes.NOT_FOUND:
                raise

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> Objects:
        """Read all objects of a kind.

        Args:
            kind: Of the objects.
            namespace: Of the objects; all by default.
            labels: Selector, as in `app=shop,version=2`; all by default.

        Returns:
            The objects, in the server's order; without `kind` and `apiVersion`, as the API leaves them out of lists.
        """
        items: Objects = self.listing(kind, namespace, labels=labels)["items"]
        return items

    def listing(self, kind: str, namespace: str | None = None, *, labels: str = "") -> Object:
        """Read all objects of a kind together with the resourceVersion of the list.

        Returns:
            The list object: `metadata` and `items`.
        """
        query = {"labelSelector": labels} if labels else {}
        return self.request("GET", path_of(kind, namespace=namespace), **query)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
