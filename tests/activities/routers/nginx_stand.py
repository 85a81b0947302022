"""An nginx in front of two shops, for every test of the adapter that reloads it."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import asyncssh
import httpx

from activities.config_file import ConfigFile
from activities.finishing import all_finished
from activities.ports import Router, Write
from activities.routers.nginx import NginxRouter
from activities.routers.nginx.connection import NginxConnection, NginxHost
from activities.shared import Shared
from rollout.errors import NotPermitted, RouterUnreachable, SluiceError
from rollout.routes import NginxRoute, Sticky
from testbed.nginx import Nginx
from tests.activities.routers.contract import HEADER, OWNER, proven
from tests.activities.routers.sticky_contract import StickyStand

ROUTE = NginxRoute(connection="edge", service="checkout", header=HEADER)


def to(percent: float, epoch: int, **more: bool) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, **more)


def listen_too(nginx: Nginx, port: int) -> None:
    text = nginx.configuration.read_text(encoding="utf-8")
    changed = text.replace("location / {", f"listen 127.0.0.1:{port};\n        location / {{")
    nginx.configuration.write_text(changed, encoding="utf-8")


_TROUBLES: Mapping[str, type[SluiceError]] = MappingProxyType(
    {"another process edits": RouterUnreachable, "sudo wants a password": NotPermitted}
)


class TwoServices(Nginx):
    """An nginx that has a second service, `search`, and whose command can be forbidden."""

    @property
    def sudo(self) -> Path:
        return self.directory / "sudo"

    @property
    def forbidden(self) -> Path:
        return self.directory / "forbidden"

    def prepare(self) -> None:
        super().prepare()
        for name, text in self.seeds("search").items():
            (self.folder / name).write_text(text, encoding="utf-8")
        search = "location /search/ { proxy_pass http://$sluice_search_pool; }\n\n        location / {"
        text = self.configuration.read_text(encoding="utf-8").replace("location / {", search)
        self.configuration.write_text(text, encoding="utf-8")
        refuse = f'[ -e "{self.forbidden}" ] && {{ echo "sudo: a password is required" >&2; exit 1; }}'
        self.sudo.write_text(f'#!/bin/sh\n{refuse}\nexec "$@"\n', encoding="utf-8")
        self.sudo.chmod(0o755)


@asynccontextmanager
async def sharing() -> AsyncIterator[Shared]:
    with ThreadPoolExecutor(1) as threads:
        async with httpx.AsyncClient(trust_env=False) as http:
            shared = Shared(http, threads)
            try:
                yield shared
            finally:
                await all_finished(5)  # commands whose callers were cancelled, as when the worker stops
                await shared.aclose()


class NginxStand(StickyStand):
    troubles = _TROUBLES

    def __init__(self, nginx: TwoServices, shared: Shared) -> None:
        self.url, self.nginx, self.shared = nginx.url, nginx, shared

    def connection(self, **changed: object) -> NginxConnection:
        settings = {
            "hosts": (NginxHost(name="edge", state=self.nginx.admin_url, visitors={"checkout": f"{self.url}ready"}),),
            "folder": self.nginx.folder,
            "nginx": (str(self.nginx.sudo), *self.nginx.words),
            "error_log": self.nginx.error_log,
        }
        return NginxConnection.model_validate({**settings, **changed})

    def router(self, *, unknown_candidate: bool = False) -> Router:
        ghost = "ghost" if unknown_candidate else None
        route = NginxRoute(connection="edge", service="checkout", candidate=ghost, header=HEADER, mode=self.nginx.mode)
        return NginxRouter(route, self.connection(), self.shared)

    def other_router(self) -> Router:
        route = NginxRoute(connection="edge", service="search", header=HEADER, mode=self.nginx.mode)
        return NginxRouter(route, self.connection(), self.shared)

    def sticky_router(self, sticky: Sticky) -> Router:
        route = NginxRoute(connection="edge", service="checkout", header=HEADER, sticky=sticky)
        return NginxRouter(route, self.connection(), self.shared)

    def written(self) -> object:
        file = self.nginx.include.stat()
        return file.st_ino, file.st_mtime_ns, self.nginx.include.read_bytes()

    async def drift(self, percent: float) -> None:
        text = self.nginx.include.read_text(encoding="utf-8")
        if self.nginx.mode == "split-clients":
            shares = f"{percent:.2f}% checkout-candidate; * checkout-stable;"
            changed = re.sub(r"(split_clients [^{]*\{)[^}]*\}", rf"\1 {shares} }}", text)
        else:
            head, rest = text.split("upstream checkout-candidate", 1)
            weights = iter((100 - percent, percent))
            changed = re.sub(
                r"(?:weight=\d+| down)(?=.*;)", lambda _: f" weight={next(weights):g}", re.sub(r" down", " down", head)
            )
            changed = f"{changed}upstream checkout-candidate{rest}"
        assert changed != text
        self.nginx.include.write_text(changed, encoding="utf-8")
        self.nginx.reload()

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        if name == "another process edits":
            async with ConfigFile(self.nginx.include).alone():
                yield
            return
        self.nginx.forbidden.touch()
        try:
            yield
        finally:
            self.nginx.forbidden.unlink()

    async def spoil(self) -> None:
        with self.nginx.configuration.open("a", encoding="utf-8") as file:
            file.write("nonsense;\n")

    def stop(self) -> None:
        self.nginx.stop()

    def start(self) -> None:
        self.nginx.start()


@asynccontextmanager
async def standing(nginx: TwoServices) -> AsyncIterator[NginxStand]:
    """The stand for one test: as the operator left it, and nginx shows it."""
    async with sharing() as shared:
        nginx.reset()
        stand = NginxStand(nginx, shared)
        await proven(stand.router(), 0)
        yield stand


@contextmanager
def listening() -> Iterator[int]:
    """A port that another program has taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


