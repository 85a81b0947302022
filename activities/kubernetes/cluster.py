"""One cluster's API server: plain JSON over the official client's transport, credentials and TLS.

The typed models were rejected: they drop fields that they do not know, and raise while reading what is newer than they
are. Every call goes out once; Temporal tries again. The client blocks, so calls run in threads; writes, and the looks
that come before them, have threads of their own, because a way back must not queue behind reads that hang. Those who
want to read the same at the same time share one request (see `joining`), and must not change what they are given.

Credentials that expire are read anew: a service account's token by the client itself, a kubeconfig when the server
answers 401, or shows a certificate that is not trusted, for the first time.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError
from yaml import YAMLError

from activities.kubernetes.connection import KubernetesConnection
from activities.kubernetes.errors import Absent, named
from activities.kubernetes.joining import Joining
from activities.kubernetes.kinds import ENDPOINT_SLICE, SERVICE, Kind
from activities.kubernetes.objects import Json
from rollout.errors import Misconfigured, RouterUnreachable

FIELD_MANAGER = "sluice"
_READERS, _WRITERS = 16, 8
_CONNECTIONS = _READERS + _WRITERS  # kept open
_RENEW = (0, 401)  # of these the client calls 0: TLS failed
_JSON_PATCH = "application/json-patch+json"  # always said: the client sends a list as a merge patch otherwise
_STRATEGIC = "application/strategic-merge-patch+json"
_SERVICE_OF = "kubernetes.io/service-name"

T = TypeVar("T")


class Cluster:
    """Everything that is asked of one cluster.

    Attributes:
        connection: its settings.
        memory: what adapters want to know again later, by keys of their own; lost when the worker ends.
    """

    def __init__(self, connection: KubernetesConnection, threads: ThreadPoolExecutor | None = None) -> None:
        """Take the settings; nothing is opened yet.

        Args:
            connection: the settings.
            threads: in which reads may block; by default threads of this cluster alone, so that one that hangs blinds
                nobody who looks at another.
        """
        self.connection = connection
        self.memory: dict[Hashable, Any] = {}
        self._readers = ThreadPoolExecutor(_READERS, "kubernetes-read")
        self._threads = threads or self._readers
        self._writers = ThreadPoolExecutor(_WRITERS, "kubernetes-write")
        self._client: ApiClient | None = None
        self._opening = threading.Lock()
        self._locks: dict[tuple[str, ...], asyncio.Lock] = {}
        self._joining = Joining()

    def alone(self, *key: str) -> asyncio.Lock:
        """One writer of this worker at a time for a key; other workers are met by conflicts."""
        return self._locks.setdefault(key, asyncio.Lock())

    async def get(self, kind: Kind, namespace: str, name: str, *, urgent: bool = False) -> Json | None:
        """An object, None if there is none.

        Args:
            kind: the kind.
            namespace: where.
            name: which.
            urgent: a write waits for it, so it does not queue behind other reads.

        Raises:
            SluiceError: as in `errors.named`.
        """
        try:
            return await self._read(kind, namespace, name, urgent=urgent)
        except Absent:
            return None

    async def every(self, kind: Kind, namespace: str, selector: str = "", *, urgent: bool = False) -> list[Json]:
        """All objects of a kind in a namespace.

        Args:
            kind: the kind.
            namespace: where.
            selector: of labels: `app=checkout,version in (a, b)`.
            urgent: as in `get`.

        Raises:
            SluiceError: as in `errors.named`.
        """
        found = await self._read(kind, namespace, selector=selector, urgent=urgent)
        items: list[Json] = found.get("items") or []
        return items

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        operations: list[Json],
        *,
        sub: str | None = None,
        dry_run: bool = False,
    ) -> Json:
        """Change an object by a JSON patch; answers with what it is then.

        Args:
            kind: its kind.
            namespace: where.
            name: which.
            operations: the patch.
            sub: a part of it, such as `scale`.
            dry_run: only say what would come of it; nothing is written.

        Raises:
            Conflict: it was changed since it was read.
            Absent: there is none.
            SluiceError: as in `errors.named`.
        """
        query = [("dryRun", "All")] if dry_run else []
        kept = {"body": operations, "content": _JSON_PATCH, "sub": sub, "query": query}
        return await self._ask(self._writers, "PATCH", kind, namespace, name, **kept)

    async def merge(self, kind: Kind, namespace: str, name: str, body: Json) -> Json:
        """Change a built-in object by a strategic merge patch: containers are merged by their names.

        Raises:
            Conflict: the body carries a `metadata.resourceVersion` that is old.
            SluiceError: as in `errors.named`.
        """
        return await self._ask(self._writers, "PATCH", kind, namespace, name, body=body, content=_STRATEGIC)

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        """Make an object.

        Raises:
            Conflict: it is there already.
            SluiceError: as in `errors.named`.
        """
        return await self._ask(self._writers, "POST", kind, namespace, body=body, content="application/json")

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete an object; one that is gone is fine.

        Args:
            kind: the kind.
            namespace: where.
            name: which.
            uid: only this very one; another one of the same name is left alone.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._ask(self._writers, "DELETE", kind, namespace, name, body=body, content="application/json")
        except Absent:
            return

    async def ready_endpoints(self, namespace: str, service: str) -> int | None:
        """Ready pods behind a Service, None if there is no such Service."""
        return (await self.ready_behind(namespace, service)).get(service)

    async def ready_behind(self, namespace: str, *services: str) -> dict[str, int]:
        """Ready pods behind each of several Services of a namespace; those that are not there are left out."""
        slices = await self.every(ENDPOINT_SLICE, namespace, f"{_SERVICE_OF} in ({','.join(sorted({*services}))})")
        behind: dict[str, list[Json]] = {}
        for each in slices:
            behind.setdefault((each["metadata"].get("labels") or {}).get(_SERVICE_OF, ""), []).append(each)
        # Slices go with their Service, which even without pods has one: half the requests of every poll are saved.
        bare = [name for name in services if name not in behind]
        there = await asyncio.gather(*(self.get(SERVICE, namespace, name) for name in bare))
        known = {*services} - {name for name, found in zip(bare, there, strict=True) if found is None}
        return {name: _ready(behind.get(name, [])) for name in known}

    async def aclose(self) -> None:
        """Close what was opened; what has begun ends by its own timeout, what has not is dropped."""
        for threads in (self._readers, self._writers):
            threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _read(
        self, kind: Kind, namespace: str, name: str | None = None, selector: str = "", *, urgent: bool
    ) -> Json:
        threads = self._writers if urgent else self._threads
        query = [("labelSelector", selector)] if selector else []
        send = partial(self._ask, threads, "GET", kind, namespace, name, query=query)
        return await self._joining.ask((kind, namespace, name, selector, urgent), send)

    async def _ask(
        self,
        threads: ThreadPoolExecutor,
        method: str,
        kind: Kind,
        namespace: str,
        name: str | None = None,
        **request: Any,  # noqa: ANN401 - see `_send`
    ) -> Json:
        what = f"{method} {kind.name} {namespace}/{name or '*'}"
        ask = partial(self._send, method, kind.path(namespace, name, request.pop("sub", None)), **request)
        timeout_s = self.connection.timeout_s
        try:
            # The client's own time begins when a thread is free; this one begins now.
            async with asyncio.timeout(2 * timeout_s):
                return await self._in_thread(threads, ask)
        except (ApiException, HTTPError, OSError, TimeoutError) as error:
            raise named(error, what, timeout_s) from error
        except ValueError as error:
            raise RouterUnreachable(f"{what}: the answer is no JSON object: {error}") from error

    async def _in_thread(self, threads: ThreadPoolExecutor, ask: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, ask)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Any = None,  # noqa: ANN401 - JSON edge
        content: str | None = None,
    ) -> Json:
        client = self._opened()
        try:
            return self._once(client, method, path, query, body, content)
        except ApiException as error:
            if error.status not in _RENEW:
                raise
        return self._once(self._opened(instead_of=client), method, path, query, body, content)

    def _once(
        self,
        client: ApiClient,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None,
        body: Any,  # noqa: ANN401 - JSON edge
        content: str | None,
    ) -> Json:
        parameters = list(query or [])
        headers = {"Accept": "application/json"}
        if content:
            headers["Content-Type"] = content
        if method in {"PATCH", "POST"}:
            parameters.append(("fieldManager", FIELD_MANAGER))
        _, url, sent, *_ = client.param_serialize(
            method, path, query_params=parameters, header_params=headers, auth_settings=["BearerToken"]
        )
        timeout = (self.connection.timeout_s, self.connection.timeout_s)
        response = client.call_api(method, url, sent, body, _request_timeout=timeout)
        content_bytes = response.read()
        if not 200 <= response.status <= 299:
            raise ApiException(
                status=response.status, reason=response.reason, body=content_bytes.decode(errors="replace")
            )
        found = json.loads(content_bytes)
        if not isinstance(found, dict):
            raise ValueError(f"{type(found).__name__} instead of an object")  # noqa: TRY004 - one kind of failure
        return found

    def _opened(self, instead_of: ApiClient | None = None) -> ApiClient:
        """The client; a new one with credentials read anew if it is still the one that was refused."""
        with self._opening:
            if self._client is None or self._client is instead_of:
                fresh = ApiClient(self._configuration())
                if instead_of is not None:
                    instead_of.close()  # what others have under way on it ends as it would have
                self._client = fresh
            return self._client

    def _configuration(self) -> Configuration:
        """How to get in.

        Raises:
            Misconfigured: the kubeconfig, or what the pod is given, cannot be read.
        """
        try:
            return self._read_configuration()
        except (ConfigException, YAMLError, OSError, KeyError, TypeError, ValueError) as error:
            words = " ".join(str(error).split())
            raise Misconfigured(
                f"the connection to Kubernetes cannot be used: {words or type(error).__name__}"
            ) from error

    def _read_configuration(self) -> Configuration:
        settings = self.connection
        made = Configuration()
        if settings.in_cluster:
            config.load_incluster_config(client_configuration=made)
        else:
            file = str(settings.kubeconfig) if settings.kubeconfig else None
            config.load_kube_config(file, context=settings.context, client_configuration=made, persist_config=False)
            # It would set everything anew at every request, in every thread: a third of the CPU that a request costs.
            # What has expired is read anew after a 401 (see `_send`).
            made.refresh_api_key_hook = None
        made.retries = False  # Temporal tries again, not urllib3
        made.connection_pool_maxsize = _CONNECTIONS
        return made


def _ready(slices: list[Json]) -> int:
    """Ready pods in all slices of one Service."""
    every = [endpoint for each in slices for endpoint in each.get("endpoints") or []]
    # No condition means unknown, which the API asks to read as ready. A pod is in several slices if it has several
    # families of addresses, or while slices are rebuilt; it counts once.
    ready = [endpoint for endpoint in every if (endpoint.get("conditions") or {}).get("ready") is not False]
    return len({_whose(endpoint) for endpoint in ready})


def _whose(endpoint: Json) -> str:
    """What tells the pod of an endpoint from others; an address that belongs to no object is its own."""
    target = endpoint.get("targetRef") or {}
    return str(target.get("uid") or target.get("name") or endpoint.get("addresses"))
