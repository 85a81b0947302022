"""The stand of the contract suite for nginx with a shared dict."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx

from activities.routers.nginx.connection import NginxConnection, NginxHost
from activities.routers.nginx.document import Document
from activities.routers.nginx.shared_dict import NginxDictRouter
from activities.shared import Shared
from rollout.errors import NotPermitted, RouterUnreachable
from rollout.routes import NginxRoute, Sticky
from testbed.nginx_lua import NginxLua
from testbed.programs import Shop
from tests.activities.routers.contract import HEADER, CountingStand, RefusingStand
from tests.activities.routers.slow_shop import slowed
from tests.activities.routers.sticky_contract import StickyStand

# A connection of its own for every request: nginx gives connections, not requests, to its workers.
ANEW = httpx.Limits(max_keepalive_connections=0)


class GuardedNginx(NginxLua):
    """Its admin server says 403 as long as there is a file `denied`; and nobody is sent away after 1000 requests."""

    def rendered(self, library: Path) -> str:
        # Finds the way to a location that it was in already, by an error page.
        again = """location /again/ {
            access_by_lua_block { require("sluice").choose("checkout") }
            proxy_pass http://$sluice_pool;
            proxy_intercept_errors on;
            error_page 404 = /;
        }"""
        guard = f"access_log off; if (-f {self.directory}/denied) {{ return 403; }}"
        text = super().rendered(library).replace("access_log off;", guard)
        return "keepalive_requests 10000;\n" + text.replace("    location / {", f"    {again}\n    location / {{")


class NginxStand(StickyStand, CountingStand, RefusingStand):
    troubles = MappingProxyType({"frozen": RouterUnreachable, "denied": NotPermitted})

    def __init__(self, nginx: NginxLua, stable: Shop, shared: Shared) -> None:
        self.url = nginx.url
        self.nginx = nginx
        self.stable = stable
        self.shared = shared
        self.file = nginx.folder / "checkout.json"
        self.document = f"{nginx.admin_url}/sluice/checkout"

    def made(self, route: NginxRoute, *others: NginxLua, timeout_s: float = 2) -> NginxDictRouter:
        hosts = [NginxHost(name="edge-1", state=self.nginx.admin_url)]
        hosts += [NginxHost(name="edge-2", state=each.admin_url, ssh="deploy@edge-2") for each in others]
        connection = NginxConnection(hosts=tuple(hosts), folder=self.nginx.folder, timeout_s=timeout_s)
        return NginxDictRouter(route, connection, self.shared)

    def router(self, *, unknown_candidate: bool = False) -> NginxDictRouter:
        ghost = "ghost" if unknown_candidate else None
        route = NginxRoute(connection="edge", service="checkout", mode="shared-dict", candidate=ghost, header=HEADER)
        return self.made(route)

    def other_router(self) -> NginxDictRouter:
        return self.made(NginxRoute(connection="edge", service="cart", mode="shared-dict"))

    def sticky_router(self, sticky: Sticky) -> NginxDictRouter:
        route = NginxRoute(connection="edge", service="checkout", mode="shared-dict", header=HEADER, sticky=sticky)
        return self.made(route)

    def written(self) -> object:
        if not self.file.exists():
            return None
        found = self.file.stat()
        return found.st_ino, found.st_mtime_ns, self.file.read_bytes()

    async def put(self, content: bytes) -> None:
        """What an operator does with curl."""
        tag = (await self.shared.http.get(self.document)).headers.get("etag")
        condition = {"If-Match": tag} if tag else {"If-None-Match": "*"}
        (await self.shared.http.put(self.document, content=content, headers=condition)).raise_for_status()

    async def drift(self, percent: float) -> None:
        document = Document.model_validate_json(self.file.read_bytes())
        await self.put(document.model_copy(update={"weight": round(percent * 100)}).content())

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        denied = self.nginx.directory / "denied"
        if name == "frozen":
            self.nginx.pause()
        else:
            denied.touch()
        try:
            yield
        finally:
            denied.unlink(missing_ok=True)
            self.nginx.resume()

    async def spoil(self) -> None:
        self.folder_away()

    def folder_away(self) -> None:
        self.nginx.folder.rename(self.nginx.folder.with_name("away"))

    def folder_back(self) -> None:
        away = self.nginx.folder.with_name("away")
        if away.exists():
            away.rename(self.nginx.folder)

    def stop(self) -> None:
        self.nginx.stop()

    def start(self) -> None:
        self.nginx.start()

    def slow(self) -> AbstractAsyncContextManager[None]:
        return slowed(self.stable)


Parts = tuple[NginxLua, Shop, Shop]


@contextmanager
def running(folder: Path) -> Iterator[Parts]:
    """An nginx in front of two shops."""
    stable, candidate = Shop(folder, version="stable"), Shop(folder, version="canary")
    nginx = GuardedNginx(folder, stable_port=stable.port, candidate_port=candidate.port, other_services=("cart",))
    with stable, candidate, nginx:
        yield nginx, stable, candidate


@asynccontextmanager
async def standing(parts: Parts) -> AsyncIterator[NginxStand]:
    """The stand for one test: nothing is written yet."""
    nginx, stable, _ = parts
    with ThreadPoolExecutor(1) as threads:
        async with httpx.AsyncClient(trust_env=False, limits=ANEW) as http:
            stand = NginxStand(nginx, stable, Shared(http, threads))
            for service in ("checkout", "cart"):
                await empty(http, f"{nginx.admin_url}/sluice/{service}")
            yield stand
            stand.folder_back()


async def empty(http: httpx.AsyncClient, url: str) -> None:
    if tag := (await http.get(url)).headers.get("etag"):
        (await http.delete(url, headers={"If-Match": tag})).raise_for_status()