class SshHost:
    """A real SSH server on loopback that runs real commands in one folder, as a user's home."""

    def __init__(self, home: Path, keys: Path) -> None:
        self.home, self.keys = home, keys
        self.port = 0
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._server: asyncssh.SSHAcceptor | None = None
        self._clients: list[asyncssh.SSHServerConnection] = []
        self.commands = self.ended = 0

    @property
    def known(self) -> str:
        """Its line in a `known_hosts`."""
        return f"[127.0.0.1]:{self.port} {self._key.export_public_key().decode()}"

    async def start(self) -> None:
        self._server = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=lambda: _Anywhere(self._clients),
            server_host_keys=[self._key],
            authorized_client_keys=str(self.keys / "authorized_keys"),
            process_factory=self._process,
            encoding=None,
        )
        self.port = self._server.get_port()

    async def stop(self) -> None:
        """Away, with every connection."""
        if self._server is not None:
            self._server.close()
            for connection in self._clients:
                connection.abort()
            for connection in self._clients:
                with suppress(TimeoutError):  # one whose client left in the middle of greeting never says so
                    async with asyncio.timeout(1):
                        await connection.wait_closed()
            self._clients.clear()
            await self._server.wait_closed()
            self._server = None

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.commands += 1
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_shell(
            process.command or "exit 9", cwd=self.home, stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert child.stdin
        assert child.stdout
        assert child.stderr
        feeding = asyncio.ensure_future(_feed(process.stdin, child.stdin))
        await asyncio.gather(_give(child.stdout, process.stdout), _give(child.stderr, process.stderr))
        process.exit(await child.wait())
        await feeding
        self.ended += 1


async def _feed(source: asyncssh.SSHReader[bytes], sink: asyncio.StreamWriter) -> None:
    """Also ends the child's input when the client is gone, as sshd does."""
    with suppress(OSError, asyncssh.Error):
        while chunk := await source.read(65_536):
            sink.write(chunk)
            await sink.drain()
    sink.close()


async def _give(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    while chunk := await source.read(65_536):
        with suppress(OSError, asyncssh.Error):
            sink.write(chunk)


class _Anywhere(asyncssh.SSHServer):
    """Lets clients reach every address, as sshd does by default."""

    def __init__(self, clients: list[asyncssh.SSHServerConnection]) -> None:
        self._clients = clients

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._clients.append(conn)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True
