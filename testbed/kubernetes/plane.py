"""The data plane of one namespace: real requests are split as the objects there say.

It stands for what a cluster would have between visitors and pods: an implementation of Gateway API, ingress-nginx,
Istio, or kube-proxy. Pods are played and answer nothing, so requests go to shops outside, chosen by the name of a
Service or by the version of its ready pods.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Literal, Self

import httpx

from testbed.kubernetes import endpoints, gateway, istio, nginx
from testbed.kubernetes.api import path_of
from testbed.kubernetes.following import Following
from testbed.kubernetes.proxy import Proxy
from testbed.kubernetes.rules import Site
from testbed.processes import PartFailed, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from testbed.kubernetes.control_plane import ControlPlane
    from testbed.kubernetes.rules import Rule, Seen

Kind = Literal["gateway-api", "ingress-nginx", "istio", "service"]
SETTLED_WITHIN_S: Final = 15.0
_KINDS: Final = {
    "gateway-api": gateway.KINDS,
    "ingress-nginx": nginx.KINDS,
    "istio": istio.KINDS,
    "service": endpoints.KINDS,
}


class Plane:
    """A proxy and what tells it; a context manager.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        proxy: The HAProxy, to be killed or paused by a test.
        delay_s: Seconds between a change of an object and its being in force; may be changed at any time.
        refuse: Whether changes are not taken; a Gateway API controller also says so in the route's status.
    """

    def __init__(
        self,
        directory: Path,
        control_plane: ControlPlane,
        namespace: str,
        *,
        kind: Kind,
        shops: Mapping[str, str],
        service: str | None = None,
    ) -> None:
        """Choose ports; nothing is started.

        Args:
            directory: Where the proxy's files and log are.
            control_plane: Whose API is followed.
            namespace: The only one that is looked at.
            kind: Which objects say where requests go.
            shops: Name of a Service, or version of pods (their label `version`, else their image) → `host:port` on
                loopback. A Service with a shop of its own needs no pods; others have the shops of their ready pods, and
                without any their share gets 503.
            service: The Service that is meant, for kind `service`.

        Raises:
            ValueError: Kind `service` without a Service.
        """
        if kind == "service" and service is None:
            raise ValueError("a plane of kind `service` needs the name of its Service")
        self._control_plane = control_plane
        self._namespace = namespace
        self._kind: Kind = kind
        self._shops = dict(shops)
        self._service = service or ""
        self.proxy = Proxy(directory, name="-".join(filter(None, ("plane", namespace, kind, service))))
        self.url = self.proxy.url
        self.delay_s = 0.0
        self.refuse = False
        self._dealt_with: Seen = {}
        self._failed: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> Self:
        """Start the proxy and follow the namespace; returns when what was there is in force.

        Returns:
            Itself.
        """
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.proxy.start()
            self._thread = threading.Thread(target=self._in_thread, name=self.proxy.name, daemon=True)
            self._thread.start()
            self.settled()
            undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop following and end the proxy."""
        if self._thread is not None:
            if self._loop is not None and self._task is not None and self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()
            self._thread = None
        self.proxy.stop()

    def settled(self, *, within_s: float = SETTLED_WITHIN_S) -> None:
        """Wait until everything that is in the namespace now is in force; what is refused counts as dealt with.

        Args:
            within_s: Seconds to wait at most, the injected delay included.

        Raises:
            PartFailed: When the time is over, or the follower has ended.
        """
        wanted = {kind: self._versions(kind) for kind in _KINDS[self._kind]}

        def done() -> bool:
            if self._failed is not None:
                raise PartFailed(f"{self.proxy.name} follows no more: {self._failed!r}") from self._failed
            now = self._dealt_with
            return all(kind in now and _at_least(now[kind], *versions) for kind, versions in wanted.items())

        wait_until(done, within_s=within_s, what=f"{self.proxy.name} is in force", child=self.proxy.child)

    def _versions(self, kind: str) -> tuple[dict[str, int], int]:
        found = self._control_plane.api.listing(kind, self._namespace)
        versions = {each["metadata"]["name"]: int(each["metadata"]["resourceVersion"]) for each in found["items"]}
        return versions, int(found["metadata"]["resourceVersion"])

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for it
            self._failed = error

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        changes: asyncio.Queue[tuple[float, Seen]] = asyncio.Queue()
        clock = self._loop.time
        following = Following(
            self._control_plane,
            self._namespace,
            _KINDS[self._kind],
            lambda seen: changes.put_nowait((clock() + self.delay_s, seen)),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(following.run())
            group.create_task(self._deal(changes, following.client))

    async def _deal(self, changes: asyncio.Queue[tuple[float, Seen]], client: httpx.AsyncClient) -> None:
        """Put one change after the other in force, each when it is due."""
        clock = asyncio.get_running_loop().time
        while True:
            due_at, seen = await changes.get()
            await asyncio.sleep(max(0.0, due_at - clock()))
            site = Site(seen, self._shops)
            refused = self.refuse
            if not refused:
                await self.proxy.show(self._rules(site))
            if self._kind == "gateway-api":
                await self._write_status(site, client, refused=refused)
            self._dealt_with = seen

    def _rules(self, site: Site) -> list[Rule]:
        match self._kind:
            case "gateway-api":
                return gateway.rules(site)
            case "ingress-nginx":
                return nginx.rules(site)
            case "istio":
                return istio.rules(site)
            case "service":
                return endpoints.rules(site, self._service)

    async def _write_status(self, site: Site, client: httpx.AsyncClient, *, refused: bool) -> None:
        for route in site.all("HTTPRoute"):
            parents = gateway.parents(route, site, refused=refused)
            if parents == (route.get("status", {}).get("parents") or []):
                continue
            path = path_of("HTTPRoute", route["metadata"]["name"], self._namespace, "status")
            try:
                # An answer that is an error changes nothing: the route is gone, or the next change comes at once.
                await client.patch(
                    path,
                    json={"status": {"parents": parents}},
                    headers={"Content-Type": "application/merge-patch+json"},
                )
            except httpx.TransportError:
                return  # the API server is down; its return is a change

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _at_least(now: Mapping[str, object], wanted: Mapping[str, int], listed_at: int) -> bool:
    """Whether every object is at least as new as wanted, and none is left that had gone before the list was made."""
    versions = {name: _version(found) for name, found in now.items()}
    newer = all(versions.get(name, 0) >= version for name, version in wanted.items())
    return newer and all(version > listed_at for name, version in versions.items() if name not in wanted)


def _version(found: object) -> int:
    assert isinstance(found, dict)  # noqa: S101 - for the type checker
    return int(found["metadata"]["resourceVersion"])
